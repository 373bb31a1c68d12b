"""Bad input: one clear line on stderr, exit code 2, and nothing is lost."""

import gzip
import json
import os
import shutil

import numpy as np
import pytest

from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.io.nifti import write_labels, write_volume


@pytest.fixture
def refused(boneray):
    def check(says: str, *arguments: object) -> None:
        done = boneray(*arguments)
        assert done.code == 2, (done.out, done.err)
        *before, last = done.err.splitlines()
        assert last.startswith("boneray: ") and says in last, done.err
        assert all(line.endswith("validation cases") for line in before), done.err

    return check


@pytest.fixture
def pair(tmp_path):
    grid = Grid.cube(12, 240.0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:8, 4:8, 4:8] = 50
    write_volume(tmp_path / "ct.nii.gz", Volume(np.where(labels > 0, 300, -1000).astype(np.int16), grid))
    write_labels(tmp_path / "labels.nii.gz", LabelMap(labels, grid))
    return tmp_path


def test_prepare(refused, pair, tmp_path):
    def run(says, *extra, ct="ct.nii.gz", labels="labels.nii.gz"):
        refused(
            says, "prepare", "pairs", "--ct", pair / ct, "--labels", pair / labels, "--anatomy", "pelvis",
            "--out", tmp_path / "o", *extra,
        )  # fmt: skip
        assert not (tmp_path / "o" / "dataset.json").exists()

    run("does not exist", ct="none.nii.gz")
    (pair / "text.nii.gz").write_text("hello")
    run("not a readable NIfTI", ct="text.nii.gz")
    write_labels(pair / "empty.nii.gz", LabelMap(np.zeros((12, 12, 12), np.uint8), Grid.cube(12, 240.0)))
    run("empty", labels="empty.nii.gz")
    write_labels(
        pair / "other.nii.gz", LabelMap(np.ones((10, 12, 12), np.uint8), Grid((10, 12, 12), (20,) * 3, (0,) * 3))
    )
    run("different grids", labels="other.nii.gz")
    run("totalsegmentator", "--label-map", "totalsegmenter")
    run("did you mean manual", "--labels-from", "manually")
    run("flip-j", "--orientation", "flip")
    run("cannot name a folder", "--case", "../escaped")
    run("finite", "--intensity-zero", "nan")
    run("voxels 7", "--voxels", 7)
    run("pixels 0", "--pixels", 0)
    run("size 0", "--size-mm", 0)
    run("same angle", "--views", "ap,0.0")
    run("neither ap, lat", "--views", "ap,oblique")
    run("form ID=bone", "--label-map", "70000=sacrum")
    run("pelvis", "--anatomy", "pelvs")


def test_reconstruct(refused, boneray, small_world, tmp_path):
    case = small_world / "data" / "femur-0-0000"
    run = small_world / "run"
    out = tmp_path / "out"
    refused("does not exist", "reconstruct", tmp_path / "none", "--checkpoint", run, "--out", out)
    refused("raylift_tiny-femur", "reconstruct", case, "--checkpoint", "raylift_tiny_femr", "--out", out)
    refused("--camera", "reconstruct", "--ap", case / "ap.png", "--checkpoint", run, "--out", out)
    refused("give a case folder", "reconstruct", "--checkpoint", run, "--out", out)
    files = ("reconstruct", "--ap", case / "ap.png", "--camera", case / "case.json", "--checkpoint", run)
    refused("--bone", *files, "--out", out)
    refused("femur_left", *files, "--bone", "femur_lft", "--out", out)
    refused("anatomy femur", *files, "--bone", "L3", "--out", out)
    refused("parallel", *files, "--bone", "femur_left", "--out", out)
    refused("3 numbers", *files, "--bone", "femur_left", "--out", out, "--centre-mm", "1,2")
    refused("does not show", *files, "--bone", "femur_left", "--out", out, "--centre-mm", "900,0,0")
    (tmp_path / "no.png").write_text("no picture")
    refused(
        "not a readable picture",
        "reconstruct",
        "--ap",
        tmp_path / "no.png",
        *files[3:],
        "--bone",
        "femur_left",
        "--out",
        out,
    )
    assert boneray("reconstruct", case, "--checkpoint", run, "--out", out).code == 0
    before = (out / "labels.nii.gz").read_bytes()
    refused("--force", "reconstruct", case, "--checkpoint", run, "--out", out)
    assert (out / "labels.nii.gz").read_bytes() == before
    refused("stl", "reconstruct", case, "--checkpoint", run, "--out", tmp_path / "m", "--mesh", "stp")


