"""Ribs measured on arcs with closed-form numbers, and on the phantom's rib cages."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.geometry.surface import bone_mesh
from boneray.morphometry.measure import measure, measure_mesh
from boneray.phantom.patient import make_patient
from tests.morphometry.patients import axis_orders, by_name, dice, marks, noisy, turned

RADIUS_MM = 5.0
BEND_MM, TURN_DEG, TILT_DEG = 80.0, 160.0, 35.0
LEFT = BONES["rib_left_6"].bone_id
LENGTHS = ("rib_arc_length_mm", "rib_chord_mm")


def course(side=-1.0):
    """An arc of a circle from the spine outwards and forwards, falling to the front by 35 degrees; left by default."""
    t = np.deg2rad(np.linspace(0.0, TURN_DEG, 1500))
    flat = np.stack([side * BEND_MM * np.sin(t), -BEND_MM * np.cos(t), np.zeros_like(t)], axis=1)
    return flat @ Rotation.from_euler("x", -TILT_DEG, degrees=True).as_matrix().T


def rib(spacing_mm=1.5, side=-1.0, bone_id=LEFT, points=None):
    line = course(side) if points is None else points
    low, high = line.min(axis=0) - 4 * RADIUS_MM, line.max(axis=0) + 4 * RADIUS_MM
    shape = tuple(np.ceil((high - low) / spacing_mm).astype(int))
    grid = Grid(shape, (spacing_mm,) * 3, tuple(low))
    places = grid.to_world(np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3))
    near = cKDTree(line).query(places, distance_upper_bound=RADIUS_MM)[0] <= RADIUS_MM
    return LabelMap((near.reshape(shape) * bone_id).astype(np.uint8), grid)


ARC_MM = BEND_MM * np.deg2rad(TURN_DEG)
CHORD_MM = 2 * BEND_MM * np.sin(np.deg2rad(TURN_DEG) / 2)
TRUTH = {
    "rib_arc_length_mm": ARC_MM,
    "rib_chord_mm": CHORD_MM,
    "rib_arc_over_chord_percent": 100 * ARC_MM / CHORD_MM,
    "rib_area_mm2": BEND_MM**2 * (np.deg2rad(TURN_DEG) - np.sin(np.deg2rad(TURN_DEG))) / 2,
    "rib_plane_tilt_deg": TILT_DEG,
    "rib_max_curvature_per_m": 1000 / BEND_MM,
}


@pytest.mark.parametrize("spacing_mm", [1.0, 1.5, 2.5])
def test_closed_forms_of_an_arc(spacing_mm):
    found = by_name(measure(rib(spacing_mm), "ribs"))
    assert {found[name].status for name in TRUTH} == {"ok"}
    for name in ("rib_arc_length_mm", "rib_chord_mm", "rib_arc_over_chord_percent", "rib_area_mm2"):
        assert found[name].value == pytest.approx(TRUTH[name], rel=0.02), name
    assert found["rib_plane_tilt_deg"].value == pytest.approx(TILT_DEG, abs=1.0)
    assert found["rib_max_curvature_per_m"].value == pytest.approx(1000 / BEND_MM, abs=2.5)
    ends = marks(found.values())
    assert np.linalg.norm(ends["rib_head"] - course()[0]) < 2.0
    assert np.linalg.norm(ends["rib_front"] - course()[-1]) < 2.0


def test_mesh_and_labels_agree_and_mesh_turns_with_the_bone():
    mesh = bone_mesh(rib(1.5), LEFT)
    from_mesh = measure_mesh(mesh, "rib_left_6", "ribs")
    from_labels = by_name(measure(rib(1.5), "ribs"))
    for m in from_mesh:
        if m.name in TRUTH:
            assert m.value == pytest.approx(from_labels[m.name].value, rel=0.03), m.name
    motion = Rotation.from_rotvec([0.2, -0.3, 0.4]).as_matrix()
    moved = measure_mesh(turned(mesh, motion, (4, 5, 6)), "rib_left_6", "ribs")
    for a, b in zip(from_mesh, moved, strict=True):
        if a.name == "rib_plane_tilt_deg":  # against the patient's own transverse plane
            continue
        assert b.value == pytest.approx(a.value, rel=1e-6), a.name
        for p, q in zip(a.landmarks, b.landmarks, strict=True):
            assert q.point_mm == pytest.approx(motion @ p.point_mm + [4, 5, 6], abs=1e-3)


def test_any_axis_order_is_the_same_image():
    labels = rib(3.0)
    wanted = measure(labels, "ribs")
    for other in axis_orders(labels):
        for a, b in zip(wanted, measure(other, "ribs"), strict=True):
            assert (b.status, b.reason) == (a.status, a.reason)
            assert b.value == pytest.approx(a.value, rel=1e-9)
            for p, q in zip(a.landmarks, b.landmarks, strict=True):
                assert q.point_mm == pytest.approx(p.point_mm, abs=1e-6)


def test_mirrored_patient_swaps_sides_and_keeps_values():
    left = rib(2.0)
    mirror = np.diag([-1.0, 1, 1, 1]) @ left.grid.world_from_voxel
    right_id = BONES["rib_right_6"].bone_id
    right = LabelMap(left.data // LEFT * np.uint8(right_id), Grid.from_affine(left.data.shape, mirror))
    wanted, found = measure(left, "ribs"), measure(right, "ribs")
    for a, b in zip(wanted, found, strict=True):
        assert (a.bone, b.bone) == ("rib_left_6", "rib_right_6")
        assert b.status == a.status
        assert b.value == pytest.approx(a.value, rel=0.003)
    before, after = marks(wanted), marks(found)
    for name in ("rib_head", "rib_front"):
        assert after[name] == pytest.approx(before[name] * [-1, 1, 1], abs=0.5)


def test_wrong_side_flipped_and_mis_scaled_ribs_are_reported():
    def reason(labels):
        m = by_name(measure(labels, "ribs"))["rib_arc_length_mm"]
        assert m.status == "low_confidence" and m.value is not None
        return m.reason

    other_side = rib(2.0, side=1.0)
    assert reason(other_side).startswith("frame_implausible: rib_left_6 bows towards the other side")
    straight = rib(2.0)
    flipped = LabelMap(np.ascontiguousarray(straight.data[:, ::-1]), straight.grid)
    assert reason(flipped).startswith("frame_implausible: rib_left_6 rises to the front")
    grid = Grid(straight.grid.shape, (0.8,) * 3, straight.grid.origin_mm)
    assert reason(LabelMap(straight.data, grid)).startswith("scale_implausible")


def test_a_rib_cut_by_the_grid_has_no_length():
    labels = rib(1.5)
    data = np.ascontiguousarray(labels.data[:, : labels.grid.shape[1] // 2])
    found = by_name(measure(LabelMap(data, Grid(data.shape, (1.5,) * 3, labels.grid.origin_mm)), "ribs"))
    for name in TRUTH:
        assert found[name].status == "not_measurable"
        assert found[name].reason == "an end is cut by the grid (anterior)"


def test_a_nearly_straight_rib_has_no_plane():
    straight = np.linspace([-20.0, 0.0, 0.0], [-110.0, 30.0, -50.0], 800)
    found = by_name(measure(rib(1.5, bone_id=BONES["rib_left_12"].bone_id, points=straight), "ribs"))
    assert found["rib_plane_tilt_deg"].status == "not_measurable"
    assert found["rib_arc_over_chord_percent"].value == pytest.approx(100.0, abs=0.5)


def test_an_implant_makes_a_bend_that_is_doubted():
    labels = rib(1.5)
    middle = course()[750]
    points = labels.grid.to_world(np.moveaxis(np.indices(labels.data.shape), 0, -1))
    along = np.clip(points[..., 2] - middle[2], 0.0, 30.0)
    screw = np.linalg.norm(points - middle - np.stack([0 * along, 0 * along, along], axis=-1), axis=-1) < 6.0
    plate = (np.linalg.norm(points - middle, axis=-1) < 11) & (labels.data == 0) & (points[..., 2] < middle[2])
    data = labels.data.copy()
    data[screw | plate] = LEFT
    found = by_name(measure(LabelMap(data, labels.grid), "ribs"))
    for name in LENGTHS:
        assert found[name].status in ("ok", "low_confidence")
        assert found[name].value == pytest.approx(TRUTH[name], rel=0.1) or found[name].status == "low_confidence"


@pytest.mark.parametrize("overlap", [0.95, 0.90])
def test_noisy_ribs_keep_their_length(overlap):
    labels = rib(1.5)
    rough = noisy(labels, overlap, "rib")
    assert dice(labels.data > 0, rough.data > 0) == pytest.approx(overlap, abs=0.01)
    found = by_name(measure(rough, "ribs"))
    assert found["rib_arc_length_mm"].value == pytest.approx(ARC_MM, rel=0.03)
    assert found["rib_chord_mm"].value == pytest.approx(CHORD_MM, rel=0.03)


@pytest.mark.parametrize("kind", ["two parts", "holes", "one voxel", "all ones", "sheet", "line", "dust"])
def test_bad_anatomy_gives_a_status(kind):
    labels = rib(2.5)
    data = labels.data.copy()
    rng = generator(0, "bad rib", kind)
    if kind == "two parts":
        data[2:9, 2:9, 2:9] = LEFT
    elif kind == "holes":
        bone = np.argwhere(data > 0)
        data[tuple(bone[rng.random(len(bone)) < 0.15].T)] = 0
    elif kind == "one voxel":
        data[:] = 0
        data[9, 9, 9] = LEFT
    elif kind == "all ones":
        data[:] = LEFT
    elif kind == "sheet":
        data[:] = 0
        data[10] = LEFT
    elif kind == "line":
        data[:] = 0
        data[10, 5:-5, 10] = LEFT
    else:
        data[:] = np.where(rng.random(data.shape) < 0.01, LEFT, 0)
    found = measure(LabelMap(data, labels.grid), "ribs")
    assert len([m for m in found if m.name != "bone_volume_mm3"]) == len(TRUTH)
    for m in found:
        assert (m.value is not None) == (m.status in ("ok", "low_confidence"))
        assert m.value is None or np.isfinite(m.value)
        assert m.reason or m.status == "ok"
    arc = by_name(found)["rib_arc_length_mm"]
    if kind in ("one voxel", "all ones", "dust"):
        assert arc.status == "not_measurable"
    if kind == "holes":
        assert arc.value == pytest.approx(ARC_MM, rel=0.03)


def length_errors(numbers, voxels, ribs=range(1, 13)):
    """Relative errors of the arc lengths of some ribs of both sides, and the statuses of all their measurements."""
    errors, statuses = [], []
    wanted = [f"rib_{side}_{rib}" for side in ("left", "right") for rib in ribs]
    for number in numbers:
        case = make_patient("ribs", seed=11, number=number, voxels=voxels)
        kept = np.isin(case.labels.data, [BONES[name].bone_id for name in wanted])
        labels = LabelMap(np.where(kept, case.labels.data, 0).astype(np.uint8), case.labels.grid)
        found = {(m.bone, m.name): m for m in measure(labels, "ribs")}
        for truth in [truth for truth in case.truth if truth.bone in wanted]:
            value = found[truth.bone, truth.name].value
            errors.append(np.nan if value is None else value / truth.value - 1)
        statuses += [m.status for m in found.values()]
    return np.array(errors), statuses


@pytest.mark.parametrize("voxels", [144, 180])
def test_rib_cages_have_their_lengths(voxels):
    """All 24 ribs of two patients at 2.5 and 2 mm."""
    errors, statuses = length_errors(range(2), voxels)
    assert np.abs(errors).max() < 0.02
    assert np.mean([status == "ok" for status in statuses]) >= 0.98


def test_twenty_patients_at_3_mm():
    """The most bent, the longest and the shortest rib of each side."""
    errors, statuses = length_errors(range(20), 120, ribs=(1, 7, 12))
    assert np.isfinite(errors).all()
    assert np.mean([status == "ok" for status in statuses]) >= 0.98
    assert np.abs(errors).max() < 0.03


@pytest.mark.slow
def test_two_hundred_rib_cages():
    errors, statuses = length_errors(range(200), 144)
    assert np.mean(np.abs(errors) <= 0.02) >= 0.995
    assert np.abs(errors).max() < 0.03
    assert np.mean([status == "ok" for status in statuses]) >= 0.98
