"""The femur measured on bodies built with known numbers, and on phantom patients that know their own."""

from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, to_canonical
from boneray.geometry.lines import angle_deg
from boneray.morphometry.femur_parts import SURE_SHAFT_R
from boneray.morphometry.measure import measure
from boneray.phantom.patient import make_patient
from tests.morphometry.femur_bodies import NECK_MM, OFFSET_MM, RADIUS_MM, FemurBody
from tests.morphometry.patients import axis_orders, by_name, marks

LEFT, RIGHT = BONES["femur_left"].bone_id, BONES["femur_right"].bone_id
NO_VERSION = {"bone_volume_mm3", "femoral_version_deg"}


@pytest.mark.parametrize(
    ("radius_mm", "spacing_mm", "offset"),
    list(product([18.0, 23.5, 28.0], [1.0, 2.0, 2.5], [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.1, 0.4, 0.7)])),
)
def test_a_ball_has_its_radius_wherever_it_lies_on_the_grid(radius_mm, spacing_mm, offset):
    n = int(2 * radius_mm / spacing_mm) + 8
    grid = Grid.cube(n, n * spacing_mm, np.array(offset) * spacing_mm)
    points = grid.to_world(np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1))
    ball = (np.linalg.norm(points, axis=-1) <= radius_mm) * RIGHT
    found = by_name(measure(LabelMap(ball.astype(np.uint8), grid), "femur"))
    head = found["femoral_head_radius_mm"]
    assert head.value == pytest.approx(radius_mm, abs=0.15)
    assert np.linalg.norm(head.landmarks[0].point_mm) < 0.2
    assert found["neck_shaft_angle_deg"].status == "not_measurable"


@pytest.mark.parametrize(("nsa_deg", "pose"), list(product([115.0, 125.0, 135.0, 145.0], [0, 1])))
def test_numbers_the_body_was_built_with(nsa_deg, pose):
    turn = Rotation.random(random_state=7 + pose).as_matrix() if pose else np.eye(3)
    found = measure(FemurBody(nsa_deg).labels(2.0, turn), "femur")
    result = by_name(found)
    assert {m.status for m in found if m.name not in NO_VERSION} == {"ok"}
    assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)
    assert result["neck_shaft_angle_deg"].value == pytest.approx(nsa_deg, abs=0.75)
    assert result["femoral_offset_mm"].value == pytest.approx(OFFSET_MM, abs=0.75)
    assert np.linalg.norm(marks(found)["femoral_head_centre"]) < 0.2
    shaft = marks(found)["shaft_proximal"] - marks(found)["shaft_distal"]
    assert angle_deg(shaft, turn[:, 2]) < 0.3


@pytest.mark.parametrize("spacing_mm", [pytest.param(1.0, marks=pytest.mark.slow), 1.5, 2.5])
def test_voxel_size_does_not_matter(spacing_mm):
    result = by_name(measure(FemurBody().labels(spacing_mm), "femur"))
    assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)
    assert result["neck_shaft_angle_deg"].value == pytest.approx(125.0, abs=0.75)


@pytest.mark.slow
@pytest.mark.parametrize(("nsa_deg", "spacing_mm"), list(product([115.0, 125.0, 135.0, 145.0], [1.0, 1.5, 2.0, 2.5])))
def test_every_angle_voxel_size_and_pose(nsa_deg, spacing_mm):
    for pose in range(4):
        turn = Rotation.random(random_state=pose).as_matrix()
        found = measure(FemurBody(nsa_deg, below_mm=190.0).labels(spacing_mm, turn), "femur")
        result = by_name(found)
        assert result["femoral_head_radius_mm"].value == pytest.approx(RADIUS_MM, abs=0.15)
        assert result["neck_shaft_angle_deg"].value == pytest.approx(nsa_deg, abs=0.75)
        assert np.linalg.norm(marks(found)["femoral_head_centre"]) < 0.2
        shaft = marks(found)["shaft_proximal"] - marks(found)["shaft_distal"]
        assert angle_deg(shaft, turn[:, 2]) < 0.3


@pytest.fixture(scope="module")
def upright():
    return by_name(measure(FemurBody().labels(1.5), "femur"))


def test_the_neck_is_as_wide_as_it_was_built(upright):
    """A capsule of radius 14: the narrowest section is a disc of 28 mm and 616 mm2, less what a mask rounds off."""
    assert upright["femoral_neck_width_mm"].value == pytest.approx(2 * NECK_MM, abs=0.75)
    assert upright["femoral_neck_area_mm2"].value == pytest.approx(np.pi * NECK_MM**2, rel=0.05)


def test_axes_are_given_by_their_angles_to_the_patient(upright):
    """Neck and shaft lie in the xz plane: the shaft along z, the neck 180 - 125 degrees off it, downwards."""
    expected = {"shaft": (90.0, 90.0, 0.0), "neck": (35.0, 90.0, 125.0)}
    for part, angles in expected.items():
        for letter, angle in zip("xyz", angles, strict=True):
            assert upright[f"femoral_{part}_axis_{letter}_deg"].value == pytest.approx(angle, abs=0.75), (part, letter)


@pytest.mark.parametrize(
    ("version_deg", "bow_mm", "pose"),
    [
        (0.0, 8.0, 0),
        (20.0, 15.0, 0),
        pytest.param(20.0, 0.0, 2, marks=pytest.mark.slow),
        (40.0, 8.0, 5),
    ],
)
def test_whole_femora_bowed_and_turned_have_their_version(version_deg, bow_mm, pose):
    turn = Rotation.random(random_state=pose).as_matrix() if pose else np.eye(3)
    body = FemurBody(128.0, version_deg, whole=True, bow_mm=bow_mm)
    found = measure(body.labels(2.5, turn), "femur")
    result = by_name(found)
    assert result["femoral_version_deg"].value == pytest.approx(version_deg, abs=0.75)
    assert result["neck_shaft_angle_deg"].value == pytest.approx(128.0, abs=0.75)
    shaft = marks(found)["shaft_proximal"] - marks(found)["shaft_distal"]
    assert angle_deg(shaft, turn[:, 2]) < 0.3


