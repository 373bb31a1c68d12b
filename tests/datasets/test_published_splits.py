"""Published splits: their counts, their leaks by name, their forms; and our own, stratified and frozen."""

import json
from collections import Counter

import pytest

from boneray.core.errors import ConfigError, DataError, InputError
from boneray.datasets.published_splits import (
    PUBLISHED,
    apply_published,
    check_counts,
    find_split_file,
    leaks,
    patient_of,
    published,
    read_published,
)
from boneray.datasets.published_splits import test_leaks as patients_in_test_and_elsewhere
from boneray.datasets.splits import k_fold, read_splits, split_by_patient, write_splits

PARTS = ("train", "validation", "test")


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_files_hold_what_is_stated_of_them(test_data, name):
    parts = read_published(find_split_file(name, test_data / "splits_published"))
    assert tuple(len(parts[part]) for part in PARTS) == published(name).counts
    assert not any("the published file holds" in note for note in check_counts(name, parts))
    # the table in their README, counted by others
    table = (test_data / "splits_published" / "README.md").read_text()
    train, validation, test = published(name).counts
    assert f"| {name} | {{'train': {train}, 'val': {validation}, 'test': {test}}} |" in table


@pytest.mark.data
def test_three_verse19_patients_leak_and_are_named(test_data):
    parts = read_published(test_data / "splits_published" / "xrayto3d_vertebra_verse19.json")
    assert patients_in_test_and_elsewhere(parts) == ["sub-verse402", "sub-verse404", "sub-verse409"]
    said = "; ".join(check_counts("xrayto3d_vertebra_verse19", parts))
    assert "LEAK: 3 patient(s)" in said and "sub-verse402, sub-verse404, sub-verse409" in said
    others = [name for name in PUBLISHED if name != "xrayto3d_vertebra_verse19"]
    read = {name: read_published(find_split_file(name, test_data / "splits_published")) for name in others}
    assert {name: patients_in_test_and_elsewhere(parts) for name, parts in read.items()} == {n: [] for n in others}


@pytest.mark.data
def test_domain_shift_sets_have_their_published_sizes(test_data):
    parts = read_published(test_data / "splits_published" / "xrayto3d_domain_shift.json")
    assert {name.removeprefix("ctpelvic1k_"): len(ids) for name, ids in parts.items()} == {
        "clinic-metal": 14, "abdomen": 35, "clinic": 103, "kits": 44,
    }  # fmt: skip
    assert len(read_published(test_data / "splits_published" / "xrayto3d_hip_unusable.json")["all"]) == 179


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("sub-verse402_split-verse251_vert-20", "sub-verse402"),
        ("sub-verse004_ct", "sub-verse004"),
        ("s0004_femur_left", "s0004"),
        ("s0010_hip", "s0010"),
        ("sub-gl017_vert-1", "sub-gl017"),
        ("1.3.6.1.4.1.9328.50.4.0001", "1.3.6.1.4.1.9328.50.4.0001"),
    ],
)
def test_the_patient_is_in_the_id(name, patient):
    assert patient_of(name) == patient


def test_a_published_split_finds_its_cases():
    cases = {
        "sub-verse004-L1": "sub-verse004",
        "sub-verse004-L2": "sub-verse004",
        "sub-verse402_split-verse251-T12": "sub-verse402",
        "sub-verse500-C3": "sub-verse500",
    }
    ids = {
        "train": ["sub-verse004_vert-20", "sub-verse004_vert-21"],
        "test": ["sub-verse402_split-verse251_vert-19", "sub-verse900_vert-1"],
    }
    parts, lost, left = apply_published(ids, cases)
    assert parts["train"] == ["sub-verse004-L1", "sub-verse004-L2"]
    assert parts["test"] == ["sub-verse402_split-verse251-T12"] and parts["validation"] == []
    assert lost == ["sub-verse900_vert-1"] and left == ["sub-verse500-C3"]
    # a whole scan named once stands for all its bones; other data sets write their ids otherwise
    parts, lost, _ = apply_published({"test": ["sub-verse004_ct"]}, cases)
    assert parts["test"] == ["sub-verse004-L1", "sub-verse004-L2"] and lost == []
    parts, lost, _ = apply_published(
        {"train": ["s0004_femur_left"], "test": ["s0010_hip"]}, {"s0004-femur_left": "s0004", "s0010": "s0010"}
    )
    assert (parts["train"], parts["test"], lost) == (["s0004-femur_left"], ["s0010"], [])
    pelvis = {"colonog-1.3.6.1": "1.3.6.1", "cervix-0507688Image": "0507688Image"}
    parts, lost, _ = apply_published({"train": ["0507688Image"], "test": ["1.3.6.1"]}, pelvis)
    assert (parts["train"], parts["test"], lost) == (["cervix-0507688Image"], ["colonog-1.3.6.1"], [])


