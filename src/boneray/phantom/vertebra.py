"""The vertebra patient: one lumbar level with its neighbours, a rib and the trunk around it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from boneray.phantom.pose import Pose, drawn_pose, framed, turn
from boneray.phantom.primitive import tube
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.scene import Blob, Material, Scene, Solid
from boneray.phantom.tissue import (
    FAT_HU,
    GAS_HU,
    MUSCLE_HU,
    blob,
    bone_material,
    drawn_age,
    drawn_outline,
    scattered,
)
from boneray.phantom.vertebra_shape import VertebraShape, drawn_vertebra, vertebra_solid, vertebra_truth

HALF_CUBE_MM = 48.0


@PHANTOMS.register("vertebra", "one lumbar vertebra L1-L5", deformities=["wedge", "crush", "biconcave"])
def vertebra_scene(rng: np.random.Generator, deformity: str) -> Scene:
    """One patient: the target level as drawn, neighbours of similar size above and below."""
    level = int(rng.integers(1, 6))
    bone = f"L{level}"
    age = drawn_age(rng)
    material = bone_material(rng, age)
    shape = drawn_vertebra(rng, level, deformity)
    pose = drawn_pose(rng, scale=(0.87, 1.25), rotation_deg=17.0)
    pose = framed(pose, rng, balls=shape.balls(), half_mm=HALF_CUBE_MM, shift_mm=0.1 * HALF_CUBE_MM)
    solids = [_neighbour(rng, shape, level, material, pose, step) for step in (-1.0, 1.0)]
    solids.append(_rib(rng, material, pose))
    solids.append(vertebra_solid(shape, bone, material, pose))
    truth, landmarks = vertebra_truth(shape, bone, pose)
    outline = drawn_outline(rng, centre_mm=(0.0, 45.0), semi_axes_mm=(150.0, 110.0))
    return Scene(
        target=bone,
        solids=tuple(solids),
        outline=outline,
        blobs=tuple(_trunk(rng, pose)),
        truth=tuple(truth),
        landmarks=tuple(landmarks),
        parameters={"level": level, "age_years": age, "scale": pose.scale, **asdict(shape)},
    )


def _neighbour(
    rng: np.random.Generator, target: VertebraShape, level: int, material: Material, pose: Pose, step: float
) -> Solid:
    """The next vertebra above (step +1) or below (-1), a disc away and tilted by the lordosis."""
    shape = drawn_vertebra(rng, level - int(step))
    disc = rng.uniform(7.0, 11.0)
    tilt = target.top_tilt_deg if step > 0 else target.bottom_tilt_deg
    height = step * ((target.height_mm + shape.height_mm) / 2 + disc)
    angles = (step * (tilt + rng.uniform(2.0, 6.0)), rng.normal(0, 2), rng.normal(0, 2))
    local = Pose(turn(angles), 1.0, np.array([0.0, rng.normal(0, 1) - 1.0, height]))
    return vertebra_solid(shape, "", material, pose.after(local))


def _rib(rng: np.random.Generator, material: Material, pose: Pose) -> Solid:
    """A floating rib that runs back, outwards and down at one side."""
    side = rng.choice([-1.0, 1.0])
    along = np.linspace(0.0, 1.0, 6)
    points = np.stack(
        [side * (24.0 + 60.0 * along), -22.0 - 18.0 * np.sin(along * 2.5), rng.uniform(8, 26) - 34.0 * along], axis=1
    )
    return Solid("", tuple(part.placed(pose) for part in tube(points, np.full(6, 4.2))), material)


def _trunk(rng: np.random.Generator, pose: Pose) -> list[Blob]:
    """Psoas and erector muscles along the spine, fat between, bowel with gas in front."""
    found = []
    for side in (-1.0, 1.0):
        found.append(blob(rng, pose.point((side * 40.0, -5.0, -10.0)), (20, 24, 90), MUSCLE_HU))
        found.append(blob(rng, pose.point((side * 28.0, -48.0, 0.0)), (24, 17, 120), MUSCLE_HU))
    found.append(blob(rng, pose.point((0.0, 30.0, 0.0)), (14, 10, 120), 45.0))
    found.append(blob(rng, pose.point((0.0, -24.0, 0.0)), (9, 7, 120), 20.0))
    found += scattered(rng, 5, low_mm=(-60, -60, -60), high_mm=(60, 60, 60), hu=(FAT_HU, 80.0))
    found += scattered(rng, int(rng.integers(0, 4)), low_mm=(-60, 45, -60), high_mm=(60, 60, 60), hu=(GAS_HU, GAS_HU))
    return found
