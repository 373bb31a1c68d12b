"""Splits that papers publish, read from the files their authors ship, with what is wrong with them.

The lists themselves are not part of boneray: `--split-file` names a file the user has. Three forms are read: JSON with
lists of ids per part (train, val or validation, test; entries may be ids, paths or objects with a label path), a CSV or
list of them with columns such as index, ap, lat, seg, and the owners' `data_split.txt` of CTSpine1K.

What each published name stands for, and the counts its file must have, is in `PUBLISHED`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from boneray.core.bones import VERTEBRAE
from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.registry import unknown_name
from boneray.datasets.splits import PARTS
from boneray.io.files import require_file
from boneray.io.spreadsheet import read_table

PART_NAMES = {
    "train": "train", "training": "train", "trainset": "train",
    "val": "validation", "validation": "validation", "valid": "validation", "test_public": "validation",
    "test": "test", "testing": "test", "test_private": "test",
}  # fmt: skip
_ENDINGS = re.compile(r"(\.nii(\.gz)?|\.png|\.csv|\.npy|-seg-vert_msk|_msk|_label|_image|-?_?(ap|lat)(?=\.|$))+$")


@dataclass(frozen=True)
class Published:
    """One published split: the data set its ids belong to and how many there are per part."""

    dataset: str
    counts: tuple[int, int, int]
    remark: str = ""


PUBLISHED = {
    "swin-x2s_ctpelvic1k": Published("ctpelvic1k", (656, 215, 221), "holds the 155 scans of MSD-T10"),
    "swin-x2s_ctspine1k": Published("ctspine1k", (601, 197, 198)),
    "swin-x2s_ribseg": Published("ribseg", (320, 50, 120), "490 of the 660 scans of the paper"),
    "swin-x2s_totalsegmentator_all": Published("totalsegmentator", (903, 44, 78)),
    "swin-x2s_totalsegmentator_femur": Published("totalsegmentator", (471, 22, 54)),
    "swin-x2s_totalsegmentator_pelvic": Published("totalsegmentator", (496, 23, 56)),
    "swin-x2s_totalsegmentator_rib": Published("totalsegmentator", (766, 37, 65)),
    "swin-x2s_totalsegmentator_spine": Published("totalsegmentator", (777, 41, 70)),
    "swin-x2s_verse19": Published("verse19", (66, 31, 30)),
    "xrayto3d_femur": Published("totalsegmentator-v1", (670, 120, 140)),
    "xrayto3d_hip": Published("totalsegmentator-v1", (321, 57, 67)),
    "xrayto3d_rib": Published("totalsegmentator-v1", (346, 62, 73)),
    "xrayto3d_vertebra_verse19": Published("verse19", (1162, 233, 241)),
    "xrayto3d_vertebra_verse20": Published("verse20", (708, 157, 164)),
    "xrayto3d_vertebra_rsna": Published("rsna-cervical", (512, 89, 112), "no source says which study rsna-NN is"),
}


def published(name: str) -> Published:
    """What is known of a published split; an unknown name answers with the nearest ones."""
    if name not in PUBLISHED:
        raise ConfigError(unknown_name("published split", name, list(PUBLISHED)))
    return PUBLISHED[name]


def read_published(path: Path) -> dict[str, list[str]]:
    """The ids of a published split file per part, as written in it but for endings and folders.

    Raises:
        InputError: not there, or none of the known forms.
    """
    require_file(path, "published split file")
    if path.suffix.lower() == ".json":
        return _from_json(path)
    if path.suffix.lower() == ".csv":
        return _from_csv(path)
    return _from_sections(path)


def find_split_file(name: str, place: Path) -> Path:
    """The file of a published split: `place` itself, or `<name>.json` or `.csv` in the folder `place`.

    Raises:
        InputError: there is none.
    """
    if place.is_file():
        return place
    for ending in (".json", ".csv", ".txt"):
        if (place / f"{name}{ending}").is_file():
            return place / f"{name}{ending}"
    raise InputError(f"{place} holds no file of split '{name}' ({name}.json or .csv); give the file with --split-file")


def apply_published(
    ids: dict[str, list[str]], cases: dict[str, str]
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """A published split among the cases of a prepared data set.

    Args:
        cases: patient id by case id.
    Returns:
        case ids per part; ids of the split without a case; cases that are in no part.
    """
    known = {_key(case_id): case_id for case_id in cases}
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    lost, used = [], set()
    whole: dict[str, list[str]] = {}
    for case_id, patient in cases.items():
        for key in {_key(case_id.rpartition("-")[0]), _key(patient)}:
            whole.setdefault(key, []).append(case_id)
    for part in PARTS:
        for name in ids.get(part, []):
            found = [known[_key(name)]] if _key(name) in known else whole.get(_key(name), [])
            if not found:
                lost.append(name)
            parts[part] += [case_id for case_id in found if case_id not in used]
            used |= set(found)
    return parts, lost, sorted(set(cases) - used)


def leaks(parts: dict[str, list[str]], patients: dict[str, str] | None = None) -> dict[str, list[str]]:
    """Patients with cases in more than one part, each with the parts; empty if there is none.

    Args:
        patients: patient id by case id; by default it is read from the id.
    """
    where: dict[str, set[str]] = {}
    for part, ids in parts.items():
        for name in ids:
            where.setdefault((patients or {}).get(name) or patient_of(name), set()).add(part)
    return {patient: sorted(found) for patient, found in sorted(where.items()) if len(found) > 1}


def test_leaks(parts: dict[str, list[str]], patients: dict[str, str] | None = None) -> list[str]:
    """Patients with cases in the test part and in any other: what a published test figure must not have seen."""
    return [patient for patient, where in leaks(parts, patients).items() if "test" in where]


def patient_of(name: str) -> str:
    """The patient in a published id: what comes before `_split-`, `_vert-`, `_femur`, `_dir-`, `_ct`."""
    return re.split(r"_(?:split-|vert-|femur|hip|rib|dir-|ct\b|seg)", name)[0]


def check_counts(name: str, parts: dict[str, list[str]]) -> list[str]:
    """What is to be said of a published split: other counts than the published file's, its known faults, its leaks."""
    known = published(name)
    counts = tuple(len(parts.get(part, [])) for part in PARTS)
    notes = [known.remark] if known.remark else []
    if counts != known.counts:
        notes.append(
            f"holds {'/'.join(map(str, counts))} ids; the published file holds {'/'.join(map(str, known.counts))}"
        )
    tested, shared = test_leaks(parts), leaks(parts)
    if tested:
        notes.append(f"LEAK: {len(tested)} patient(s) in test and in training or validation: {', '.join(tested)}")
    others = [patient for patient in shared if patient not in tested]
    if others:
        notes.append(f"{len(others)} patient(s) in training and validation: {', '.join(others)}")
    return notes


