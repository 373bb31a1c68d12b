"""The case folder: the one on-disk form of a patient's data that every command knows.

case.json       ids, cameras, scales, provenance, licence, truth (schema in docs/case-folder.md)
labels.nii.gz   reference (or predicted) bones, ids of the table of bones
ct.nii.gz       optional, HU
ap.png ...      one 16-bit picture per view; grey * scale = line integrals
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.bones import bone_name
from boneray.core.camera import Camera
from boneray.core.case import Case
from boneray.core.errors import DataError, InputError
from boneray.core.measurement import Landmark, Measurement
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.io.cameras import view_entry
from boneray.io.files import inside, read_json, require_folder, write_json
from boneray.io.images import read_picture, write_picture
from boneray.io.nifti import read_labels, read_volume, write_labels, write_volume

SCHEMA = "boneray/case/1"
DATASET_SCHEMA = "boneray/dataset/1"
ENTRIES = {
    "case_id": str,
    "patient_id": str,
    "anatomy": str,
    "target": str,
    "licence": str,
    "provenance": dict,
    "views": list,
    "bones": dict,
    "has_labels": bool,
    "has_ct": bool,
    "grid": dict | None,
}


def write_case(folder: Path, case: Case) -> Path:
    """Write a case; `case.json` comes last, so a folder with it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    views = []
    for name, radiograph in case.radiographs.items():
        file = f"{name}.png"
        scale = write_picture(inside(folder, file), radiograph.line_integrals)
        views.append(view_entry(name, file, scale if radiograph.scaled else None, radiograph.camera))
    if case.labels is not None:
        write_labels(folder / "labels.nii.gz", case.labels)
    if case.ct is not None:
        write_volume(folder / "ct.nii.gz", case.ct)
    values = {
        "schema": SCHEMA,
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "anatomy": case.anatomy,
        "target": case.target,
        "frame": "RAS+ mm",
        "grid": case.labels.grid.to_dict() if case.labels is not None else None,
        "bones": {str(i): bone_name(i) for i in (case.labels.ids if case.labels is not None else ())},
        "views": views,
        "has_labels": case.labels is not None,
        "has_ct": case.ct is not None,
        "licence": case.licence,
        "labels_from": case.labels_from,
        "groups": case.groups,
        "label_voxels": _counts(case.labels),
        "provenance": case.provenance,
        "truth": [m.to_dict() for m in case.truth],
        "landmarks": {m.name: list(m.point_mm) for m in case.landmarks},
    }
    return write_json(folder / "case.json", values)


def read_case(folder: Path, *, with_ct: bool = True) -> Case:
    """The case in `folder`.

    Raises:
        InputError: no case there, or one of its files is missing or damaged.
        DataError: written by an unknown schema, or its parts contradict each other.
    """
    require_folder(folder, "case folder")
    values = read_description(folder)
    try:
        labels = read_labels(folder / "labels.nii.gz") if values["has_labels"] else None
        ct = read_volume(folder / "ct.nii.gz", "CT") if values["has_ct"] and with_ct else None
        radiographs = {view["name"]: _read_view(folder, view) for view in values["views"]}
        return Case(
            case_id=values["case_id"],
            patient_id=values["patient_id"],
            anatomy=values["anatomy"],
            target=values["target"],
            labels=labels,
            ct=ct,
            radiographs=radiographs,
            provenance=values["provenance"],
            licence=values["licence"],
            truth=tuple(Measurement.from_dict(m) for m in values.get("truth", [])),
            landmarks=tuple(Landmark(name, tuple(p)) for name, p in values.get("landmarks", {}).items()),
            groups=dict(values.get("groups", {})),
            labels_from=str(values.get("labels_from", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{folder}/case.json lacks or misuses {error}; see docs/case-folder.md") from None


def read_description(folder: Path) -> dict[str, Any]:
    """case.json as it is, its schema and the types of its main entries checked.

    Raises:
        InputError: not there or no JSON; DataError: another schema, or an entry of the wrong type.
    """
    values = read_json(folder / "case.json", "case file")
    if values.get("schema") != SCHEMA:
        raise DataError(f"{folder}/case.json has schema {values.get('schema')!r}; this boneray reads {SCHEMA!r}")
    for key, kind in ENTRIES.items():
        if not isinstance(values.get(key), kind):
            raise DataError(f"{folder}/case.json: {key} is {values.get(key)!r}; see docs/case-folder.md")
    return values


def case_folders(root: Path) -> list[Path]:
    """The complete case folders below `root` (or `root` itself), sorted by name.

    Where there is a dataset.json, those it lists.

    Raises:
        InputError: there is none; DataError: a listed one is missing.
    """
    require_folder(root, "data folder")
    if (root / "case.json").is_file():
        return [root]
    folders = sorted(path.parent for path in root.glob("*/case.json"))
    if (root / "dataset.json").is_file():
        listed = {row["case_id"] for row in read_dataset(root) if row.get("status") == "ok"}
        lost = sorted(listed - {folder.name for folder in folders})
        if lost:
            raise DataError(f"{root}/dataset.json lists case {lost[0]}, which is not there; prepare it again")
        folders = [folder for folder in folders if folder.name in listed]
    if not folders:
        raise InputError(
            f"data folder {root} holds no case (a folder with case.json); make some with `boneray prepare`"
        )
    return folders


def write_dataset(
    root: Path, *, name: str, anatomy: str, licence: str, source: dict[str, Any], cases: list[dict[str, Any]]
) -> Path:
    """Write dataset.json: what the folder of case folders holds (case_id, patient_id, status per case)."""
    values = {
        "schema": DATASET_SCHEMA,
        "name": name,
        "anatomy": anatomy,
        "licence": licence,
        "source": source,
        "cases": cases,
    }
    return write_json(root / "dataset.json", values)


def made_from(root: Path, source: dict[str, Any]) -> bool:
    """True if `root` holds a data set made from exactly this source, so that work can go on in it."""
    if not (root / "dataset.json").is_file():
        return False
    return bool(read_json(root / "dataset.json", "data set").get("source") == source)


def read_dataset(root: Path) -> list[dict[str, Any]]:
    """The rows of dataset.json: case_id, patient_id, status and, for rejected ones, the reason."""
    rows = read_json(root / "dataset.json", "data set").get("cases")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "case_id" in row for row in rows):
        raise DataError(f'{root}/dataset.json has no list of "cases"')
    return rows


def _counts(labels: LabelMap | None) -> dict[str, int]:
    """Voxels by bone, so that a data set can be looked through without its label maps."""
    if labels is None:
        return {}
    ids, counts = np.unique(labels.data, return_counts=True)
    return {bone_name(int(i)): int(n) for i, n in zip(ids, counts, strict=True) if i != 0}


def _read_view(folder: Path, view: dict[str, Any]) -> Radiograph:
    grey = read_picture(inside(folder, view["file"]))
    scale = view["line_integral_per_grey"]
    if scale is not None and not (isinstance(scale, int | float) and 0 < scale < float("inf")):
        raise DataError(f"{folder}/case.json: line_integral_per_grey {scale!r} must be a positive number or null")
    camera = Camera.from_dict(view["camera"])
    return Radiograph(np.float32(scale or 1.0) * grey, camera, scaled=scale is not None)