def test_reconstruct_never_replaces_a_reference(refused, boneray, small_world, tmp_path):
    case = small_world / "data" / "femur-0-0000"
    run = small_world / "run"
    other = tmp_path / "data" / "femur-0-0001"
    shutil.copytree(small_world / "data" / "femur-0-0001", other)
    before = (other / "labels.nii.gz").read_bytes()
    refused("no reconstruction", "reconstruct", case, "--checkpoint", run, "--out", other, "--force")
    assert (other / "labels.nii.gz").read_bytes() == before
    shutil.copy(small_world / "data" / "dataset.json", tmp_path / "data" / "dataset.json")
    refused("is a data set", "reconstruct", case, "--checkpoint", run, "--out", tmp_path / "data", "--force")
    refused("not both", "reconstruct", case, "--ap", case / "ap.png", "--checkpoint", run, "--out", tmp_path / "o")
    (tmp_path / "file").write_text("x")
    refused("cannot be written", "reconstruct", case, "--checkpoint", run, "--out", tmp_path / "file" / "below")


CASE_CHANGES = [
    {"views": 5},
    {"provenance": []},
    {"truth": [1]},
    {"landmarks": []},
    {"landmarks": {"a": "x"}},
    {"case_id": 5},
    {"target": ["a"]},
    {"views": [{"name": "ap", "file": "a\0b", "line_integral_per_grey": 1, "camera": {}}]},
    {"views": [{"name": "ap", "file": "ap.png", "line_integral_per_grey": "x", "camera": {}}]},
    {"views": [{"name": "ap", "file": "ap.png", "line_integral_per_grey": 1, "camera": 5}]},
]


@pytest.mark.parametrize("change", CASE_CHANGES, ids=lambda c: str(c)[:40])
def test_hostile_case_descriptions(refused, small_world, tmp_path, change):
    case = tmp_path / "case"
    shutil.copytree(small_world / "data" / "femur-0-0000", case)
    values = json.loads((case / "case.json").read_text())
    (case / "case.json").write_text(json.dumps(values | change))
    refused("", "reconstruct", case, "--checkpoint", small_world / "run", "--out", tmp_path / "o")
    refused("", "report", case)
    assert not (tmp_path / "o").exists()


