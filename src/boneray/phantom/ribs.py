"""The rib-cage patient: twelve pairs of ribs as tubes along 3D arcs, with spine, sternum and lungs as clutter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneray.phantom.pose import Pose, drawn_pose, framed, turn
from boneray.phantom.primitive import box, tube
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.scene import Blob, Material, Outline, Scene, Solid, known
from boneray.phantom.tissue import FAT_HU, LUNG_HU, MUSCLE_HU, blob, bone_material, drawn_age, drawn_outline, scattered
from boneray.phantom.vertebra_shape import VertebraShape, drawn_vertebra, vertebra_solid

HALF_CUBE_MM = 180.0
COUNT = 12
# Ribs 1..12 of a typical adult chest, model mm: half width, half depth, fall towards the front, end angle
# (degrees from the back, 180 is the middle of the front).
HALF_WIDTH_MM = (52.0, 78.0, 98.0, 112.0, 121.0, 127.0, 130.0, 131.0, 129.0, 125.0, 118.0, 106.0)
HALF_DEPTH_MM = (40.0, 56.0, 68.0, 77.0, 83.0, 87.0, 89.0, 89.0, 87.0, 84.0, 79.0, 74.0)
FALL_MM = (38.0, 52.0, 66.0, 78.0, 88.0, 96.0, 102.0, 104.0, 102.0, 98.0, 92.0, 84.0)
END_DEG = (150.0, 152.0, 154.0, 155.0, 155.0, 153.0, 150.0, 140.0, 128.0, 115.0, 80.0, 56.0)


@dataclass(frozen=True)
class ChestShape:
    """Proportions of one chest: factors on width, depth and fall, spacing in mm, tube radius in mm."""

    width: float
    depth: float
    fall: float
    spacing_mm: float
    radius_mm: float
    asymmetry: float


@PHANTOMS.register("ribs", "twelve pairs of ribs", deformities=[])
def ribs_scene(rng: np.random.Generator, deformity: str) -> Scene:
    """One patient; left and right differ by a few per cent. There is no deformity to choose."""
    age = drawn_age(rng)
    material = replace(bone_material(rng, age), cortex_mm=1.5)
    chest = ChestShape(*(float(rng.uniform(*limits)) for limits in _LIMITS))
    curves = {
        f"rib_{side}_{number + 1}": rib_curve_mm(chest, number, sign)
        for side, sign in (("left", -1.0), ("right", 1.0))
        for number in range(COUNT)
    }
    pose = drawn_pose(rng, scale=(0.88, 1.08), rotation_deg=8.0)
    balls = [(point, chest.radius_mm + 1.0) for curve in curves.values() for point in curve[::4]]
    pose = framed(pose, rng, balls=balls, half_mm=HALF_CUBE_MM, shift_mm=0.08 * HALF_CUBE_MM)
    solids = _axial_clutter(rng, chest, material, pose)
    truth = []
    for name, curve in curves.items():
        solids.append(_rib(name, curve, chest.radius_mm, material, pose))
        length = pose.scale * float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())
        truth.append(known("rib_arc_length_mm", length, name))
    return Scene(
        target="",
        solids=tuple(solids),
        outline=_outline(rng, chest, pose),
        blobs=tuple(_chest_tissue(rng, chest, pose)),
        truth=tuple(truth),
        landmarks=(),
        parameters={"age_years": age, "scale": pose.scale, **vars(chest)},
    )


_LIMITS = ((0.92, 1.08), (0.9, 1.1), (0.8, 1.15), (21.5, 24.0), (5.0, 6.0), (-0.03, 0.03))


def rib_curve_mm(chest: ChestShape, number: int, sign: float) -> NDArray[np.float64]:
    """Centreline of rib `number` (0..11) of one side (+1 right) from its head, model mm, (n, 3).

    A short neck runs back and outwards from the vertebra, then an ellipse about the lung that falls
    towards the front. The true arc length is that of this polyline; the tube ends in half balls beyond.
    """
    side = 1.0 + sign * chest.asymmetry
    wide, deep = HALF_WIDTH_MM[number] * chest.width * side, HALF_DEPTH_MM[number] * chest.depth
    start = np.arcsin(32.0 / wide)
    angle = np.linspace(start, np.deg2rad(END_DEG[number]), 28)
    back, height = spine_line_mm(chest, number)
    narrowing = 1.0 - 0.10 * np.clip(-np.cos(angle), 0.0, 1.0)
    x = wide * np.sin(angle) * narrowing
    y = back - 14.0 + deep * (1.0 - np.cos(angle))
    z = height - FALL_MM[number] * chest.fall * (angle - start) / np.pi
    arc = np.stack([x, y, z], axis=1)
    neck = np.array([[18.0, arc[0, 1] + 9.0, height + 2.0], [25.0, arc[0, 1] + 3.5, height + 1.5]])
    return np.concatenate([neck, arc]) * (sign, 1.0, 1.0)


def spine_line_mm(chest: ChestShape, number: int) -> tuple[float, float]:
    """y behind the body and z of thoracic vertebra `number` (0..11): the kyphosis."""
    from_middle = (number - 6.0) / 6.0
    return -70.0 + 18.0 * from_middle**2, (5.5 - number) * chest.spacing_mm


def _rib(name: str, curve: NDArray[np.float64], radius_mm: float, material: Material, pose: Pose) -> Solid:
    radii = np.full(len(curve), radius_mm)
    return Solid(name, tuple(part.placed(pose) for part in tube(curve, radii)), material)


def _axial_clutter(rng: np.random.Generator, chest: ChestShape, material: Material, pose: Pose) -> list[Solid]:
    """T1-L1, the sternum and the clavicles."""
    solids = []
    shape = drawn_vertebra(rng, 0)
    for number in range(COUNT + 1):
        back, height = spine_line_mm(chest, number)
        local = Pose(turn((3.5 * (6 - number), 0, 0)), 1.0, np.array([0.0, back + 14.0, height]))
        solids.append(vertebra_solid(_thoracic(shape, chest, number), "", material, pose.after(local)))
    front = -84.0 + 2.0 * chest.depth * 70.0
    plate = box((0, front + 8.0, -20.0), (17, 6, 75), 5.0, turn((14.0, 0, 0)))
    solids.append(Solid("", (plate.placed(pose),), material))
    for side in (-1.0, 1.0):
        points = np.array([(side * 16, front - 12, 62), (side * 60, front - 22, 84), (side * 130, front - 70, 100)])
        parts = tube(points * (chest.width, 1.0, 1.0), np.array([8.0, 6.5, 7.0]), 2.0)
        solids.append(Solid("", tuple(part.placed(pose) for part in parts), material))
    return solids


def _thoracic(shape: VertebraShape, chest: ChestShape, number: int) -> VertebraShape:
    size = 0.62 + 0.03 * number
    return replace(
        shape,
        height_mm=chest.spacing_mm - 5.0,
        depth_mm=28.0 * size,
        half_width_mm=19.0 * size,
        transverse_mm=27.0,
        transverse_lift_mm=3.0,
        spinous_drop_deg=40.0,
        facet_mm=3.6,
    )


def _outline(rng: np.random.Generator, chest: ChestShape, pose: Pose) -> Outline:
    drawn = drawn_outline(rng, centre_mm=(0.0, 0.0), semi_axes_mm=(150.0, 105.0))
    x, y, _ = pose.point((0.0, 5.0, 0.0)).tolist()
    semi = (pose.scale * (142.0 * chest.width + 8.0) + drawn.fat_mm, pose.scale * 103.0 * chest.depth + drawn.fat_mm)
    return replace(drawn, centre_mm=(x, y), semi_axes_mm=semi)


def _chest_tissue(rng: np.random.Generator, chest: ChestShape, pose: Pose) -> list[Blob]:
    """Back muscles, lungs, heart to the left, the dome of the liver under the right lung."""
    found = scattered(rng, 6, low_mm=(-120, -80, -150), high_mm=(120, 80, -60), hu=(FAT_HU, 80.0))
    for side in (-1.0, 1.0):
        found.append(blob(rng, pose.point((side * 32, -92, 0)), (30, 14, 220), MUSCLE_HU))
        semi = (52 * chest.width, 70 * chest.depth, 100)
        found.append(blob(rng, pose.point((side * 62, 0, 4)), semi, LUNG_HU, 3.0))
    found.append(blob(rng, pose.point((-22, 28, -28)), (48, 36, 48), 45.0))
    found.append(blob(rng, pose.point((50, 10, -95)), (75, 65, 50), 60.0))
    return found
