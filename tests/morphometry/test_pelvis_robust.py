"""The pelvis in bad shape: a status each time, never an exception, never a number without a status."""

import numpy as np
import pytest
from scipy import ndimage

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.morphometry.measure import measure, measure_mesh, measure_meshes
from boneray.morphometry.registry import MEASUREMENTS
from boneray.phantom.patient import make_patient
from tests.morphometry.patients import PELVIS, by_name, capsule_mask, marks

LEFT, RIGHT, SACRUM = (BONES[name].bone_id for name in ("hip_left", "hip_right", "sacrum"))
NAMES = {e.name for e in MEASUREMENTS if e.facts["anatomy"] == "pelvis"}
WIDTHS = ("inter_asis_distance_mm", "inter_psis_distance_mm", "inter_ischial_spine_distance_mm")


def sound(found):
    """Every measurement of the pelvis is there once and has a value exactly where its status says so."""
    rows = [m for m in found if m.name != "bone_volume_mm3"]
    assert sorted(m.name for m in rows) == sorted(NAMES)
    for m in found:
        assert (m.value is not None) == (m.status in ("ok", "low_confidence")), m
        assert m.value is None or np.isfinite(m.value)
        assert m.status == "ok" or m.reason
        assert m.confidence is None or 0.0 <= m.confidence <= 1.0
        assert all(np.isfinite(mark.point_mm).all() for mark in m.landmarks)
    return by_name(rows)


@pytest.fixture(scope="module")
def patient():
    return make_patient("pelvis", seed=51, number=2, voxels=96)


@pytest.fixture(scope="module")
def whole(patient):
    return by_name(measure(patient.labels, "pelvis"))


def edited(patient, data):
    return LabelMap(np.ascontiguousarray(data).astype(np.uint8), patient.labels.grid)


@pytest.mark.parametrize("shape", ["one voxel each", "all ones", "boxes", "noise", "sheets", "two parts"])
def test_bad_anatomy_gives_a_status(shape):
    data = np.zeros((40, 40, 40), dtype=np.uint8)
    ids = (SACRUM, LEFT, RIGHT)
    for n, bone_id in enumerate(ids):
        if shape == "one voxel each":
            data[5 + n, 5, 5] = bone_id
        elif shape == "all ones":
            data[:] = bone_id
        elif shape == "boxes":
            data[4 + 10 * n : 12 + 10 * n, 5:30, 5:30] = bone_id
        elif shape == "sheets":
            data[10 + 5 * n] = bone_id
        elif shape == "two parts":
            data[5 + 8 * n, 3:6, 3:6] = data[5 + 8 * n, 30:36, 30:36] = bone_id
        else:
            data[np.random.default_rng(n).random(data.shape) > 0.8] = bone_id
    found = sound(measure(LabelMap(data, Grid.cube(40, 200.0)), "pelvis"))
    assert {m.status for m in found.values()} <= {"failed", "not_measurable"}


@pytest.mark.parametrize("missing", ["hip_left", "hip_right"])
def test_without_a_hip_bone_everything_fails(patient, missing):
    data = np.where(patient.labels.mask(BONES[missing].bone_id), 0, patient.labels.data)
    found = sound(measure(edited(patient, data), "pelvis"))
    assert {(m.status, m.value) for m in found.values()} == {("failed", None)}
    assert all(missing in m.reason for m in found.values())


def test_without_a_sacrum_the_rest_is_measured(patient, whole):
    data = np.where(patient.labels.mask(SACRUM), 0, patient.labels.data)
    found = sound(measure(edited(patient, data), "pelvis"))
    assert found["promontory_symphysis_distance_mm"].status == "not_measurable"
    for name in WIDTHS:
        assert (found[name].status, found[name].value) == ("ok", pytest.approx(whole[name].value, abs=1e-6))


@pytest.mark.parametrize("face", range(6))
@pytest.mark.parametrize("share", [0.1, 0.3, pytest.param(0.6, marks=pytest.mark.slow)])
def test_crops_from_every_side(patient, whole, face, share):
    """A crop takes numbers away or leaves them as they were; a sure number that moved would be a lie."""
    axis, end = divmod(face, 2)
    data, grid = patient.labels.data, patient.labels.grid
    filled = np.flatnonzero((data > 0).any(axis=tuple(a for a in range(3) if a != axis)))
    cut = int(share * len(filled))
    index = [slice(None)] * 3
    index[axis] = slice(filled[cut], None) if end == 0 else slice(None, filled[-1] - cut)
    part = np.ascontiguousarray(data[tuple(index)])
    start = [s.start or 0 for s in index]
    labels = LabelMap(part, Grid(part.shape, grid.spacing_mm, tuple(grid.to_world(start)), grid.direction))
    found = sound(measure(labels, "pelvis"))
    for name, m in found.items():
        if m.status == "ok":
            assert m.value == pytest.approx(whole[name].value, abs=5.0), name