CAMERA_CHANGES = [
    {"detector_shape": "ab"},
    {"source_detector_mm": "abc"},
    {"source_detector_mm": -5},
    {"principal_point_px": [3]},
    {"principal_point_px": [None, 1]},
    {"pixel_mm": [0, 1]},
    {"world_from_camera": [[1, 0], [0]]},
    {"world_from_camera": [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    {"world_from_camera": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [5, 5, 5, 7]]},
    {"kind": "fisheye"},
    {"detector_shape": [9, 9]},
]


@pytest.mark.parametrize("change", CAMERA_CHANGES, ids=lambda c: str(c)[:40])
def test_hostile_cameras(refused, small_world, tmp_path, change):
    case = small_world / "data" / "femur-0-0000"
    views = json.loads((case / "case.json").read_text())["views"]
    views[0]["camera"] |= change
    (tmp_path / "cameras.json").write_text(json.dumps({"views": views}))
    refused(
        "", "reconstruct", "--ap", case / "ap.png", "--lat", case / "lat.png", "--camera", tmp_path / "cameras.json",
        "--bone", "femur_left", "--checkpoint", small_world / "run", "--out", tmp_path / "o",
    )  # fmt: skip
    assert not (tmp_path / "o").exists()


NIFTI_CHANGES = {
    "datatype": lambda raw: raw[:70] + (999).to_bytes(2, "little") + raw[72:],
    "negative size": lambda raw: raw[:42] + (-5).to_bytes(2, "little", signed=True) + raw[44:],
    "huge size": lambda raw: raw[:42] + (32000).to_bytes(2, "little") * 3 + raw[48:],
    "no affine": lambda raw: raw[:76] + bytes(32) + raw[108:252] + bytes(4) + raw[256:],
    "colour": lambda raw: raw[:70] + (128).to_bytes(2, "little") + (24).to_bytes(2, "little") + raw[74:],
}


@pytest.mark.parametrize("change", NIFTI_CHANGES.values(), ids=list(NIFTI_CHANGES))
def test_hostile_niftis(boneray, small_world, tmp_path, change):
    raw = gzip.decompress((small_world / "data" / "femur-0-0000" / "labels.nii.gz").read_bytes())
    (tmp_path / "bad.nii").write_bytes(change(raw))
    done = boneray("measure", tmp_path / "bad.nii", "--anatomy", "femur")
    assert "Traceback" not in done.err and len(done.err.splitlines()) <= 1
    assert done.code in (0, 2)  # some headers can be read all the same


def test_a_checkpoint_of_another_anatomy_and_a_corrupt_one(refused, small_world, tmp_path):
    case = tmp_path / "vertebra"
    shutil.copytree(small_world / "data" / "femur-0-0000", case)
    values = json.loads((case / "case.json").read_text())
    (case / "case.json").write_text(json.dumps(values | {"anatomy": "vertebra", "target": "L3"}))
    refused("trained on femur", "reconstruct", case, "--checkpoint", small_world / "run", "--out", tmp_path / "o")
    for suffix in ("safetensors", "json"):
        shutil.copy(small_world / "run" / f"best.{suffix}", tmp_path / f"bad.{suffix}")
    (tmp_path / "bad.safetensors").write_bytes(b"corrupt")
    good = small_world / "data" / "femur-0-0000"
    refused("damaged", "reconstruct", good, "--checkpoint", tmp_path / "bad.safetensors", "--out", tmp_path / "o")
    assert not (tmp_path / "o" / "run.json").exists()


def test_train_evaluate_measure_report_list(refused, small_world, tmp_path):
    data = small_world / "data"
    refused("raylift_tiny", "train", "raylift_tny", "--data", data, "--out", tmp_path / "r")
    refused("already holds", "train", "raylift_tiny", "--data", data, "--out", small_world / "run")
    refused("does not exist", "evaluate", "--reference", tmp_path / "x.nii.gz", "--prediction", tmp_path / "y.nii.gz")
    (tmp_path / "text.nii.gz").write_text("hello")
    refused(
        "not a readable", "evaluate", "--reference", tmp_path / "text.nii.gz", "--prediction", tmp_path / "text.nii.gz"
    )
    refused("femur", "measure", data / "femur-0-0000", "--anatomy", "femr")
    write_labels(tmp_path / "e.nii.gz", LabelMap(np.zeros((5, 5, 5), np.uint8), Grid.cube(5, 10.0)))
    refused("empty", "measure", tmp_path / "e.nii.gz", "--anatomy", "femur")
    refused("holds no case", "report", tmp_path)
    refused("models", "list", "modls")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere; checked as another user")
def test_a_read_only_folder(refused, small_world, tmp_path):
    tmp_path.chmod(0o500)
    case = small_world / "data" / "femur-0-0000"
    refused("cannot be written", "reconstruct", case, "--checkpoint", small_world / "run", "--out", tmp_path / "o")


def test_a_full_disk(refused, boneray, small_world, tmp_path, monkeypatch):
    """The disk fills up while the result is written: one line, and no half-written file."""
    from pathlib import Path

    def full(self, *_):
        raise OSError(28, "No space left on device", str(self))

    case = small_world / "data" / "femur-0-0000"
    monkeypatch.setattr(Path, "write_bytes", full)
    refused("No space left", "reconstruct", case, "--checkpoint", small_world / "run", "--out", tmp_path / "o")
    assert not list((tmp_path / "o").rglob("*.stl")) and not list((tmp_path / "o").rglob("labels.nii.gz"))