def test_split_files_of_every_form_are_read(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps({"training": [{"image": "x/img1.nii.gz", "label": "/srv/y/s0001_label.nii.gz"}], "val": ["s0002"]})
    )
    assert read_published(tmp_path / "a.json") == {"train": ["s0001"], "validation": ["s0002"]}
    (tmp_path / "femur_test.csv").write_text(
        "index,ap,lat,seg\n0,/a/s0001_femur_left-ap.png,/a/s0001_femur_left-lat.png,/a/s0001_femur_left_msk.nii.gz\n"
    )
    assert read_published(tmp_path / "femur_test.csv") == {"test": ["s0001_femur_left"]}
    (tmp_path / "data_split.txt").write_text(
        "trainset:\nliver_1.nii.gz\nliver_2.nii.gz\ntest_private:\nHN_P003.nii.gz\n"
    )
    assert read_published(tmp_path / "data_split.txt") == {"train": ["liver_1", "liver_2"], "test": ["HN_P003"]}
    for bad, content in {"b.json": "no", "c.csv": "x,y\n1,2\n", "d.txt": "liver_1"}.items():
        (tmp_path / bad).write_text(content)
        with pytest.raises(InputError, match=bad.replace(".", r"\.")):
            read_published(tmp_path / bad)
    with pytest.raises(ConfigError, match="swin-x2s_verse19"):
        published("swin-x2s_verse20")
    with pytest.raises(InputError, match="--split-file"):
        find_split_file("xrayto3d_rib", tmp_path)


def test_leaks_are_found_by_patient():
    parts = {"train": ["a1", "b1"], "validation": ["b2"], "test": ["a2", "c1"]}
    patients = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}
    assert leaks(parts, patients) == {"a": ["test", "train"], "b": ["train", "validation"]}
    assert patients_in_test_and_elsewhere(parts, patients) == ["a"]


def test_our_split_keeps_patients_together_and_strata_in_proportion(tmp_path):
    """120 patients of two scans, a third of them of site B: every part must hold a third of site B."""
    patients = {f"p{n:03d}-{k}": f"p{n:03d}" for n in range(120) for k in range(2)}
    strata = {case: "B" if int(case[1:4]) % 3 == 0 else "A" for case in patients}
    parts = split_by_patient(patients, seed=1, validation=0.2, test=0.1, strata=strata)
    assert leaks(parts, patients) == {}
    for part, size in (("train", 84), ("validation", 24), ("test", 12)):
        owners = {patients[case] for case in parts[part]}
        assert len(owners) == size and len(parts[part]) == 2 * size
        share = sum(strata[f"{p}-0"] == "B" for p in owners) / size
        assert abs(share - 1 / 3) <= 1 / size
    file = write_splits(tmp_path / "splits.json", parts, seed=1, name="patient")
    assert read_splits(file) == parts
    values = json.loads(file.read_text())
    assert values["name"] == "patient" and len(values["sha256"]) == 64
    values["test"], values["train"] = values["train"], values["test"]
    file.write_text(json.dumps(values))
    with pytest.raises(DataError, match="edited"):
        read_splits(file)


def test_every_patient_is_tested_in_one_fold():
    patients = {f"c{n}": f"p{n // 2}" for n in range(46)}  # 23 patients
    strata = {case: str(int(case[1:]) % 4 < 2) for case in patients}
    folds = k_fold(patients, folds=5, seed=3, strata=strata)
    tested = Counter(patients[case] for fold in folds for case in fold["test"])
    assert len(folds) == 5 and set(tested) == set(patients.values()) and set(tested.values()) == {2}
    for fold in folds:
        assert sorted(fold["train"] + fold["validation"] + fold["test"]) == sorted(patients)
        assert leaks(fold, patients) == {} and len({patients[c] for c in fold["test"]}) in (4, 5)
    with pytest.raises(DataError, match="24 folds"):
        k_fold(patients, folds=24, seed=0)
