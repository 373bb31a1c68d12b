"""Splits by patient, frozen in a file."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from boneray.core.errors import DataError
from boneray.core.seeds import generator
from boneray.io.files import json_text, read_json, write_json

SCHEMA = "boneray/splits/1"
PARTS = ("train", "validation", "test")


def split_by_patient(
    patients: dict[str, str],
    *,
    seed: int,
    validation: float = 0.15,
    test: float = 0.0,
    strata: dict[str, str] | None = None,
) -> dict[str, list[str]]:
    """Case ids per part; all cases of a patient share a part.

    Args:
        patients: patient id by case id.
        validation, test: shares of patients; each part asked for gets at least one.
        strata: what a case is counted under, by case id; the parts then hold patients of every
            stratum (a patient's commonest, the first of equals) in about the same shares.
    Raises:
        DataError: fewer patients than parts.
    """
    unique = sorted(set(patients.values()))
    counts = [max(1, round(share * len(unique))) if share > 0 else 0 for share in (validation, test)]
    if len(unique) <= sum(counts):
        raise DataError(
            f"{len(unique)} patient(s) are too few for a training part and {sum(c > 0 for c in counts)} held-out "
            "part(s); add patients, or train and validate on the same cases with --set overfit=true"
        )
    order = [unique[i] for i in generator(seed, "split").permutation(len(unique))]
    if strata:
        order = _spread(order, _patient_strata(patients, strata))
    held = dict.fromkeys(order[: counts[0]], "validation") | dict.fromkeys(order[counts[0] : sum(counts)], "test")
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for case_id in sorted(patients):
        parts[held.get(patients[case_id], "train")].append(case_id)
    return parts


def k_fold(
    patients: dict[str, str], *, folds: int, seed: int, strata: dict[str, str] | None = None
) -> list[dict[str, list[str]]]:
    """`folds` splits by patient; every patient is tested in exactly one of them.

    The validation part of a fold is the test part of the next one, so that no choice is made on test cases.

    Raises:
        DataError: fewer patients than folds, or fewer than three folds.
    """
    unique = sorted(set(patients.values()))
    if not 3 <= folds <= len(unique):
        raise DataError(f"{folds} folds of {len(unique)} patient(s); folds must be 3 to the number of patients")
    order = [unique[i] for i in generator(seed, "folds").permutation(len(unique))]
    if strata:
        order = _spread(order, _patient_strata(patients, strata))
    fold_of = {patient: n * folds // len(order) for n, patient in enumerate(order)}
    out = []
    for test in range(folds):
        parts: dict[str, list[str]] = {part: [] for part in PARTS}
        for case_id in sorted(patients):
            fold = fold_of[patients[case_id]]
            part = "test" if fold == test else "validation" if fold == (test + 1) % folds else "train"
            parts[part].append(case_id)
        out.append(parts)
    return out


def _patient_strata(patients: dict[str, str], strata: dict[str, str]) -> dict[str, str]:
    counts: dict[str, Counter[str]] = {}
    for case_id in sorted(patients):
        counts.setdefault(patients[case_id], Counter())[strata.get(case_id, "")] += 1
    return {patient: min(found, key=lambda name: (-found[name], name)) for patient, found in counts.items()}


def _spread(order: list[str], stratum: dict[str, str]) -> list[str]:
    """The same patients so that every run of them holds the strata in about their shares.

    The n-th of m patients of a stratum goes to place (n + 1/2) / m of the whole.
    """
    members: dict[str, list[str]] = {}
    for patient in order:
        members.setdefault(stratum[patient], []).append(patient)
    places = [
        ((n + 0.5) / len(found), name, patient) for name, found in members.items() for n, patient in enumerate(found)
    ]
    return [patient for _, _, patient in sorted(places)]


def write_splits(path: Path, parts: dict[str, list[str]], *, seed: int, name: str = "") -> Path:
    """Write the parts with their hash, and what the split is called."""
    called = {"name": name} if name else {}
    return write_json(path, {"schema": SCHEMA, **called, "seed": seed, "sha256": split_hash(parts), **parts})


def read_splits(path: Path, *, shared: bool = False) -> dict[str, list[str]]:
    """The parts in a split file; its hash must agree. `shared`: parts may have cases in common.

    Raises:
        DataError: unknown schema, an edited part, or a case in two parts.
    """
    values = read_json(path, "split file")
    if values.get("schema") != SCHEMA:
        raise DataError(f"split file {path} has schema {values.get('schema')!r}; {SCHEMA!r} is needed")
    parts = {part: [str(c) for c in values.get(part, [])] for part in PARTS}
    cases = [c for part in PARTS for c in parts[part]]
    if not shared and len(cases) != len(set(cases)):
        raise DataError(f"split file {path} has a case in two parts; every case belongs to one")
    if values.get("sha256") != split_hash(parts):
        raise DataError(f"split file {path} was edited by hand: its SHA-256 does not fit; write it anew")
    return parts


def split_hash(parts: dict[str, list[str]]) -> str:
    """SHA-256 of the parts, recorded with every run."""
    return hashlib.sha256(json_text({part: sorted(parts[part]) for part in PARTS}).encode()).hexdigest()
