"""The split of a prepared data set: one that a paper or the owners publish, or our own by patient, frozen in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.registry import unknown_name
from boneray.datasets.augmentation import with_copies
from boneray.datasets.curation import originals
from boneray.datasets.published_splits import (
    PUBLISHED,
    apply_published,
    check_counts,
    find_split_file,
    leaks,
    read_published,
    require_any,
    test_leaks,
)
from boneray.datasets.registry import DatasetSpec
from boneray.datasets.splits import PARTS, k_fold, read_splits, split_by_patient, write_splits
from boneray.io.case_folder import read_dataset, read_description

STRATIFY = ("subset", "site", "sex", "fracture", "grade")


@dataclass(frozen=True)
class SplitOptions:
    """How a prepared data set is split.

    Attributes:
        name: `patient`, `owner`, `folds`, or a published split.
        file: where the published ids lie: the file, or a folder of such files.
        validation, test: shares of patients for `patient`.
        folds: their number for `folds`.
        stratify: groups whose mix every part shall have; those a case lacks count as one more.
    """

    name: str
    file: Path | None = None
    validation: float = 0.15
    test: float = 0.15
    folds: int = 5
    seed: int = 0
    stratify: tuple[str, ...] = STRATIFY

    def __post_init__(self) -> None:
        own = ("patient", "owner", "folds")
        if self.name not in own and self.name not in PUBLISHED and self.file is None:
            raise ConfigError(unknown_name("split", self.name, [*own, *PUBLISHED]))
        if self.name in PUBLISHED and self.file is None:
            raise ConfigError(f"split '{self.name}' is published elsewhere; give its file with --split-file")
        if not (0 <= self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise ConfigError(f"shares {self.validation:g} and {self.test:g} must be 0 to 1 and leave some to train on")


def write_split(out: Path, options: SplitOptions, spec: DatasetSpec, root: Path, *, force: bool = False) -> list[str]:
    """Write splits.json (or folds/1.json ...) for the accepted cases in `out`; gives what is to be said about it.

    A split that is there is frozen: it is kept, and new cases are in no part of it, unless `force`.

    Raises:
        InputError, DataError: no ids, no cases, or too few patients.
    """
    rows = [row for row in read_dataset(out) if row.get("status") == "ok"]
    patients = {row["case_id"]: row["patient_id"] for row in originals(rows)}
    copy_of = {row["case_id"]: row["copy_of"] for row in rows if row.get("copy_of")}
    if not patients:
        raise DataError(f"{out} holds no accepted case; there is nothing to split")
    file = out / "splits.json"
    if file.is_file() and not force:
        return _kept(file, patients)
    if options.name == "folds":
        made = k_fold(patients, folds=options.folds, seed=options.seed, strata=_strata(out, patients, options))
        for n, parts in enumerate((with_copies(parts, copy_of) for parts in made), start=1):
            write_splits(out / "folds" / f"{n}.json", parts, seed=options.seed, name=f"fold {n} of {options.folds}")
        return [f"{options.folds} folds by patient in {out / 'folds'}"]
    notes: list[str] = []
    if options.name == "patient":
        strata = _strata(out, patients, options)
        shares = {"validation": options.validation, "test": options.test}
        parts = split_by_patient(patients, seed=options.seed, strata=strata, **shares)
    else:
        ids, notes = _given(options, spec, root)
        parts, lost, left = apply_published(ids, patients)
        require_any(parts, options.name)
        notes += _missing(lost, left)
        notes += _leaking(parts, patients)
    parts = with_copies(parts, copy_of)
    write_splits(file, parts, seed=options.seed, name=options.name)
    counts = ", ".join(f"{part} {len(parts[part])}" for part in PARTS)
    return [f"split '{options.name}': {counts}", *notes]


def _given(options: SplitOptions, spec: DatasetSpec, root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Ids per part as owners or papers give them, and remarks."""
    if options.name == "owner":
        if spec.owner_split is None:
            raise InputError("the owners of this data set publish no split; use --split patient")
        return spec.owner_split(root), []
    assert options.file is not None
    ids = read_published(find_split_file(options.name, options.file))
    return ids, check_counts(options.name, ids) if options.name in PUBLISHED else []


def _strata(out: Path, patients: dict[str, str], options: SplitOptions) -> dict[str, str]:
    """What each case is counted under, in one text."""
    return {case_id: _stratum(read_description(out / case_id), options.stratify) for case_id in patients}


def _stratum(description: dict[str, Any], keys: tuple[str, ...]) -> str:
    groups = description.get("groups", {})
    return "|".join(str(groups.get(key, "")) for key in keys)


def _kept(file: Path, patients: dict[str, str]) -> list[str]:
    parts = read_splits(file)
    known = {case_id for part in PARTS for case_id in parts[part]}
    new = sorted(set(patients) - known)
    notes = [f"{file} is kept as it is (frozen); give --force to split anew"]
    return notes + ([f"{len(new)} case(s) are in no part of it, such as {new[0]}"] if new else [])


def _missing(lost: list[str], left: list[str]) -> list[str]:
    notes = []
    if lost:
        notes.append(f"{len(lost)} id(s) of the split have no case here, such as {lost[0]}")
    if left:
        notes.append(f"{len(left)} case(s) are in no part of the split, such as {left[0]}")
    return notes


def _leaking(parts: dict[str, list[str]], patients: dict[str, str]) -> list[str]:
    tested = test_leaks(parts, patients)
    if tested:
        return [f"LEAK: {len(tested)} patient(s) in test and in training or validation: {', '.join(tested)}"]
    shared = leaks(parts, patients)
    return [f"{len(shared)} patient(s) in training and validation: {', '.join(shared)}"] if shared else []
