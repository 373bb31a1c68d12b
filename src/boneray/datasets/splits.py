"""Splits by patient, frozen in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from boneray.core.errors import DataError
from boneray.core.seeds import generator
from boneray.io.files import json_text, read_json, write_json

SCHEMA = "boneray/splits/1"
PARTS = ("train", "validation", "test")


def split_by_patient(
    patients: dict[str, str], *, seed: int, validation: float = 0.15, test: float = 0.0
) -> dict[str, list[str]]:
    """Case ids per part; all cases of a patient share a part.

    Args:
        patients: patient id by case id.
        validation, test: shares of patients; each part asked for gets at least one.
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
    held = dict.fromkeys(order[: counts[0]], "validation") | dict.fromkeys(order[counts[0] : sum(counts)], "test")
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for case_id in sorted(patients):
        parts[held.get(patients[case_id], "train")].append(case_id)
    return parts


def write_splits(path: Path, parts: dict[str, list[str]], *, seed: int) -> Path:
    """Write the parts with their hash."""
    return write_json(path, {"schema": SCHEMA, "seed": seed, "sha256": split_hash(parts), **parts})


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
