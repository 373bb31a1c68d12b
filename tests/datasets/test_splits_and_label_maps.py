"""Splits by patient that cannot be edited unseen; label numbers of public data sets."""

import json

import pytest

from boneray.core.errors import BonerayError, ConfigError, DataError
from boneray.datasets.label_maps import label_map, map_from_names
from boneray.datasets.splits import read_splits, split_by_patient, write_splits

PATIENTS = {f"case{i}": f"patient{i // 3}" for i in range(60)}


def test_a_patient_is_in_one_part_only_and_every_case_in_one():
    parts = split_by_patient(PATIENTS, seed=3, validation=0.2, test=0.1)
    where = {}
    for part, cases in parts.items():
        for case in cases:
            assert where.setdefault(PATIENTS[case], part) == part
    assert sorted(c for cases in parts.values() for c in cases) == sorted(PATIENTS)
    assert [len(parts[p]) for p in ("train", "validation", "test")] == [42, 12, 6]
    assert split_by_patient(PATIENTS, seed=3, validation=0.2, test=0.1) == parts
    assert split_by_patient(PATIENTS, seed=4, validation=0.2, test=0.1) != parts


def test_one_patient_cannot_be_split():
    with pytest.raises(DataError, match="too few"):
        split_by_patient({"a": "p", "b": "p"}, seed=0)


def test_a_split_file_that_was_edited_is_refused(tmp_path):
    parts = split_by_patient(PATIENTS, seed=0)
    file = write_splits(tmp_path / "splits.json", parts, seed=0)
    assert read_splits(file) == parts
    values = json.loads(file.read_text())
    values["train"].append(values["validation"].pop())
    file.write_text(json.dumps(values))
    with pytest.raises(DataError, match="edited"):
        read_splits(file)
    values["validation"].append(values["train"][0])
    file.write_text(json.dumps(values))
    with pytest.raises(DataError, match="two parts"):
        read_splits(file)


def test_totalsegmentator_numbers_its_spine_upwards():
    names = label_map("totalsegmentator")
    assert (names[27], names[31], names[32], names[50]) == ("L5", "L1", "T12", "C1")
    assert (names[75], names[77], names[92], names[103], names[104]) == (
        "femur_left",
        "hip_left",
        "rib_left_1",
        "rib_left_12",
        "rib_right_1",
    )


def test_label_maps_from_text_and_from_names():
    assert label_map("1=sacrum, 7=L3") == {1: "sacrum", 7: "L3"}
    assert map_from_names({"background": 0, "Left Hip": 4, "vertebrae_L1": 9, "kidney": 5}) == {4: "hip_left", 9: "L1"}
    with pytest.raises(ConfigError, match="totalsegmentator"):
        label_map("totalsegmentater")
    for bad in ("x=sacrum", "1=sacrumm"):
        with pytest.raises(BonerayError):
            label_map(bad)
