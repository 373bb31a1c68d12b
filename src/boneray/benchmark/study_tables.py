"""The tables of a study: every case, every cell, and one line per model with its cost beside its accuracy.

cases.csv          one row per cell and test case, with the conditions and other data sets it was tested on
cells.csv          one row per cell: its status and reason, means over its test cases
models.csv         one row per data set and model: mean over patients, intervals over seeds and patients, coverage, cost
conditions.csv     the same under every condition and on every other data set, and what it costs against the plain test
groups.csv         scores parted by level, deformity, side ...
measurements.csv   every clinical measurement of prediction and reference
measured.csv       their errors by model: mean, mean absolute, how many could be measured
models.md, .tex    for reading, with what was not run and why, and the published rows beside ours
benchmark.json     all of it but time and memory, for `boneray benchmark compare`

Columns of MEASURED are of the machine and its hour; everything else comes out the same every time.
Folds are pooled by patient: a patient counts once for every seed, with the mean over its cases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from boneray.benchmark.cell_run import CASE_VALUES, OK
from boneray.benchmark.printed_rows import printed_rows
from boneray.benchmark.study import Study
from boneray.benchmark.study_text import MEASURED, further_markdown, latex, markdown
from boneray.core.seeds import generator
from boneray.evaluation.groups import Groups
from boneray.evaluation.statistics import bootstrap_interval
from boneray.evaluation.tables import write_csv, write_parquet
from boneray.io.files import write_json, write_text

Row = dict[str, Any]
LEVEL = 0.95
LEAST_PATIENTS = 3


def write_tables(
    out: Path,
    study: Study,
    cells: Sequence[Row],
    costs: dict[tuple[str, str], Row],
    groups: Mapping[tuple[str, str], Groups] | None = None,
) -> list[Row]:
    """Write all tables of the cells that are there; gives the rows of models.csv.

    Args:
        cells: values of cell.json in the order of the study.
        costs: of `step_cost` by data set and model.
        groups: by data set and column.
    """
    models = model_rows(study, cells, costs)
    cases = case_rows(cells)
    tables = {
        "cases": cases,
        "cells": [cell_row(cell) for cell in cells],
        "models": models,
        "conditions": condition_rows(cells),
        "groups": group_rows(cells, groups or {}),
        "measurements": measurement_rows(cells),
        "measured": measured_rows(cells),
        "printed": printed_rows(study, models),
    }
    for name, rows in tables.items():
        if rows or name in ("cases", "cells", "models"):
            write_csv(out / f"{name}.csv", rows)
            write_parquet(out / f"{name}.parquet", [_without_none(row) for row in rows])
    write_text(out / "models.md", markdown(study, models) + further_markdown(tables))
    write_text(out / "models.tex", latex(study, models))
    kept = {name: [_timeless(row) for row in rows] for name, rows in tables.items() if name != "measurements"}
    write_json(out / "benchmark.json", {"schema": "boneray/benchmark/2", "study": study.model_dump(), **kept})
    return models


def case_rows(cells: Sequence[Row]) -> list[Row]:
    """One row per cell, test case and condition; a cell that failed has none."""
    rows = []
    for cell in cells:
        for tested_on, condition, case in _tests(cell):
            where = {"tested_on": tested_on, "condition": condition}
            who = {"case": case["case"], "patient": case.get("patient", case["case"])}
            scores = {name: case[name] for name in CASE_VALUES}
            rows.append(
                {**_identity(cell), **where, **who, **scores, **_absolute_errors(case), **case.get("intensities", {})}
            )
    return rows


def _tests(cell: Row) -> Iterator[tuple[str, str, Row]]:
    """(data set, condition, case) of everything that a cell was tested on; the plain test has no condition."""
    if cell["status"] != OK:
        return
    for case in cell["cases"]:
        yield cell["data_name"], "", case
    for further in cell.get("further", ()):
        for case in further["cases"]:
            yield further["tested_on"], further["condition"], case


def _absolute_errors(case: Row) -> Row:
    """Columns `error_NAME_UNIT`: mean over the bones of the absolute error of each measurement."""
    found: dict[str, list[float]] = {}
    for one in case.get("measurements", ()):
        if one["error"] is not None:
            unit = f"_{one['unit']}" if one["unit"] and not one["name"].endswith(f"_{one['unit']}") else ""
            found.setdefault(f"error_{one['name']}{unit}", []).append(abs(one["error"]))
    return {name: fmean(values) for name, values in sorted(found.items())}


def condition_rows(cells: Sequence[Row]) -> list[Row]:
    """One row per model, data set it was tested on and condition, with the mean difference to the plain test.

    The interval of the difference is over the patients that both tests have; on another data set
    there are none, so there is no difference. What could not be tested has its reason.
    """
    if not any(cell.get("further") for cell in cells):
        return []
    rows: list[Row] = []
    for data, model in dict.fromkeys((cell["data_name"], cell["model"]) for cell in cells):
        mine = [cell for cell in cells if (cell["data_name"], cell["model"]) == (data, model)]
        plain = _by_patient([case for cell in mine for on, how, case in _tests(cell) if (on, how) == (data, "")])
        keys = dict.fromkeys((f["tested_on"], f["condition"]) for cell in mine for f in cell.get("further", ()))
        for tested_on, condition in [(data, ""), *keys]:
            found = [case for cell in mine for on, how, case in _tests(cell) if (on, how) == (tested_on, condition)]
            reasons = dict.fromkeys(
                f["reason"]
                for cell in mine
                for f in cell.get("further", ())
                if (f["tested_on"], f["condition"]) == (tested_on, condition) and f["reason"]
            )
            row = {"data": data, "model": model, "tested_on": tested_on, "condition": condition}
            here = _by_patient(found)
            shared = [patient for patient in here if patient in plain and tested_on == data and condition]
            rows.append(
                {
                    **row,
                    **_mean_of_patients("dice", here, model),
                    **_mean_of_patients("dice_change", {p: here[p] - plain[p] for p in shared}, model),
                    **{name: _mean([c[name] for c in found if c[name] is not None]) for name in CASE_VALUES[1:6]},
                    "n_patients": len(here),
                    "reason": "; ".join(reasons),
                }
            )
    return rows


def group_rows(cells: Sequence[Row], groups: Mapping[tuple[str, str], Groups]) -> list[Row]:
    """One row per model, column and group: Dice of its bones by patient, on the plain test."""
    rows = []
    for (data, column), known in groups.items():
        for model in dict.fromkeys(cell["model"] for cell in cells if cell["data_name"] == data):
            parts: dict[str, list[Row]] = {}
            for cell in cells:
                if (cell["data_name"], cell["model"]) != (data, model) or cell["status"] != OK:
                    continue
                for case in cell["cases"]:
                    for name, bone in case["bones"].items():
                        if bone["status"] != "spurious":
                            of = {"patient": case.get("patient", case["case"]), "dice": bone["dice"]}
                            parts.setdefault(known.group(case["case"], name), []).append(of)
            for group, found in sorted(parts.items()):
                row = {"data": data, "model": model, "by": column, "group": group}
                by_patient = _by_patient(found)
                rows.append({**row, **_mean_of_patients("dice", by_patient, model), "n_patients": len(by_patient)})
    return rows


def measurement_rows(cells: Sequence[Row]) -> list[Row]:
    """One row per cell, case, bone and measurement."""
    return [
        {**_identity(cell), "case": case["case"], **one}
        for cell in cells
        if cell["status"] == OK
        for case in cell["cases"]
        for one in case.get("measurements", ())
    ]


def measured_rows(cells: Sequence[Row]) -> list[Row]:
    """Errors by data set, model and measurement: over all cells, with how many were to be measured."""
    found: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in measurement_rows(cells):
        found.setdefault((row["data"], row["model"], row["name"], row["unit"]), []).append(row)
    rows = []
    for (data, model, name, unit), these in sorted(found.items()):
        errors = [row["error"] for row in these if row["error"] is not None]
        asked = [row for row in these if row["reference_status"] == "ok"]
        both = [row for row in asked if row["prediction_status"] == "ok"]
        rows.append(
            {
                "data": data,
                "model": model,
                "name": name,
                "unit": unit,
                "bias": _mean(errors),
                "mae": _mean([abs(error) for error in errors]),
                "n": len(errors),
                "n_sure": len(both),
                "n_reference": len(asked),
            }
        )
    return rows


def _by_patient(cases: Sequence[Row]) -> dict[str, float]:
    """Mean Dice of each patient over cases, folds and seeds."""
    found: dict[str, list[float]] = {}
    for case in cases:
        found.setdefault(str(case.get("patient", case.get("case"))), []).append(case["dice"])
    return {patient: fmean(values) for patient, values in sorted(found.items())}


def _mean_of_patients(name: str, values: Mapping[str, float], model: str) -> Row:
    """Mean and BCa bootstrap interval over patients; none for fewer than three."""
    numbers = list(values.values())
    out: Row = {name: _mean(numbers), f"{name}_low": None, f"{name}_high": None}
    if len(numbers) >= LEAST_PATIENTS:
        found = bootstrap_interval(numbers, rng=generator(0, "patients", name, model), level=LEVEL)
        if math.isfinite(found.low) and math.isfinite(found.high):
            out |= {f"{name}_low": found.low, f"{name}_high": found.high}
    return out


def _without_none(row: Row) -> Row:
    return {name: "" if value is None else value for name, value in row.items()}


def _timeless(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in MEASURED}


def cell_row(cell: Row) -> Row:
    """Status, reason, means over the test cases and the bones behind them."""
    means = cell_means(cell) if cell["status"] == OK else {}
    measured = {"train_s": cell["measured"]["train_s"]}
    return {**_identity(cell), "status": cell["status"], "reason": cell["reason"], **means, **measured}


def cell_means(cell: Row) -> Row:
    """Means over cases; distances over the cases that have one (`n_present` of `n_reference` bones do)."""
    cases = cell["cases"]
    out: Row = {"n_cases": len(cases)}
    for name in CASE_VALUES:
        if name.startswith("n_"):
            out[name] = sum(case[name] for case in cases)
        else:
            out[name] = _mean([case[name] for case in cases if case[name] is not None])
    return out


def model_rows(study: Study, cells: Sequence[Row], costs: dict[tuple[str, str], Row]) -> list[Row]:
    """One row per data set and model, the best Dice first, then those without a result with the reason."""
    rows: list[Row] = []
    planned = Counter((cell.data, cell.model) for cell in study.cells())
    for data in study.data:
        of_data = []
        for model in [method for of, method in planned if of == data.name]:
            mine = [cell for cell in cells if (cell["data_name"], cell["model"]) == (data.name, model)]
            cost = costs.get((data.name, model), {})
            of_data.append(_model_row(data.name, model, planned[data.name, model], mine, cost))
        rows += sorted(of_data, key=lambda row: (row["dice"] is None, -(row["dice"] or 0.0), row["model"]))
    return rows


def _model_row(data: str, model: str, planned: int, cells: Sequence[Row], cost: Row) -> Row:
    done = [cell_means(cell) for cell in cells if cell["status"] == OK]
    reasons = [cost.get("refused", "")] if cost.get("refused") else []
    reasons += list(dict.fromkeys(cell["reason"] for cell in cells if cell["status"] != OK))
    if not reasons and len(cells) < planned:
        reasons.append("not finished")
    pooled = [_of_seed(cells, seed) for seed in dict.fromkeys(cell["seed"] for cell in cells if cell["status"] == OK)]
    dice = [fmean(_by_patient(cases).values()) for cases in pooled]
    low, high = seed_interval(dice)
    patients = _by_patient([case for cases in pooled for case in cases])
    over_patients = _mean_of_patients("dice", patients, model)
    found, asked = (sum(cell[name] for cell in done) for name in ("n_present", "n_reference"))
    train_s = [cell["measured"]["train_s"] for cell in cells if cell["status"] == OK]
    return {
        "data": data,
        "model": model,
        "status": "ok"
        if len(done) == planned
        else "partly"
        if done
        else "not run"
        if cost.get("refused")
        else "failed",
        "reason": "; ".join(reasons),
        "runs": f"{len(done)} of {planned}",
        "dice": _mean(dice),
        "dice_low": low,
        "dice_high": high,
        "n_patients": len(patients),
        "patients_low": over_patients["dice_low"],
        "patients_high": over_patients["dice_high"],
        **{name: _mean([c[name] for c in done if c[name] is not None]) for name in CASE_VALUES[1:6]},
        **_mean_intensities(cells),
        "n_present": found,
        "n_reference": asked,
        "parameters": cost.get("parameters"),
        "gflop": cost.get("gflop"),
        "step_s": cost.get("step_s"),
        "train_s": _mean(train_s),
        "step_memory_mb": cost.get("step_memory_mb"),
    }


def _mean_intensities(cells: Sequence[Row]) -> Row:
    """Means in HU over cells and cases, of models that predict intensities."""
    cases = [
        case["intensities"] for cell in cells if cell["status"] == OK for case in cell["cases"] if "intensities" in case
    ]
    names = dict.fromkeys(name for case in cases for name in case)
    return {name: _mean([case[name] for case in cases if case.get(name) is not None]) for name in names}


def _of_seed(cells: Sequence[Row], seed: int) -> list[Row]:
    """The test cases of all folds of one seed."""
    return [case for cell in cells if cell["status"] == OK and cell["seed"] == seed for case in cell["cases"]]


def seed_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Student's interval of the mean of few runs; none for a single one."""
    if len(values) < 2:
        return None, None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def _identity(cell: Row) -> Row:
    return {"data": cell["data_name"], "model": cell["model"], "fold": cell["fold"], "seed": cell["seed"]}


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
