"""The spine patient: the lumbar spine and what the cube shows of the thoracic one, on a sacrum."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from boneray.phantom.pose import Pose, drawn_pose, framed, turn
from boneray.phantom.primitive import tube
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.sacrum_shape import drawn_sacrum, sacrum_solid
from boneray.phantom.scene import Blob, Material, Scene, Solid
from boneray.phantom.tissue import FAT_HU, GAS_HU, MUSCLE_HU, blob, bone_material, drawn_age, drawn_outline, scattered
from boneray.phantom.vertebra_shape import (
    VertebraShape,
    drawn_vertebra,
    similar_vertebra,
    vertebra_solid,
    vertebra_truth,
)

HALF_CUBE_MM = 128.0
# From below; all that is in the cube is labelled, T10 and T11 are usually cut by its upper face.
LEVELS = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10")
WHOLE = 6


@PHANTOMS.register(
    "spine", "L1-L5 and T12, and T10-T11 where in view", deformities=["wedge", "crush", "biconcave", "scoliosis"]
)
def spine_scene(rng: np.random.Generator, deformity: str) -> Scene:
    """One patient with lordosis; a fracture hits one of L1-L4, scoliosis bends the column sideways."""
    age = drawn_age(rng)
    material = bone_material(rng, age)
    shapes = _shapes(rng, deformity)
    chain = _stacked(rng, shapes, bend_deg=float(rng.uniform(3, 6)) if deformity == "scoliosis" else 0.0)
    pose = drawn_pose(rng, scale=(0.88, 1.05), rotation_deg=8.0)
    balls = [
        (place.point(centre), radius)
        for shape, place in zip(shapes[:WHOLE], chain[:WHOLE], strict=True)
        for centre, radius in shape.balls()
    ]
    pose = framed(pose, rng, balls=balls, half_mm=HALF_CUBE_MM - 1.0, shift_mm=0.1 * HALF_CUBE_MM)

    solids = [_sacrum(rng, shapes[0], material, pose)]
    solids += _ribs(rng, material, pose.after(chain[WHOLE - 1]))
    truth, landmarks = [], []
    for level, shape, place in zip(LEVELS, shapes, chain, strict=True):
        solids.append(vertebra_solid(shape, level, material, pose.after(place)))
        if _inside(shape, pose.after(place)):
            measured, marks = vertebra_truth(shape, level, pose.after(place))
            truth += measured
            landmarks += [replace(mark, name=f"{mark.name}_{level}") for mark in marks]
    return Scene(
        target="",
        solids=tuple(solids),
        outline=drawn_outline(rng, centre_mm=(0.0, 30.0), semi_axes_mm=(160.0, 115.0)),
        blobs=tuple(_trunk(rng)),
        truth=tuple(truth),
        landmarks=tuple(landmarks),
        parameters={"age_years": age, "scale": pose.scale},
    )


def _shapes(rng: np.random.Generator, deformity: str) -> list[VertebraShape]:
    first = drawn_vertebra(rng, 4)
    shapes = [similar_vertebra(rng, first, step - 1) for step in range(len(LEVELS))]
    shapes[0] = replace(shapes[0], top_tilt_deg=4.0, bottom_tilt_deg=4.0)
    if deformity in ("wedge", "crush", "biconcave"):
        hit = int(rng.integers(1, 5))
        broken = drawn_vertebra(rng, 4, deformity)
        names = ("height_mm", "top_tilt_deg", "bottom_tilt_deg", "hollow_mm")
        shapes[hit] = replace(shapes[hit], **{name: getattr(broken, name) for name in names})
    return shapes


def _stacked(rng: np.random.Generator, shapes: list[VertebraShape], *, bend_deg: float) -> list[Pose]:
    """Poses from below: each vertebra tilts with the endplates and the disc between, lordosis then kyphosis."""
    poses = [Pose(turn((-22.0, 0.0, 0.0)))]
    discs = (13.0, 11.0, 8.0, 6.0, 3.0, 0.0, -2.0)
    for step, (lower, upper) in enumerate(pairwise(shapes)):
        gap = rng.uniform(7.0, 10.0) - 0.4 * step
        wedge = 0.55 * discs[step] + rng.normal(0, 1.0)
        wedge += max(lower.top_tilt_deg, -6.0) + max(upper.bottom_tilt_deg, -6.0) - 1.5
        side = bend_deg * (1.0 if step < 3 else -1.0) + rng.normal(0, 1.0)
        half_turn = turn((wedge / 2, side / 2, 0.0))
        rise = np.array([0.0, 0.0, lower.height_mm / 2 + gap + upper.height_mm / 2])
        poses.append(poses[-1].after(Pose(half_turn @ half_turn, 1.0, half_turn @ rise)))
    return poses


def _inside(shape: VertebraShape, pose: Pose) -> bool:
    centres = pose.point([centre for centre, _ in shape.balls()])
    return bool(np.abs(centres).max() < HALF_CUBE_MM - 4.0)


def _sacrum(rng: np.random.Generator, lowest: VertebraShape, material: Material, pose: Pose) -> Solid:
    """The sacrum a disc below L5, as clutter."""
    shape = drawn_sacrum(rng)
    tilt = turn((shape.slope_deg - 36.0, 0.0, 0.0))
    plateau = np.array([0.0, 0.0, -lowest.height_mm / 2 - 9.0])
    local = Pose(tilt, 0.95).moved(turn((-22.0, 0.0, 0.0)) @ plateau - 0.95 * tilt @ shape.plateau_mm)
    return sacrum_solid(shape, "", material, pose.after(local))


def _ribs(rng: np.random.Generator, material: Material, pose: Pose) -> list[Solid]:
    """The twelfth ribs, beside T12, running down and outwards, as clutter."""
    found = []
    for side in (-1.0, 1.0):
        along = np.linspace(0.0, 1.0, 7)
        x = side * (24.0 + 62.0 * along)
        points = np.stack([x, -20.0 - 20.0 * np.sin(2.4 * along), 4.0 - rng.uniform(35, 50) * along], axis=1)
        found.append(Solid("", tuple(part.placed(pose) for part in tube(points, np.full(7, 4.5))), material))
    return found


def _trunk(rng: np.random.Generator) -> list[Blob]:
    found = []
    for side in (-1.0, 1.0):
        found.append(blob(rng, (side * 48, 5, -40), (24, 28, 110), MUSCLE_HU))
        found.append(blob(rng, (side * 38, -55, 0), (30, 22, 170), MUSCLE_HU))
        found.append(blob(rng, (side * 70, 20, 50), (32, 28, 55), 35.0))
    found.append(blob(rng, (-12, 60, 0), (13, 12, 150), 45.0))
    found += scattered(rng, 8, low_mm=(-110, -70, -120), high_mm=(110, 110, 120), hu=(FAT_HU, 80.0))
    found += scattered(
        rng, int(rng.integers(2, 8)), low_mm=(-100, 75, -120), high_mm=(100, 115, 120), hu=(GAS_HU, GAS_HU)
    )
    return found
