"""Real cases beside phantoms in one data set: trained on in every fold but the one that tests their patient.

A few real patients are too few to train on alone and too precious to leave out. The phantoms keep their split; the real
patients are dealt to the folds, and fold k tests those dealt to it and trains on the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from boneray.core.errors import DataError
from boneray.datasets.splits import read_splits, write_splits
from boneray.io.case_folder import case_folders, read_description, write_dataset
from boneray.io.files import read_json


def join_real(folder: Path, sources: Sequence[Path], *, folds: int) -> None:
    """Put the cases of `sources` beside the phantoms of `folder` and write folds/1.json to folds/`folds`.json.

    In the one split without a fold no real case is trained on and all are tested.

    Args:
        folder: a data set with its splits.json.
        sources: folders of case folders on the same working grid, of other patients.
        folds: the n-th real patient, in the order of their names, is tested in fold n modulo `folds`.
    Raises:
        DataError: two cases have one name, or a real case shows another anatomy or has another grid.
    """
    phantom = read_description(case_folders(folder)[0])
    known = {case.name for case in case_folders(folder)}
    patients: dict[str, str] = {}
    for case in (case for source in sources for case in case_folders(source)):
        values = read_description(case)
        if case.name in known | set(patients):
            raise DataError(f"two cases are called {case.name}, the second is {case}; prepare it with another --case")
        for name, of_phantom in (("anatomy", phantom["anatomy"]), ("grid", phantom["grid"]["shape"])):
            of_case = values[name]["shape"] if name == "grid" else values[name]
            if of_case != of_phantom:
                raise DataError(f"real case {case} has {name} {of_case}, the phantoms beside it {of_phantom}")
        patients[case.name] = str(values["patient_id"])
        _linked(case, folder / case.name)
    made = read_json(folder / "dataset.json", "data set")
    rows = [{"case_id": name, "patient_id": patient, "status": "ok"} for name, patient in sorted(patients.items())]
    write_dataset(
        folder, name=made["name"], anatomy=made["anatomy"], licence=made["licence"], source=made["source"],
        cases=made["cases"] + rows,
    )  # fmt: skip
    parts = read_splits(folder / "splits.json")
    write_splits(folder / "splits.json", {**parts, "test": parts["test"] + sorted(patients)}, seed=0)
    turn = {patient: n % folds for n, patient in enumerate(sorted(set(patients.values())))}
    for fold in range(folds):
        tested = sorted(name for name, patient in patients.items() if turn[patient] == fold)
        trained = sorted(set(patients) - set(tested))
        joined = {**parts, "train": parts["train"] + trained, "test": parts["test"] + tested}
        write_splits(folder / "folds" / f"{fold + 1}.json", joined, seed=0)


def _linked(source: Path, target: Path) -> None:
    """The same files under another folder: hard links, or copies on another disk."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copyfile(file, target / file.name)