def test_version_needs_condyles():
    """300 mm of bone are a whole femur by length; cut above the condyles they are none."""
    whole = FemurBody(128.0, 15.0, whole=True).labels(2.0)
    cut = LabelMap(whole.data[:, :, 35:], Grid(whole.data[:, :, 35:].shape, whole.grid.spacing_mm, (0, 0, 0)))
    for labels in (cut, FemurBody(128.0).labels(2.0)):
        version = by_name(measure(labels, "femur"))["femoral_version_deg"]
        assert (version.status, version.value) == ("not_measurable", None)
        assert version.reason.startswith("no condyles")


@pytest.mark.parametrize("number", [1, 17, 30, 47])
def test_axis_order_changes_nothing(number):
    labels = FemurBody(version_deg=12.0).labels(3.0)
    turned = list(axis_orders(labels))[number]
    for before, after in zip(measure(labels, "femur"), measure(turned, "femur"), strict=True):
        assert after.value == pytest.approx(before.value, abs=1e-6)
        assert after.status == before.status
        for p, q in zip(before.landmarks, after.landmarks, strict=True):
            assert q.point_mm == pytest.approx(p.point_mm, abs=1e-6)


def test_all_48_axis_orders_are_the_same_image():
    """Morphometry sees only the canonical image, and that one is the same to the last voxel."""
    labels = FemurBody(version_deg=12.0).labels(3.0)
    data, grid = to_canonical(labels.data, labels.grid)
    orders = list(axis_orders(labels))
    assert len({(o.data.shape, o.grid.direction) for o in orders}) == 48
    for order in orders:
        other, place = to_canonical(order.data, order.grid)
        assert np.array_equal(other, data)
        assert place.matches(grid, 1e-9)


def test_affine_turned_in_the_world_turns_the_landmarks():
    labels = FemurBody().labels(2.0)
    turn = Rotation.from_euler("xyz", [20.0, -15.0, 30.0], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (40.0, -300.0, 900.0)
    moved = LabelMap(labels.data, Grid.from_affine(labels.data.shape, affine @ labels.grid.world_from_voxel))
    straight, turned = measure(labels, "femur"), measure(moved, "femur")
    for name, point in marks(straight).items():
        assert marks(turned)[name] == pytest.approx(turn @ point + affine[:3, 3], abs=1e-3), name
    for name, measurement in by_name(straight).items():
        if "_axis_" not in name and measurement.value is not None:
            assert by_name(turned)[name].value == pytest.approx(measurement.value, abs=1e-3), name


def test_mirrored_patient_is_the_other_side():
    right, left = FemurBody(version_deg=10.0).labels(2.0), FemurBody(version_deg=10.0).labels(2.0, side="left")
    found, other = by_name(measure(right, "femur")), by_name(measure(left, "femur"))
    for name, measurement in found.items():
        assert other[name].side == "left" and other[name].status == measurement.status
        if "_axis_x_" in name:
            assert other[name].value == pytest.approx(180.0 - measurement.value, abs=0.1)
        else:
            tolerance = 1.0 if measurement.unit == "mm2" else 0.1
            assert other[name].value == pytest.approx(measurement.value, abs=tolerance), name


def test_phantom_patients_have_their_true_measurements():
    for number in range(4):
        compare(make_patient("femur", seed=31, number=number, voxels=72))


@pytest.mark.slow
@pytest.mark.parametrize("voxels", [144, 96, 72, 58])
@pytest.mark.parametrize("deformity", ["none", "coxa_vara", "coxa_valga"])
def test_many_phantom_patients_have_their_true_measurements(voxels, deformity):
    for number in range(12):
        case = make_patient("femur", seed=32, number=number, voxels=voxels, deformity=deformity)
        compare(case, angle_deg=0.75 if deformity == "none" else 1.0)


def compare(case, *, angle_deg=0.75):
    """Head and, where the shaft is long enough to be sure, angle and offset against the truth.

    Angles of 98 to 113 and of 142 to 152 degrees leave the neck no straight part, which costs 0.1 degrees in the worst
    of 24 patients.
    """
    found, truth = by_name(measure(case.labels, "femur")), by_name(case.truth)
    name = "femoral_head_radius_mm"
    assert found[name].value == pytest.approx(truth[name].value, abs=0.15), case.case_id
    centre = next(mark for mark in case.landmarks if mark.name == "femoral_head_centre")
    assert np.linalg.norm(np.subtract(found[name].landmarks[0].point_mm, centre.point_mm)) < 0.25
    angle = found["neck_shaft_angle_deg"]
    if angle.status == "ok":
        assert angle.value == pytest.approx(truth["neck_shaft_angle_deg"].value, abs=angle_deg), case.case_id
        offset = found["femoral_offset_mm"].value
        assert offset == pytest.approx(truth["femoral_offset_mm"].value, abs=1.5), case.case_id
    else:
        below = case.labels.grid.size_mm[2] / 2 + centre.point_mm[2]
        reason = angle.reason
        assert below < (SURE_SHAFT_R + 0.5) * truth[name].value or "rests on" in reason or "narrow shaft" in reason
        assert angle.status in ("low_confidence", "not_measurable")
        if angle.value is not None:
            assert angle.value == pytest.approx(truth["neck_shaft_angle_deg"].value, abs=4.0), case.case_id