def test_a_field_of_view_without_the_wings_has_no_frame(patient):
    """Cut 20 mm below the ASIS nothing is left to span the APP."""
    spine = marks(measure(patient.labels, "pelvis"))["anterior_superior_iliac_spine_left"]
    top = int(patient.labels.grid.to_index(spine)[2] - 20.0 / patient.labels.grid.spacing_mm[2])
    data = np.ascontiguousarray(patient.labels.data[:, :, :top])
    found = sound(measure(LabelMap(data, Grid(data.shape, patient.labels.grid.spacing_mm, (0, 0, 0))), "pelvis"))
    assert {m.value for m in found.values()} == {None}


def test_holes_do_not_move_the_widths(patient, whole):
    data = patient.labels.data.copy()
    data[ndimage.binary_erosion(data > 0, iterations=2)] = 0
    data[::9, ::7, ::5] = 0
    found = sound(measure(edited(patient, data), "pelvis"))
    for name in WIDTHS:
        assert found[name].value == pytest.approx(whole[name].value, abs=4.0)


def test_a_hip_bone_in_two_parts_is_doubted(patient):
    data = patient.labels.data.copy()
    level = int(patient.labels.grid.to_index((0.0, 0.0, 0.0))[2])
    left = patient.labels.mask(LEFT)
    left[:, :, :level], left[:, :, level + 2 :] = False, False
    data[left] = 0
    found = sound(measure(edited(patient, data), "pelvis"))
    assert all(m.status != "ok" for m in found.values())


def test_swapped_names_are_told(patient, whole):
    data = patient.labels.data.copy()
    data[patient.labels.mask(LEFT)], data[patient.labels.mask(RIGHT)] = RIGHT, LEFT
    found = sound(measure(edited(patient, data), "pelvis"))
    for name in WIDTHS:
        assert found[name].status == "low_confidence" and "frame_implausible" in found[name].reason
        assert found[name].value == pytest.approx(whole[name].value, abs=0.2)


def test_screws_left_out_of_the_bone_do_not_move_the_widths(patient, whole):
    """Two sacroiliac screws and a plate on the symphysis, cut out of the labels."""
    grid = patient.labels.grid
    points = marks(measure(patient.labels, "pelvis"))
    posterior = [points[f"posterior_superior_iliac_spine_{side}"] for side in ("left", "right")]
    ahead = np.array([0.0, 35.0, 0.0])
    metal = capsule_mask(grid, posterior[0] + ahead, posterior[1] + ahead, 5.0)
    joint = points["pubic_symphysis"]
    metal |= capsule_mask(grid, joint + np.array([-20.0, -12.0, -10.0]), joint + np.array([20.0, -12.0, -10.0]), 4.0)
    found = sound(measure(edited(patient, np.where(metal, 0, patient.labels.data)), "pelvis"))
    for name in WIDTHS:
        assert found[name].value == pytest.approx(whole[name].value, abs=3.0)


def test_meshes_alone_or_broken_have_statuses():
    corners = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3.0]])
    tiny = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    broken = Mesh(corners * np.nan, tiny.faces)
    sound(measure_mesh(tiny, "hip_left", "pelvis"))
    sound(measure_meshes(dict.fromkeys(PELVIS, tiny), "pelvis"))
    found = measure_meshes({"hip_left": tiny, "hip_right": broken, "sacrum": tiny}, "pelvis")
    sound(found)
    assert [m.status for m in found if m.bone == "hip_right"] == ["failed"]
    sound(measure_meshes(dict.fromkeys(PELVIS, broken), "pelvis"))


def success(phantoms, voxels):
    """Share of phantom patients of whom every landmark and number was found."""
    good = 0
    for number in range(phantoms):
        found = sound(measure(make_patient("pelvis", seed=78, number=number, voxels=voxels).labels, "pelvis"))
        good += all(m.value is not None for m in found.values())
    return good / phantoms


def test_success_on_phantoms():
    assert success(20, 64) == 1.0


@pytest.mark.slow
def test_success_on_200_phantoms():
    assert success(200, 107) >= 0.98
