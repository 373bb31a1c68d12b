"""Pairs become cases: frames are checked by anatomy, bad input is refused, work is not done twice."""

import json

import numpy as np
import pytest

from boneray.core.errors import DataError, GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.collection import prepare_collection
from boneray.datasets.frame_checks import check_frame
from boneray.datasets.label_maps import label_map
from boneray.datasets.nnunet import write_miniature
from boneray.datasets.prepare import PrepareOptions, hounsfield, prepare_pair
from boneray.datasets.registry import DATASETS, Pair
from boneray.io.case_folder import read_case
from boneray.io.nifti import write_labels, write_volume
from boneray.phantom.patient import make_patient

BONES = label_map("boneray")


def write_pair(folder, *, flip_j=False, labels_grid=None, hu=True, scale=1.0):
    """A pelvis phantom as CT and labels; optionally stored back to front under an unchanged header."""
    case = make_patient("pelvis", seed=0, number=0, voxels=48)
    grid = case.ct.grid
    inside = np.zeros(grid.shape, np.uint8)
    start = np.round(grid.to_index(case.labels.grid.origin_mm)).astype(int)
    inside[tuple(slice(s, s + n) for s, n in zip(start, case.labels.grid.shape, strict=True))] = case.labels.data
    ct = case.ct.data
    if flip_j:
        ct, inside = ct[:, ::-1], inside[:, ::-1]
    if not hu:
        ct = np.clip((ct + 1000) // 12, 0, 255)
    grid = Grid(grid.shape, tuple(s * scale for s in grid.spacing_mm), grid.origin_mm)
    folder.mkdir(exist_ok=True)
    ct_file = write_volume(folder / "ct.nii.gz", Volume(np.ascontiguousarray(ct).astype(np.int16), grid))
    labels_file = write_labels(folder / "labels.nii.gz", LabelMap(np.ascontiguousarray(inside), labels_grid or grid))
    return Pair("p1", "p1", ct_file, labels_file, BONES)


OPTIONS = PrepareOptions("pelvis", voxels=32, pixels=32)


def test_a_straight_file_is_taken_as_it_is(tmp_path):
    rows = prepare_pair(write_pair(tmp_path), OPTIONS, tmp_path / "out")
    assert rows[0]["notes"] == []
    case = read_case(tmp_path / "out" / "p1")
    assert case.labels.grid.shape == (32, 32, 32) and set(case.radiographs) == {"ap", "lat"}
    assert not case.provenance["second_axis_flipped"]


def test_a_mirrored_header_is_found_by_anatomy_repaired_and_said(tmp_path):
    straight = prepare_pair(write_pair(tmp_path / "a"), OPTIONS, tmp_path / "out_a")
    mirrored = prepare_pair(write_pair(tmp_path / "b", flip_j=True), OPTIONS, tmp_path / "out_b")
    assert straight[0]["notes"] == [] and "mirrored header" in mirrored[0]["notes"][0]
    a, b = (read_case(tmp_path / out / "p1") for out in ("out_a", "out_b"))
    assert b.provenance["second_axis_flipped"]
    assert np.array_equal(a.labels.data, b.labels.data)
    by_bone = [check_frame(c.labels, BONES) for c in (a, b)]
    assert all(not f.mirrored for f in by_bone)


def test_header_and_flip_j_do_as_they_are_told(tmp_path):
    pair = write_pair(tmp_path, flip_j=True)
    trusted = prepare_pair(pair, PrepareOptions("pelvis", voxels=32, pixels=32, orientation="header"), tmp_path / "h")
    assert any("back to front" in note for note in trusted[0]["notes"])
    assert not read_case(tmp_path / "h" / "p1").provenance["second_axis_flipped"]
    told = prepare_pair(pair, PrepareOptions("pelvis", voxels=32, pixels=32, orientation="flip-j"), tmp_path / "f")
    assert not any("back to front" in note for note in told[0]["notes"])


def test_a_wrong_scale_is_reported(tmp_path):
    rows = prepare_pair(write_pair(tmp_path, scale=0.5), OPTIONS, tmp_path / "out")
    assert any(note.startswith("scale_implausible") for note in rows[0]["notes"])


def test_swapped_sides_are_reported():
    case = make_patient("pelvis", seed=0, number=0, voxels=32)
    swapped = BONES | {51: "hip_left", 52: "hip_right"}
    assert check_frame(case.labels, BONES).problems == ()
    assert "hip_left" in check_frame(case.labels, swapped).problems[0]


def test_labels_on_another_grid_are_refused_unless_asked_for(tmp_path):
    pair = write_pair(tmp_path)
    fine = make_patient("pelvis", seed=0, number=0, voxels=56).labels
    write_labels(pair.labels, fine)
    with pytest.raises(GeometryError, match="--resample"):
        prepare_pair(pair, OPTIONS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rows = prepare_pair(pair, PrepareOptions("pelvis", voxels=32, pixels=32, resample=True), tmp_path / "out")
    assert any("resampled" in note for note in rows[0]["notes"])


def test_intensities_that_are_not_hu_need_the_value_of_air(tmp_path):
    pair = write_pair(tmp_path, hu=False)
    with pytest.raises(DataError, match="--intensity-zero"):
        prepare_pair(pair, OPTIONS, tmp_path / "out")
    rows = prepare_pair(pair, PrepareOptions("pelvis", voxels=32, pixels=32, intensity_zero=0.0), tmp_path / "out")
    assert "not HU" in rows[0]["notes"][0]


def test_rescaled_intensities_put_air_and_bone_where_they_belong():
    volume = np.array([0.0, 50.0, 100.0, 150.0])
    out = hounsfield(volume, np.array([False, False, True, True]), zero=0.0)
    np.testing.assert_allclose(out, [-1000, -480, 40, 560], rtol=1e-5)
    with pytest.raises(DataError, match="intensity-zero"):
        hounsfield(volume, np.array([False, False, True, True]), zero=200.0)


def test_empty_labels_and_foreign_bones_are_refused(tmp_path):
    pair = write_pair(tmp_path)
    with pytest.raises(DataError, match="no bone of anatomy ribs"):
        prepare_pair(pair, PrepareOptions("ribs"), tmp_path / "out")
    grid = (
        read_case(tmp_path / "x").labels.grid
        if (tmp_path / "x").exists()
        else make_patient("pelvis", seed=0, number=0, voxels=48).ct.grid
    )
    write_labels(pair.labels, LabelMap(np.zeros(grid.shape, np.uint8), grid))
    with pytest.raises(DataError, match="empty"):
        prepare_pair(pair, OPTIONS, tmp_path / "out")


def test_what_is_made_from_the_same_input_is_kept(tmp_path):
    pair = write_pair(tmp_path)
    prepare_pair(pair, OPTIONS, tmp_path / "out")
    before = (tmp_path / "out" / "p1" / "case.json").stat().st_mtime_ns
    prepare_pair(pair, OPTIONS, tmp_path / "out")
    assert (tmp_path / "out" / "p1" / "case.json").stat().st_mtime_ns == before
    prepare_pair(pair, PrepareOptions("pelvis", voxels=24, pixels=32), tmp_path / "out")
    assert read_case(tmp_path / "out" / "p1").labels.grid.shape == (24, 24, 24)


def test_other_options_do_not_join_a_data_set(tmp_path):
    write_miniature(tmp_path / "raw")
    pairs = list(DATASETS.get("nnunet").value.cases(tmp_path / "raw", None))
    made = prepare_collection(pairs, PrepareOptions("pelvis", voxels=16, pixels=16), name="n", out=tmp_path / "out")
    assert (made["made"], made["rejected"]) == (2, 0)
    with pytest.raises(InputError, match="--force"):
        prepare_collection(pairs, PrepareOptions("pelvis", voxels=24), name="n", out=tmp_path / "out")


def test_one_bad_scan_of_many_is_a_row_with_its_reason(tmp_path):
    write_miniature(tmp_path / "raw")
    (tmp_path / "raw" / "imagesTr" / "mini_002_0000.nii.gz").write_bytes(b"broken")
    pairs = list(DATASETS.get("nnunet").value.cases(tmp_path / "raw", None))
    made = prepare_collection(pairs, PrepareOptions("pelvis", voxels=16, pixels=16), name="n", out=tmp_path / "out")
    assert (made["made"], made["rejected"]) == (1, 1)
    rows = json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"]
    assert [row["status"] for row in rows] == ["ok", "rejected"] and "not a readable" in rows[1]["reason"]
