"""Bad input: one clear line on stderr, exit code 2, and nothing is lost."""

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
        lines = [line for line in done.err.splitlines() if line.startswith("boneray: ")]
        assert len(lines) == 1 and says in lines[0], done.err
        assert "Traceback" not in done.err

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
    run("flip-j", "--orientation", "flip")
    run("pelvis", "--anatomy", "pelvs")


def test_reconstruct(refused, boneray, small_world, tmp_path):
    case = small_world / "data" / "femur-0-0000"
    run = small_world / "run"
    out = tmp_path / "out"
    refused("does not exist", "reconstruct", tmp_path / "none", "--checkpoint", run, "--out", out)
    refused("raylift_tiny_femur", "reconstruct", case, "--checkpoint", "raylift_tiny_femr", "--out", out)
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