def _from_json(path: Path) -> dict[str, list[str]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"published split file {path} is not JSON: {error}") from None
    if isinstance(values, list):
        return {"all": [_id(value) for value in values]}
    if not isinstance(values, dict):
        raise InputError(
            f"published split file {path} holds a {type(values).__name__}; lists of ids per part are needed"
        )
    return {
        PART_NAMES.get(str(part).lower(), str(part)): [_id(value) for value in ids]
        for part, ids in values.items()
        if isinstance(ids, list)
    }


def _from_csv(path: Path) -> dict[str, list[str]]:
    rows = read_table(path, "published split file")
    column = next((c for c in ("seg", "label", "mask", "ap", "id", "image_id", "subject-id") if c in rows[0]), None)
    if column is None:
        raise InputError(f"published split file {path} has columns {', '.join(rows[0])}; a column seg or id is needed")
    part_column = next((c for c in ("split", "part") if c in rows[0]), None)
    parts: dict[str, list[str]] = {}
    for row in rows:
        part = row[part_column] if part_column else path.stem.rpartition("_")[2]
        parts.setdefault(PART_NAMES.get(part.lower(), part), []).append(_id(row[column]))
    return parts


def _from_sections(path: Path) -> dict[str, list[str]]:
    """Lines of ids under headings that end in a colon (`trainset:`)."""
    parts: dict[str, list[str]] = {}
    part = ""
    for line in path.read_text(encoding="utf-8").split():
        if line.endswith(":"):
            part = PART_NAMES.get(line[:-1].lower(), line[:-1])
        elif part:
            parts.setdefault(part, []).append(_id(line))
    if not parts:
        raise InputError(f"published split file {path} has no heading such as `trainset:`")
    return parts


def _id(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in ("label", "seg", "image", "id") if key in value), "")
    return _ENDINGS.sub("", PurePosixPath(str(value)).name)


def _key(name: str) -> str:
    """A published id and a case id agree in this."""
    name = re.sub(r"_vert-(\d+)$", lambda m: f"-{_level(int(m[1]))}", _ENDINGS.sub("", name))
    name = re.sub(r"_ct$|_hip$|_rib$|_image$", "", name)
    name = re.sub(r"_(femur_(?:left|right))$", r"-\1", name)
    return re.sub(r"_dir-[a-z]+|image$", "", name.lower())


def _level(number: int) -> str:
    return VERTEBRAE[number - 1] if 1 <= number <= len(VERTEBRAE) else str(number)


def require_any(parts: dict[str, list[str]], name: str) -> None:
    """Raise DataError if a split has no training case among those prepared."""
    if not parts.get("train"):
        raise DataError(f"split '{name}' names no case of this data set for training; is it the split of another set?")
