"""The pelvis patient: both hip bones and the sacrum, with femora and L5 as clutter."""

from __future__ import annotations

import numpy as np

from boneray.core.measurement import Landmark, Measurement
from boneray.phantom.femur_shape import drawn_femur, femur_solid
from boneray.phantom.hip_shape import drawn_hip, hip_landmarks, hip_solid
from boneray.phantom.pose import Pose, drawn_pose, framed, turn
from boneray.phantom.primitive import Primitive
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.sacrum_shape import SacrumShape, drawn_sacrum, sacrum_solid
from boneray.phantom.scene import Blob, Material, Scene, Solid, known, landmark
from boneray.phantom.tissue import FAT_HU, GAS_HU, MUSCLE_HU, blob, bone_material, drawn_age, drawn_outline, scattered
from boneray.phantom.vertebra_shape import drawn_vertebra, vertebra_solid

HALF_CUBE_MM = 160.0
HIP_X_MM = 89.0
SIDES = (("right", 1.0), ("left", -1.0))


@PHANTOMS.register("pelvis", "both hip bones and the sacrum", deformities=[])
def pelvis_scene(rng: np.random.Generator, deformity: str) -> Scene:
    """One patient; the hip bones differ a little from side to side. There is no deformity to choose."""
    age = drawn_age(rng)
    material = bone_material(rng, age)
    sacrum, hips = drawn_sacrum(rng), {side: drawn_hip(rng, 22.5) for side, _ in SIDES}
    pose = drawn_pose(rng, scale=(0.88, 1.08), rotation_deg=10.0)
    balls = [
        (hips[side].points_mm[name] * (sign, 1, 1) + (sign * HIP_X_MM, 0, 0), 9.0)
        for side, sign in SIDES
        for name in hips[side].points_mm
    ]
    pose = framed(pose, rng, balls=balls, half_mm=HALF_CUBE_MM, shift_mm=12.0)
    places = {side: pose.after(Pose(shift_mm=np.array([sign * HIP_X_MM, 0.0, 0.0]))) for side, sign in SIDES}

    solids = [hip_solid(hips[side], f"hip_{side}", material, places[side], side=side) for side, _ in SIDES]
    solids.append(sacrum_solid(sacrum, "sacrum", material, pose))
    solids += _femora(rng, material, pose)
    solids.append(_lowest_vertebra(rng, sacrum, material, pose))
    marks = [mark for side, _ in SIDES for mark in hip_landmarks(hips[side], places[side], side)]
    marks.append(landmark("sacral_promontory", pose.point(sacrum.promontory_mm)))
    return Scene(
        target="",
        solids=tuple(solids),
        outline=drawn_outline(rng, centre_mm=(0.0, -10.0), semi_axes_mm=(178.0, 122.0)),
        blobs=tuple(_pelvic_tissue(rng, pose)),
        truth=tuple(_distances(marks)),
        landmarks=tuple(marks),
        parameters={"age_years": age, "scale": pose.scale, "sacral_slope_deg": sacrum.slope_deg},
    )


def _distances(marks: list[Landmark]) -> list[Measurement]:
    """Distances between the left and the right point of each pair; they belong to the pelvis, told by its sacrum."""
    by_name = {mark.name: mark for mark in marks}
    pairs = {
        "inter_asis_distance_mm": "anterior_superior_iliac_spine",
        "inter_psis_distance_mm": "posterior_superior_iliac_spine",
        "inter_ischial_spine_distance_mm": "ischial_spine",
        "inter_pubic_tubercle_distance_mm": "pubic_tubercle",
    }
    found = []
    for name, point in pairs.items():
        left, right = by_name[f"{point}_left"], by_name[f"{point}_right"]
        distance = float(np.linalg.norm(np.subtract(left.point_mm, right.point_mm)))
        found.append(known(name, distance, "sacrum", (left, right)))
    return found


def _femora(rng: np.random.Generator, material: Material, pose: Pose) -> list[Solid]:
    """Both proximal femora in their sockets; the left one is modelled as a mirrored right one."""
    shape = drawn_femur(rng)
    found = []
    for _, sign in SIDES:
        local = Pose(turn((rng.uniform(-8, 8), 0, 0)))
        local = local.moved((HIP_X_MM, 0.0, 0.0) - local.point(shape.head_mm))
        solid = femur_solid(shape, "", material, local)
        parts = tuple(_reflected(part) if sign < 0 else part for part in solid.primitives)
        found.append(Solid("", tuple(part.placed(pose) for part in parts), material))
    return found


def _reflected(part: Primitive) -> Primitive:
    """A primitive that is symmetric in its own x, reflected in the plane x = 0 of the world."""
    flip = np.diag([-1.0, 1.0, 1.0])
    moved = Pose(flip @ part.pose.rotation @ flip, part.pose.scale, flip @ part.pose.shift_mm)
    return Primitive(part.kind, part.sizes, part.low_mm, part.high_mm, moved, part.operation, part.blend_mm)


def _lowest_vertebra(rng: np.random.Generator, sacrum: SacrumShape, material: Material, pose: Pose) -> Solid:
    """L5 on the sacral plateau, a disc away."""
    shape = drawn_vertebra(rng, 5)
    tilt = turn((-sacrum.slope_deg + 8.0, 0.0, 0.0))
    lift = tilt @ np.array([0.0, 0.0, shape.height_mm / 2 + 11.0])
    return vertebra_solid(shape, "", material, pose.after(Pose(tilt, 1.0, sacrum.plateau_mm + lift)))


def _pelvic_tissue(rng: np.random.Generator, pose: Pose) -> list[Blob]:
    """Gluteal and iliac muscles, bladder, bowel with some gas."""
    found = []
    for _, sign in SIDES:
        found.append(blob(rng, pose.point((sign * 100, -65, 30)), (45, 35, 80), MUSCLE_HU))
        found.append(blob(rng, pose.point((sign * 85, 30, 70)), (22, 22, 60), MUSCLE_HU))
        found.append(blob(rng, pose.point((sign * 95, 45, -100)), (45, 40, 80), MUSCLE_HU))
    found.append(blob(rng, pose.point((0, 15, -5)), (38, 32, 30), 10.0))
    found += scattered(rng, 8, low_mm=(-120, -80, -120), high_mm=(120, 80, 120), hu=(FAT_HU, 80.0))
    found += scattered(rng, int(rng.integers(1, 6)), low_mm=(-70, 20, 20), high_mm=(70, 70, 140), hu=(GAS_HU, GAS_HU))
    return found
