"""Many patients in one go: a folder or a CSV in, a folder of reconstructions and a summary out.

A folder holds case folders, or one folder per patient with films that are named by their view (ap.dcm, lat.png, 75.tif)
and, if needed, a cameras.json. A CSV has one row per patient: case_id, a column per view (ap, lat, 75 ...) with files
relative to the CSV, and optionally bone, camera (several parted by ;), sdd_mm, sod_mm, pixel_mm, values, centre_mm
(x y z, or auto). The model is loaded once, patients that are done already are skipped, and one that fails stops nobody.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError, GeometryError, InputError
from boneray.core.views import view_angles
from boneray.io.files import require_file, safe_name, write_json
from boneray.models.card import find_checkpoint
from boneray.reconstruction.answer import PLAIN, Wishes
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.reconstruction.sources import reconstruct_case, reconstruct_files

OTHER_COLUMNS = ("case_id", "bone", "camera", "sdd_mm", "sod_mm", "pixel_mm", "values", "centre_mm")
FILMS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", "")
SUMMARY = "patients.json"
SCHEMA = "boneray/patients/1"


@dataclass(frozen=True)
class Patient:
    """One row: a case folder, or films by view with what else is known of them; empty means not given."""

    case_id: str
    case: Path | None = None
    films: dict[str, Path] = field(default_factory=dict)
    cameras: tuple[Path, ...] = ()
    more: dict[str, str] = field(default_factory=dict)


def is_many(source: Path) -> bool:
    """Whether a path names several patients: a CSV, or a folder that is no case itself."""
    return source.suffix.lower() == ".csv" or (source.is_dir() and not (source / "case.json").is_file())


def patients_of(source: Path) -> list[Patient]:
    """The patients of a folder or CSV, in order.

    Raises:
        InputError: none, a name that cannot be a folder's, two of the same name, an unknown column.
    """
    found = _rows(source) if source.suffix.lower() == ".csv" else _folders(source)
    if not found:
        raise InputError(f"{source} holds no patient: a case folder, or folders with films named ap, lat or an angle")
    seen = set()
    for patient in found:
        safe_name(patient.case_id, "case_id")
        if patient.case_id in seen:
            raise InputError(f"{source}: case_id {patient.case_id} occurs twice")
        seen.add(patient.case_id)
    return found


def reconstruct_many(
    source: Path,
    *,
    checkpoint: str,
    out: Path,
    bone: str = "",
    sdd_mm: float | None = None,
    sod_mm: float | None = None,
    pixel_mm: float | None = None,
    values: str = "auto",
    wishes: Wishes = PLAIN,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    reconstructor: Reconstructor | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[Iterator[Patient]], Iterator[Patient]] = iter,
) -> dict[str, Any]:
    """Reconstruct every patient below `source` into `out`/case_id; returns and writes the summary.

    What is given here counts for patients whose own row does not say it.
    """
    if out.is_file():
        raise InputError(f"output {out} is a file; give a folder")
    patients = patients_of(source)
    find_checkpoint(checkpoint)
    given = {"sdd_mm": sdd_mm, "sod_mm": sod_mm, "pixel_mm": pixel_mm, "values": values}
    rows = []
    for patient in progress(iter(patients)):
        folder = out / patient.case_id
        if (folder / "run.json").is_file() and not force:
            rows.append({"case_id": patient.case_id, "status": "done before"})
            continue
        reconstructor = reconstructor or Reconstructor.load(checkpoint)
        try:
            run = _one(patient, reconstructor, checkpoint, folder, bone, given, wishes, formats, force)
        except (BonerayError, OSError, MemoryError) as error:
            reason = " ".join((str(error) or "this patient needs more memory than there is").split())
            rows.append({"case_id": patient.case_id, "status": "failed", "reason": reason})
            say(f"{patient.case_id}: {reason}")
            continue
        rows.append({"case_id": patient.case_id, "status": "ok", "warnings": run["warnings"]})
    count = {status: sum(row["status"] == status for row in rows) for status in ("ok", "done before", "failed")}
    summary = {
        "schema": SCHEMA,
        "checkpoint": str(checkpoint),
        "patients": len(rows),
        "ok": count["ok"],
        "done_before": count["done before"],
        "failed": count["failed"],
        "cases": rows,
    }
    write_json(out / SUMMARY, summary)
    say(f"{count['ok']} reconstructed, {count['done before']} done before, {count['failed']} failed, in {out}")
    return summary


def _one(
    patient: Patient,
    reconstructor: Reconstructor,
    checkpoint: str,
    folder: Path,
    bone: str,
    given: dict[str, Any],
    wishes: Wishes,
    formats: tuple[str, ...],
    force: bool,
) -> dict[str, Any]:
    bone = patient.more.get("bone") or bone
    shared: dict[str, Any] = {"checkpoint": checkpoint, "out": folder, "bone": bone, "formats": formats}
    shared |= {"force": force, "reconstructor": reconstructor}
    if patient.case is not None:
        return reconstruct_case(patient.case, wishes=wishes, **shared)
    geometry = dict(given)
    for name in ("sdd_mm", "sod_mm", "pixel_mm"):
        if patient.more.get(name):
            geometry[name] = _number(patient, name)
    geometry["values"] = patient.more.get("values") or given["values"]
    place = patient.more.get("centre_mm")
    if place:
        wishes = replace(wishes, centre_mm="auto" if place == "auto" else _point(patient, place))
    return reconstruct_files(
        patient.films, patient.cameras, wishes=wishes, case_id=patient.case_id, **geometry, **shared
    )


def _number(patient: Patient, name: str) -> float:
    try:
        return float(patient.more[name])
    except ValueError:
        raise InputError(f"{name} '{patient.more[name]}' is not a number") from None


def _point(patient: Patient, text: str) -> tuple[float, ...]:
    try:
        point = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        point = ()
    if len(point) != 3:
        raise InputError(f"centre_mm '{text}' must be three numbers, or auto")
    return point


def _folders(root: Path) -> list[Patient]:
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (folder / "case.json").is_file():
            found.append(Patient(folder.name, case=folder))
            continue
        films = {
            path.stem: path
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in FILMS and path.is_file() and _is_view(path.stem)
        }
        if films:
            order = sorted(films, key=lambda view: (view != "ap", view != "lat", view))
            cameras = (folder / "cameras.json",) if (folder / "cameras.json").is_file() else ()
            found.append(Patient(folder.name, films={view: films[view] for view in order}, cameras=cameras))
    return found


def _rows(file: Path) -> list[Patient]:
    require_file(file, "list of patients")
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            columns = [name.strip() for name in reader.fieldnames or []]
            rows = [{(key or "").strip(): (value or "").strip() for key, value in row.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError(f"list of patients {file} is no CSV: {error}") from None
    views = [name for name in columns if name not in OTHER_COLUMNS]
    unknown = [name for name in views if not _is_view(name)]
    if "case_id" not in columns or not views or unknown:
        what = f"column '{unknown[0]}' is unknown" if unknown else "columns case_id and ap or lat are needed"
        raise InputError(f"list of patients {file}: {what}; known are {', '.join(OTHER_COLUMNS)} and views")
    found = []
    for row in rows:
        films = {view: file.parent / row[view] for view in views if row[view]}
        cameras = tuple(file.parent / part.strip() for part in row.get("camera", "").split(";") if part.strip())
        more = {name: row[name] for name in OTHER_COLUMNS[1:] if name != "camera" and row.get(name)}
        found.append(Patient(row["case_id"], films=films, cameras=cameras, more=more))
    return found


def _is_view(name: str) -> bool:
    try:
        view_angles(name)
    except GeometryError:
        return False
    return True
