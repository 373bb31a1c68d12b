"""The femur patient: a proximal femur of either side in its socket, with the tissue of the hip."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from boneray.anatomy.femur import FEMUR
from boneray.phantom.femur_shape import FemurShape, drawn_femur, femur_solid, femur_truth
from boneray.phantom.hip_shape import drawn_hip, hip_solid
from boneray.phantom.pose import Pose, drawn_pose, framed
from boneray.phantom.primitive import cone
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.scene import Blob, Scene, Solid
from boneray.phantom.tissue import FAT_HU, MUSCLE_HU, blob, bone_material, drawn_age, drawn_outline, metal, scattered

HALF_CUBE_MM = FEMUR.grid_size_mm / 2
BELOW_HEAD_RADII = 4.4
FREE_MM = 3.0
SHIFT_MM = 13.0


@PHANTOMS.register("femur", "proximal femur, left or right", deformities=["coxa_vara", "coxa_valga", "implant"])
def femur_scene(rng: np.random.Generator, deformity: str) -> Scene:
    """One patient, drawn as a right femur; a left one is the finished patient reflected (x -> -x)."""
    side = str(rng.choice(["left", "right"]))
    bone = f"femur_{side}"
    age = drawn_age(rng)
    material = bone_material(rng, age)
    shape = drawn_femur(rng, deformity)
    pose = placed_femur(shape, drawn_pose(rng, scale=(0.87, 1.25), rotation_deg=17.0), rng)
    socket = Pose(pose.rotation, pose.scale, pose.point(shape.head_mm))
    hip = hip_solid(drawn_hip(rng, shape.head_radius_mm), "", material, socket)
    solids = [hip, femur_solid(shape, bone, material, pose)]
    if deformity == "implant":
        solids += _implant(rng, shape, pose)
    truth, landmarks = femur_truth(shape, bone, pose, visible_below_mm(pose))
    return Scene(
        target=bone,
        solids=tuple(solids),
        outline=drawn_outline(rng, centre_mm=(-75.0, 5.0), semi_axes_mm=(165.0, 105.0)),
        blobs=tuple(_hip_tissue(rng, pose)),
        truth=tuple(truth),
        landmarks=tuple(landmarks),
        parameters={"side": side, "age_years": age, "scale": pose.scale, **asdict(shape)},
        mirrored=side == "left",
    )


def placed_femur(shape: FemurShape, pose: Pose, rng: np.random.Generator) -> Pose:
    """The pose shifted into the cube: head inside, shaft cut by the lower face and measurable if possible."""
    head, reach = pose.point(shape.head_mm), pose.scale * shape.head_radius_mm
    highest = HALF_CUBE_MM - reach - FREE_MM
    lowest = min(max(BELOW_HEAD_RADII * reach - HALF_CUBE_MM, highest - 0.2 * HALF_CUBE_MM), highest)
    height = rng.uniform(lowest, highest)
    upright = pose.moved((0.0, 0.0, height - head[2]))
    below = visible_below_mm(upright)
    sideways = framed(upright, rng, balls=shape.balls(below), half_mm=HALF_CUBE_MM - FREE_MM, shift_mm=SHIFT_MM)
    return Pose(pose.rotation, pose.scale, np.array([*sideways.shift_mm[:2], upright.shift_mm[2]]))


def visible_below_mm(pose: Pose) -> float:
    """Model mm along the shaft axis from its origin down to just above the lower face of the cube."""
    down = pose.scale * pose.rotation[2, 2]
    return float((pose.shift_mm[2] + HALF_CUBE_MM - 2.0) / down)


def _implant(rng: np.random.Generator, shape: FemurShape, pose: Pose) -> list[Solid]:
    """Two cannulated screws up the neck, or a nail in the shaft with one lag screw."""
    axis, radius = shape.neck_direction, 3.4
    start, end = -axis * 14.0, shape.head_mm + axis * 0.35 * shape.head_radius_mm
    if rng.uniform() < 0.5:
        up = np.cross(axis, np.cross((0.0, 0.0, 1.0), axis))
        up *= 7.0 / np.linalg.norm(up)
        parts = [cone(start + s * up, end + s * up, radius, radius) for s in (-1.0, 1.0)]
    else:
        top = np.array([0.0, 0.0, shape.greater_rise_mm])
        parts = [cone(start, end, 5.0, 5.0), cone(top, (0.0, 0.0, -180.0), 5.5, 5.0)]
    return [Solid("", tuple(part.placed(pose) for part in parts), metal())]


def _hip_tissue(rng: np.random.Generator, pose: Pose) -> list[Blob]:
    """Gluteal muscles behind, quadriceps in front, adductors medially (of a right hip), fat between."""
    places = [
        ((10, -48, 10), (45, 22, 60)),
        ((14, 28, -50), (32, 22, 90)),
        ((-36, -8, -80), (30, 32, 60)),
        ((26, -10, 30), (16, 30, 40)),
        ((-20, 40, 10), (18, 14, 60)),
    ]
    found = [blob(rng, pose.point(centre), semi, MUSCLE_HU) for centre, semi in places]
    found += scattered(rng, 6, low_mm=(-75, -70, -75), high_mm=(60, 70, 75), hu=(FAT_HU, 80.0))
    return found
