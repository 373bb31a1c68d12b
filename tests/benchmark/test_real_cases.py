"""Real cases beside phantoms: no patient is trained on in the fold that tests it."""

import json
import re
from dataclasses import replace

import pytest

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.run import run_study
from boneray.benchmark.study import DataSet, Study, data_key, made_data, present
from boneray.core.errors import DataError
from boneray.datasets.phantom import phantom_case, write_phantoms
from boneray.datasets.splits import read_splits
from boneray.io.case_folder import case_folders, write_case, write_dataset

PHANTOM = {"anatomy": "femur", "cases": 5, "seed": 3, "voxels": 16, "pixels": 32}


def real_folder(root, *patients, voxels=16, anatomy="femur"):
    """Two cases of each patient; phantoms of another seed stand for real ones."""
    rows = []
    for n, patient in enumerate(patients):
        for half in "ab":
            case = phantom_case(anatomy, seed=90 + n, number=ord(half), voxels=voxels, pixels=32)
            case = replace(case, case_id=f"{patient}-{half}", patient_id=patient, labels_from="manual")
            write_case(root / case.case_id, case)
            rows.append({"case_id": case.case_id, "patient_id": patient, "status": "ok"})
    write_dataset(root, name="real", anatomy=anatomy, licence="CC0-1.0", source={"made": "here"}, cases=rows)
    return root


@pytest.fixture
def joined(tmp_path):
    first, second = real_folder(tmp_path / "first", "anna", "bert"), real_folder(tmp_path / "second", "cleo")
    return DataSet(name="femur", phantom=PHANTOM, validation=1, test=2, real=(first, second))


def test_every_real_patient_is_tested_in_one_fold_and_trained_on_in_the_other(joined, tmp_path):
    folder = made_data(joined, tmp_path)
    plain = read_splits(folder / "splits.json")
    folds = [read_splits(folder / "folds" / f"{k}.json") for k in (1, 2)]
    real = {f"{patient}-{half}" for patient in ("anna", "bert", "cleo") for half in "ab"}
    assert real <= set(plain["test"]) and not real & set(plain["train"])
    for fold in folds:
        assert {name[:4] for name in set(fold["train"]) & real}.isdisjoint(
            {name[:4] for name in set(fold["test"]) & real}
        )
        assert real <= set(fold["train"]) | set(fold["test"])
        assert len(set(fold["train"]) - real) == 2 and len(set(fold["test"]) - real) == 2
    assert sorted([*(set(folds[0]["test"]) & real), *(set(folds[1]["test"]) & real)]) == sorted(real)
    assert set(folds[0]["test"]) - real == set(plain["test"]) - real
    assert len(case_folders(folder)) == 5 + 6


def test_making_them_again_changes_nothing_and_leaving_one_out_does(joined, tmp_path):
    folder = made_data(joined, tmp_path)
    key = data_key(folder)
    assert data_key(made_data(joined, tmp_path)) == key
    fewer = joined.model_copy(update={"real": joined.real[:1]})
    assert data_key(made_data(fewer, tmp_path)) != key
    alone = made_data(joined.model_copy(update={"real": ()}), tmp_path)
    assert len(case_folders(alone)) == 5 and not (alone / "folds").exists()


def test_folders_that_are_not_there_are_named(joined):
    said = []
    study = Study(name="some", data=[joined.model_copy(update={"real": (*joined.real, joined.real[0] / "gone")})])
    assert present(study, said.append).data[0].real == joined.real
    assert len(said) == 1 and "gone of femur" in said[0]


@pytest.mark.parametrize(
    ("made", "words"),
    [({"voxels": 24}, "has grid [24, 24, 24]"), ({"anatomy": "pelvis"}, "has anatomy pelvis"), ({}, "two cases")],
)
def test_what_does_not_fit_is_said(tmp_path, made, words):
    other = real_folder(tmp_path / "other", "dora", **made)
    data = DataSet(name="femur", phantom=PHANTOM, validation=1, test=2, real=(other, other))
    with pytest.raises(DataError, match=re.escape(words)):
        made_data(data, tmp_path)


def test_phantoms_need_no_folder_and_folders_no_real_cases(tmp_path):
    with pytest.raises(ValueError, match="real cases join phantoms"):
        DataSet(name="some", folder=tmp_path, real=(tmp_path,))


def test_a_study_parts_its_scores_by_where_the_labels_come_from(joined, tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
    study = Study(name="some", data=[joined], models=("mean_shape",), folds=(1, 2), groups=("labels_from",))
    done = run_study(study, tmp_path / "out", run_cell=run_cell)
    assert done["failed"] == 0 and done["cells"] == 2
    groups = {row["group"]: row for row in json.loads((tmp_path / "out/benchmark.json").read_text())["groups"]}
    assert {name: row["n_patients"] for name, row in groups.items()} == {"manual": 3, "phantom": 2}


def test_a_phantom_says_where_its_labels_come_from(tmp_path):
    write_phantoms("femur", cases=1, seed=1, out=tmp_path, voxels=16, pixels=16)
    assert json.loads((case_folders(tmp_path)[0] / "case.json").read_text())["labels_from"] == "phantom"
