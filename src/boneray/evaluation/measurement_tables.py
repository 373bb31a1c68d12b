"""Measurements and their errors as tables and files.

measurements.json   of one case {"measurements": [...]}, of a folder {"cases": [...]}
measurements.csv    a row per case, bone and measurement; a failed case is a row with its reason
errors.json         summaries, every difference, landmarks, and cases that only one side has
errors.csv          a row per case and bone: signed and absolute error of every measurement, landmark distances
case_errors.csv     a row per case: mean absolute error of every measurement over the bones
comparison.csv      a row per case, bone and measurement: both values, both statuses, the error
error_summary.csv   a row per measurement (all bones, then each) and landmark
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from boneray.core.errors import InputError
from boneray.evaluation.measurement_errors import Comparison, Difference, summary_rows
from boneray.evaluation.measuring import FAILED, OK, MeasuredCase, measurements_json
from boneray.evaluation.normal_ranges import normal_flag
from boneray.evaluation.tables import Row, write_csv
from boneray.io.files import read_json, write_json
from boneray.morphometry.registry import MEASUREMENTS

MEASUREMENTS_JSON, ERRORS_JSON = "measurements.json", "errors.json"
ERROR_TABLES = ("errors.csv", "case_errors.csv", "comparison.csv", "error_summary.csv")


def cases_json(cases: Sequence[MeasuredCase], *, collection: bool) -> dict[str, Any]:
    """The stable shape of `boneray measure --json`: of one case, or of a folder of them."""
    if not collection:
        return measurements_json(cases[0].measurements)
    return {"cases": [case.to_dict() for case in cases]}


def errors_json(comparison: Comparison) -> dict[str, Any]:
    """Everything a comparison found; the summaries first."""
    return {
        "summary": summary_rows(comparison),
        "differences": comparison_rows(comparison),
        "landmarks": [
            {"case": m.case_id, "bone": m.bone, "landmark": m.name, "mm": m.distance_mm, "missing_in": m.missing_in}
            for m in comparison.landmarks
        ],
        "without_reference": list(comparison.without_reference),
        "without_prediction": list(comparison.without_prediction),
    }


def read_measurements(path: Path) -> tuple[list[MeasuredCase], bool]:
    """The cases of a measurements.json and whether it is that of a folder.

    Raises:
        InputError: it is something else.
    """
    values = read_json(path, "measurements")
    try:
        if "cases" in values:
            return [MeasuredCase.from_dict(case) for case in values["cases"]], True
        return [MeasuredCase.from_dict({"case": path.stem, **values})], False
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path} holds no measurements; give the JSON that `boneray measure` writes") from None


def measurement_rows(cases: Sequence[MeasuredCase], method: str = "") -> list[Row]:
    """One row per case, bone and measurement; a case that failed is one row."""
    normal = {entry.name: str(entry.facts["normal"]) for entry in MEASUREMENTS}
    rows: list[Row] = []
    for case in cases:
        if case.status == FAILED:
            empty = dict.fromkeys(("bone", "side", "measurement", "value", "unit"), "")
            rows.append({"case": case.case_id, "method": method, **empty, "status": FAILED, "reason": case.reason})
        for m in case.measurements:
            words = normal.get(m.name, "")
            rows.append(
                {
                    "case": case.case_id,
                    "method": method,
                    "bone": m.bone,
                    "side": m.side,
                    "measurement": m.name,
                    "value": m.value,
                    "unit": m.unit,
                    "status": m.status,
                    "reason": m.reason,
                    "confidence": m.confidence,
                    "normal_flag": normal_flag(m.value, words, m.bone),
                    "normal": words,
                }
            )
    return rows


def comparison_rows(comparison: Comparison) -> list[Row]:
    """One row per case, bone and measurement with both sides."""
    return [
        {
            "case": d.case_id,
            "bone": d.bone,
            "measurement": d.name,
            "unit": d.unit,
            "reference": d.reference,
            "prediction": d.prediction,
            "error": d.error,
            "abs_error": None if d.error is None else abs(d.error),
            "reference_status": d.reference_status,
            "prediction_status": d.prediction_status,
            "reason": d.reason,
        }
        for d in comparison.differences
    ]


def error_rows(comparison: Comparison, method: str) -> list[Row]:
    """One row per case and bone for `boneray associate`; empty cells where one side has no value."""
    rows: dict[tuple[str, str], Row] = {}
    for d in comparison.differences:
        row = rows.setdefault((d.case_id, d.bone), {"case": d.case_id, "method": method, "bone": d.bone})
        row[f"{d.name}_error"] = d.error
        row[f"{d.name}_abs_error"] = None if d.error is None else abs(d.error)
    for mark in comparison.landmarks:
        row = rows.setdefault((mark.case_id, mark.bone), {"case": mark.case_id, "method": method, "bone": mark.bone})
        row[f"landmark_{mark.name}_mm"] = mark.distance_mm
    return list(rows.values())


def case_error_rows(comparison: Comparison, method: str) -> list[Row]:
    """One row per case: the mean absolute error of each measurement over the bones.

    Empty where the reference has a value for a bone and the prediction has none: a mean over the
    bones that went well would hide it.
    """
    rows: dict[str, Row] = {}
    groups: dict[tuple[str, str], list[Difference]] = {}
    for d in comparison.differences:
        groups.setdefault((d.case_id, d.name), []).append(d)
    for (case_id, name), found in groups.items():
        wanted = [d.error for d in found if d.reference is not None]
        errors = [abs(error) for error in wanted if error is not None]
        row = rows.setdefault(case_id, {"case": case_id, "method": method})
        row[f"{name}_abs_error"] = fmean(errors) if errors and len(errors) == len(wanted) else math.nan
    return list(rows.values())


def write_measurements(out: Path, cases: Sequence[MeasuredCase], *, collection: bool, method: str) -> None:
    """Write measurements.csv, then measurements.json."""
    write_csv(out / "measurements.csv", measurement_rows(cases, method))
    write_json(out / MEASUREMENTS_JSON, cases_json(cases, collection=collection))


def write_errors(out: Path, comparison: Comparison | None, method: str) -> None:
    """Write the tables of the errors, then errors.json; without a comparison remove those of an earlier run."""
    if comparison is None:
        for name in (*ERROR_TABLES, ERRORS_JSON):
            (out / name).unlink(missing_ok=True)
        return
    by_bone, by_case = error_rows(comparison, method), case_error_rows(comparison, method)
    rows = (by_bone, by_case, comparison_rows(comparison), summary_rows(comparison))
    for name, table in zip(ERROR_TABLES, rows, strict=True):
        write_csv(out / name, table)
    write_json(out / ERRORS_JSON, errors_json(comparison))


def failures(cases: Sequence[MeasuredCase]) -> list[str]:
    """A line for every case that failed."""
    return [f"{case.case_id}: {case.reason}" for case in cases if case.status != OK]
