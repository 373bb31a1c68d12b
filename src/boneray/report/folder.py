"""`boneray report`: what lies in a reconstruction's folder, gathered into a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boneray.core.bones import bone_name
from boneray.core.case import Case
from boneray.core.errors import DataError, InputError
from boneray.core.measurement import Measurement
from boneray.evaluation.cases import evaluate_case
from boneray.geometry.surface import bone_mesh
from boneray.io.case_folder import case_folders, read_case
from boneray.io.files import read_json, require_new_file
from boneray.morphometry.measure import measure
from boneray.report.content import ReportCase
from boneray.report.page import write_report


def report_folder(folder: Path, *, reference: Path | None = None, out: Path | None = None, force: bool = False) -> Path:
    """Write report.html about one reconstruction, or about every reconstruction in a folder.

    Args:
        folder: what `boneray reconstruct` wrote, or a folder of such folders.
        reference: the true case folder (or a folder of them, matched by name).
        out: the page; `folder`/report.html if None.
    Raises:
        InputError: nothing to report on, or the page exists and `force` is not given.
    """
    page = out or folder / "report.html"
    require_new_file(page, force=force)
    cases = [report_case(path, _reference_for(path, reference)) for path in case_folders(folder)]
    return write_report(page, title=f"boneray report: {folder.resolve().name}", cases=cases)


def report_case(folder: Path, reference: Case | None) -> ReportCase:
    """One reconstruction (or any case folder with labels) with its scores and measurements."""
    case = read_case(folder, with_ct=False)
    if case.labels is None:
        raise DataError(f"{folder} has no labels.nii.gz; reconstruct it first")
    if reference is not None and (reference.anatomy, reference.target) != (case.anatomy, case.target):
        raise DataError(
            f"{folder} shows {case.target or case.anatomy}, the reference {reference.case_id} shows "
            f"{reference.target or reference.anatomy}; give the reference of the same bone"
        )
    run = _run(folder)
    scores = None
    if reference is not None and reference.labels is not None:
        scores = evaluate_case(case.case_id, reference.labels, case.labels).to_dict()
    return ReportCase(
        title=f"{case.case_id} ({case.target or case.anatomy})",
        prediction=case.labels,
        meshes={bone_name(i): bone_mesh(case.labels, i) for i in case.labels.ids},
        radiographs=case.radiographs,
        reference=reference.labels if reference is not None else None,
        scores=scores,
        measurements=tuple(measure(case.labels, case.anatomy)),
        reference_measurements=reference_measurements(reference),
        notes=_notes(run, case),
        run=run,
    )


def reference_measurements(reference: Case | None) -> tuple[Measurement, ...]:
    """The truth known by construction, completed by what is measured on the reference labels."""
    if reference is None or reference.labels is None:
        return ()
    known = {(m.bone, m.name) for m in reference.truth}
    measured = [m for m in measure(reference.labels, reference.anatomy) if (m.bone, m.name) not in known]
    return (*reference.truth, *measured)


def _reference_for(folder: Path, reference: Path | None) -> Case | None:
    if reference is None:
        return None
    if (reference / "case.json").is_file():
        return read_case(reference, with_ct=False)
    path = reference / folder.name
    if not (path / "case.json").is_file():
        raise InputError(f"reference {reference} holds no case {folder.name}")
    return read_case(path, with_ct=False)


def _run(folder: Path) -> dict[str, Any] | None:
    return read_json(folder / "run.json", "run description") if (folder / "run.json").is_file() else None


def _notes(run: dict[str, Any] | None, case: Case) -> tuple[str, ...]:
    found = [(run or {}).get("warnings", []), case.provenance.get("notes", [])]
    return tuple(str(note) for notes in found if isinstance(notes, list) for note in notes)
