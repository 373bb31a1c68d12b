"""The femur measured on a body built with known numbers: head ball, neck and shaft capsules, trochanter ellipsoid."""

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.lines import angle_deg
from boneray.morphometry.measure import measure

RADIUS_MM, OFFSET_MM = 23.5, 42.0
UPRIGHT = np.eye(3)
LEFT, RIGHT = BONES["femur_left"].bone_id, BONES["femur_right"].bone_id


def capsule(points, start, stop, radius):
    along = np.clip((points - start) @ (stop - start) / ((stop - start) @ (stop - start)), 0, 1)
    return np.linalg.norm(points - start - along[..., None] * (stop - start), axis=-1) <= radius


def femur(nsa_deg=125.0, spacing=1.5, below_mm=150.0, bone_id=RIGHT, direction=UPRIGHT):
    """Labels and head centre of a right femur (head towards the patient's left, -x) cut by the grid below."""
    head = np.array([0.0, 0.0, 0.0])
    joint = OFFSET_MM * np.array([1.0, 0.0, -1.0 / np.tan(np.pi - np.deg2rad(nsa_deg))])
    shape = np.ceil(np.array([110.0, 64.0, 40.0 + below_mm]) / spacing).astype(int)
    low = np.array([-32.0, -32.0, -below_mm])
    grid = Grid(tuple(shape), (spacing,) * 3, tuple(direction @ low), tuple(direction.ravel()))
    points = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1) * spacing + low
    bone = np.linalg.norm(points - head, axis=-1) <= RADIUS_MM
    bone |= capsule(points, head, joint, 14.0)
    bone |= capsule(points, joint, joint - [0, 0, 400.0], 15.0)
    bone |= np.linalg.norm((points - joint - [10.0, 0, 6.0]) / [22.0, 17.0, 30.0], axis=-1) <= 1
    return LabelMap((bone * bone_id).astype(np.uint8), grid)


def by_name(found):
    return {m.name: m for m in found}


def mark(found, name):
    return next(np.array(p.point_mm) for m in found for p in m.landmarks if p.name == name)


@pytest.mark.parametrize("nsa_deg", [115.0, 125.0, 135.0, 145.0])
def test_numbers_the_body_was_built_with(nsa_deg):
    found = measure(femur(nsa_deg), "femur")
    result = by_name(found)
    assert {m.status for m in found if m.name != "bone_volume_mm3"} == {"ok"}
    assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)
    assert result["neck_shaft_angle_deg"].value == pytest.approx(nsa_deg, abs=0.75)
    assert result["femoral_offset_mm"].value == pytest.approx(OFFSET_MM, abs=0.5)
    assert mark(found, "femoral_head_centre") == pytest.approx([0, 0, 0], abs=0.2)
    shaft = mark(found, "shaft_proximal") - mark(found, "shaft_distal")
    assert angle_deg(shaft, [0, 0, 1]) < 0.3


@pytest.mark.parametrize("spacing", [1.0, 2.5])
def test_voxel_size_does_not_matter(spacing):
    result = by_name(measure(femur(spacing=spacing), "femur"))
    assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)
    assert result["neck_shaft_angle_deg"].value == pytest.approx(125.0, abs=0.75)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_axis_order_changes_nothing(order, flip):
    labels = femur(spacing=2.5)
    data = np.flip(labels.data, flip).transpose(order)
    affine = labels.grid.world_from_voxel
    for axis in flip:
        affine[:3, 3] += affine[:3, axis] * (labels.grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, list(order)]
    turned = LabelMap(np.ascontiguousarray(data), Grid.from_affine(data.shape, affine))
    for before, after in zip(measure(labels, "femur"), measure(turned, "femur"), strict=True):
        assert after.value == pytest.approx(before.value, abs=1e-6)
        assert after.status == before.status
        for p, q in zip(before.landmarks, after.landmarks, strict=True):
            assert q.point_mm == pytest.approx(p.point_mm, abs=1e-6)


def test_patient_turned_in_the_world_turns_the_landmarks():
    angle = np.deg2rad(20.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    straight, turned = measure(femur(spacing=2.0), "femur"), measure(femur(spacing=2.0, direction=turn), "femur")
    assert by_name(turned)["neck_shaft_angle_deg"].value == pytest.approx(125.0, abs=0.75)
    for name in ("femoral_head_centre", "neck_centre", "shaft_distal"):
        assert mark(turned, name) == pytest.approx(turn @ mark(straight, name), abs=0.3)


def test_mirrored_patient_is_the_other_side():
    right = femur(spacing=2.0)
    affine = np.diag([-1.0, 1, 1, 1]) @ right.grid.world_from_voxel
    left = LabelMap(right.data // RIGHT * LEFT, Grid.from_affine(right.data.shape, affine))
    found, other = by_name(measure(right, "femur")), by_name(measure(left, "femur"))
    for name, measurement in found.items():
        assert other[name].side == "left" and other[name].status == measurement.status
        assert other[name].value == pytest.approx(measurement.value, abs=0.2)


def test_short_shaft_has_no_angle_but_a_head():
    result = by_name(measure(femur(below_mm=80.0), "femur"))
    assert result["neck_shaft_angle_deg"].status == result["femoral_offset_mm"].status == "not_measurable"
    assert result["neck_shaft_angle_deg"].value is None
    assert result["neck_shaft_angle_deg"].reason.startswith("shaft_too_short")
    assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)


def test_shaft_of_middling_length_is_doubted():
    result = by_name(measure(femur(below_mm=115.0), "femur"))
    assert result["neck_shaft_angle_deg"].status == "low_confidence"
    assert result["neck_shaft_angle_deg"].value == pytest.approx(125.0, abs=2.0)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_wrong_spacing_is_reported(factor):
    labels = femur(spacing=1.5)
    grid = Grid(labels.grid.shape, tuple(factor * s for s in labels.grid.spacing_mm), labels.grid.origin_mm)
    result = by_name(measure(LabelMap(labels.data, grid), "femur"))
    assert result["femoral_head_radius_mm"].status == "low_confidence"
    assert result["femoral_head_radius_mm"].reason.startswith("scale_implausible")
    assert result["femoral_head_radius_mm"].value == pytest.approx(factor * RADIUS_MM, rel=0.02)


def test_wrong_side_is_reported():
    result = by_name(measure(femur(bone_id=LEFT, spacing=2.0), "femur"))
    assert result["neck_shaft_angle_deg"].status == "low_confidence"
    assert "frame_implausible" in result["neck_shaft_angle_deg"].reason


def test_cut_bone_says_so():
    volume = by_name(measure(femur(spacing=2.0), "femur"))["bone_volume_mm3"]
    assert volume.status == "low_confidence"
    assert volume.reason == "cut by the grid (inferior)"


@pytest.mark.parametrize("shape", ["empty", "one voxel", "all ones", "two parts", "sheet"])
def test_bad_anatomy_gives_a_status(shape):
    data = np.zeros((40, 40, 40), dtype=np.uint8)
    if shape == "one voxel":
        data[5, 5, 5] = LEFT
    elif shape == "all ones":
        data[:] = LEFT
    elif shape == "two parts":
        data[2:8, 2:8, 2:8] = data[20:24, 20:24, 20:24] = LEFT
    elif shape == "sheet":
        data[20] = LEFT
    found = measure(LabelMap(data, Grid.cube(40, 100.0)), "femur")
    assert len(found) == 4
    for m in found:
        if m.name != "bone_volume_mm3" or shape == "empty":
            assert (m.status, m.value) == ("failed", None)
            assert m.reason
