"""`boneray prepare DATASET`: what it prints, what it leaves, and with which exit code it ends."""

import json

import pytest

from boneray.datasets.registry import DATASETS
from boneray.datasets.splits import read_splits

SMALL = ("--voxels", 16, "--pixels", 16, "--views", "ap")


@pytest.fixture(scope="module")
def verse(tmp_path_factory):
    root = tmp_path_factory.mktemp("verse")
    DATASETS.get("verse19").value.write_miniature(root)
    return root


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    root = tmp_path_factory.mktemp("faulty")
    DATASETS.get("nnunet").value.write_faulty(root)
    return root


def test_a_sound_data_set_ends_with_0_and_its_counts(boneray, verse, tmp_path):
    done = boneray("prepare", "verse19", "--source", verse, "--out", tmp_path / "o", "-a", "spine", "--voxels", 48,
                   "--pixels", 16, "--views", "ap", "--split", "owner")  # fmt: skip
    assert done.code == 0, done.err
    assert "3 cases: 3 accepted (0 flagged, 2 patients), 0 rejected" in done.err
    assert "LEAK: 1 patient(s) in test and in training or validation: sub-verse402" in done.err
    parts = read_splits(tmp_path / "o" / "splits.json")
    assert parts["test"] == ["sub-verse402_split-verse252"] and len(parts["train"]) == 2
    described = json.loads((tmp_path / "o" / "sub-verse004" / "case.json").read_text())
    assert described["groups"]["owner_part"] == "train" and described["labels_from"] == "semi-automatic"
    assert described["label_voxels"].keys() == set(described["bones"].values())


def test_bad_files_are_rows_the_run_goes_on_and_ends_with_1(boneray, faulty, tmp_path):
    done = boneray("prepare", "nnunet", "--source", faulty, "--out", tmp_path / "o", "-a", "pelvis", *SMALL)
    assert done.code == 1
    assert "2 case(s) in" in done.err and done.err.splitlines()[-1].endswith("10 rejected")
    assert "truncated: unreadable: CT" in done.err and "labels_only: missing_ct:" in done.err
    again = boneray("prepare", "nnunet", "--source", faulty, "--out", tmp_path / "o", "-a", "pelvis", *SMALL, "--json")
    assert again.code == 1 and json.loads(again.out)["faults"] == 10 and json.loads(again.out)["made"] == 2


def test_a_dry_run_writes_nothing(boneray, faulty, tmp_path):
    done = boneray("prepare", "nnunet", "--source", faulty, "--out", tmp_path / "o", "-a", "pelvis", "--dry-run")
    assert done.code == 1 and "2 case(s) would be made, 10 rejected" in done.err and not (tmp_path / "o").exists()


def test_a_preset_makes_the_set_of_the_paper(boneray, verse, tmp_path):
    done = boneray("prepare", "verse19", "--source", verse, "--out", tmp_path / "o", "-a", "vertebra",
                   "--preset", "xrayto3d", "--target", "L1", "--split", "patient", "--test-share", 0)  # fmt: skip
    assert done.code == 0, done.err
    described = json.loads((tmp_path / "o" / "sub-verse004-L1" / "case.json").read_text())
    assert described["grid"]["shape"] == [64, 64, 64] and described["grid"]["spacing_mm"] == [1.5, 1.5, 1.5]
    assert described["provenance"]["rendering"]["preset"] == "xrayto3d"
    parts = read_splits(tmp_path / "o" / "splits.json")
    where = {case.partition("_")[0].partition("-L1")[0]: part for part in parts for case in parts[part]}
    assert len(where) == 2 and sum(map(len, parts.values())) == 3
    kept = boneray("prepare", "verse19", "--source", verse, "--out", tmp_path / "o", "-a", "vertebra", "--preset",
                   "xrayto3d", "--target", "L1", "--split", "patient", "--seed", 5)  # fmt: skip
    assert "is kept as it is (frozen)" in kept.err and read_splits(tmp_path / "o" / "splits.json") == parts


def test_a_published_split_is_read_from_the_users_file(boneray, verse, tmp_path):
    ids = {"train": ["sub-verse004_vert-20", "sub-verse402_split-verse251_vert-20"],
           "test": ["sub-verse402_split-verse252_vert-20", "sub-verse999_vert-1"]}  # fmt: skip
    (tmp_path / "xrayto3d_vertebra_verse19.json").write_text(json.dumps(ids))
    done = boneray("prepare", "xrayto3d-vertebra", "--source", verse, "--out", tmp_path / "o", *SMALL, "--target", "L1",
                   "--split", "xrayto3d_vertebra_verse19", "--split-file", tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    assert "split 'xrayto3d_vertebra_verse19': train 2, validation 0, test 1" in done.err
    assert "holds 2/0/2 ids; the published file holds 1162/233/241" in done.err
    assert "LEAK: 1 patient(s) in test and in training or validation: sub-verse402" in done.err
    assert "1 id(s) of the split have no case here, such as sub-verse999_vert-1" in done.err


def test_what_cannot_be_asked_for_is_said_before_anything_is_written(boneray, verse, tmp_path):
    for arguments, says in (
        (("verse19", "-a", "femur"), "spine"),
        (("nnunet",), "--anatomy"),
        (("verse19", "--preset", "xray3d"), "xrayto3d"),
        (("verse19", "--split", "patients"), "did you mean patient"),
        (("verse19", "--split", "swin-x2s_verse19"), "--split-file"),
        (("verse19", "--exclude", tmp_path / "none.json"), "does not exist"),
    ):
        done = boneray("prepare", *arguments, "--source", verse, "--out", tmp_path / "o")
        assert done.code == 2 and says in done.err, (arguments, done.err)
    done = boneray("prepare", "verse19", "--source", tmp_path / "nothing", "--out", tmp_path / "o")
    assert done.code == 2 and "does not exist" in done.err
    done = boneray("prepare", "ctpelvic1k", "--source", verse, "--out", tmp_path / "o")
    assert done.code == 2 and "datasetN_<id>_mask_4label.nii.gz" in done.err
    assert not (tmp_path / "o").exists()


def test_every_data_set_has_a_command_with_its_own_summary(boneray):
    shown = boneray("prepare", "--help").out
    for name in ("xrayto3d-femur", "swin-x2s-ribseg", "ear-vertebra", "pairs"):
        assert name in shown
    assert boneray("prepare", "ctpelvic1k", "--help").code == 0
