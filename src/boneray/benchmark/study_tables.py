"""The tables of a study: every case, every cell, and one line per model with its cost beside its accuracy.

cases.csv     one row per cell and test case
cells.csv     one row per cell: its status and reason, means over its test cases
models.csv    one row per data set and model: mean over cases, interval over seeds, coverage, cost
models.md     the same for reading, with what was not run and why

Columns of MEASURED are of the machine and its hour; everything else comes out the same every time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from boneray.benchmark.cell_run import CASE_VALUES, OK
from boneray.benchmark.study import Study, spec_of
from boneray.evaluation.tables import write_csv
from boneray.io.files import write_json, write_text

Row = dict[str, Any]
MEASURED = ("step_s", "train_s", "step_memory_mb")
LEVEL = 0.95
COLUMNS = (
    ("model", "model", ""),
    ("parameters", "parameters", ","),
    ("gflop", "GFLOP", ".2f"),
    ("step_s", "step (s)", ".2f"),
    ("step_memory_mb", "memory (MB)", ",.0f"),
    ("dice", "Dice", ".3f"),
    ("dice_interval", "interval over seeds", ""),
    ("nsd", "NSD", ".3f"),
    ("hd95_mm", "HD95 (mm)", ".1f"),
    ("assd_mm", "ASSD (mm)", ".2f"),
    ("found", "bones found", ""),
    ("seeds", "seeds", ""),
)


def write_tables(out: Path, study: Study, cells: Sequence[Row], costs: dict[tuple[str, str], Row]) -> list[Row]:
    """Write all tables of the cells that are there; gives the rows of models.csv.

    Args:
        cells: values of cell.json in the order of the study.
        costs: of `step_cost` by data set and model.
    """
    models = model_rows(study, cells, costs)
    write_csv(out / "cases.csv", case_rows(cells))
    write_csv(out / "cells.csv", [cell_row(cell) for cell in cells])
    write_csv(out / "models.csv", models)
    write_text(out / "models.md", markdown(study, models))
    write_json(out / "benchmark.json", {"schema": "boneray/benchmark/1", "study": study.model_dump(), "models": models})
    return models


def case_rows(cells: Sequence[Row]) -> list[Row]:
    """One row per cell and test case; a cell that failed has none."""
    return [
        {**_identity(cell), "case": case["case"], **{name: case[name] for name in CASE_VALUES}}
        for cell in cells
        if cell["status"] == OK
        for case in cell["cases"]
    ]


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
    rows = []
    for data in study.data:
        of_data = []
        for model in study.names():
            mine = [cell for cell in cells if (cell["data_name"], cell["model"]) == (data.name, model)]
            cost = costs.get((data.name, model), {})
            of_data.append(_model_row(study, data.name, model, mine, cost))
        rows += sorted(of_data, key=lambda row: (row["dice"] is None, -(row["dice"] or 0.0), row["model"]))
    return rows


def _model_row(study: Study, data: str, model: str, cells: Sequence[Row], cost: Row) -> Row:
    done = [cell_means(cell) for cell in cells if cell["status"] == OK]
    planned = len(study.seeds) if spec_of(model).learns_by_gradient else 1
    planned *= max(1, len(study.folds))
    reasons = [cost.get("refused", "")] if cost.get("refused") else []
    reasons += list(dict.fromkeys(cell["reason"] for cell in cells if cell["status"] != OK))
    if not reasons and len(cells) < planned:
        reasons.append("not finished")
    dice = [cell["dice"] for cell in done]
    low, high = seed_interval(dice)
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
        "seeds": f"{len(done)} of {planned}",
        "dice": _mean(dice),
        "dice_low": low,
        "dice_high": high,
        **{name: _mean([c[name] for c in done if c[name] is not None]) for name in CASE_VALUES[1:6]},
        "n_present": found,
        "n_reference": asked,
        "parameters": cost.get("parameters"),
        "gflop": cost.get("gflop"),
        "step_s": cost.get("step_s"),
        "train_s": _mean(train_s),
        "step_memory_mb": cost.get("step_memory_mb"),
    }


def seed_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Student's interval of the mean of few runs; none for a single one."""
    if len(values) < 2:
        return None, None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def markdown(study: Study, rows: Sequence[Row]) -> str:
    """The table of models for reading."""
    lines = [f"# {study.name}", "", _protocol(study), ""]
    for data in study.data:
        shown = [row for row in rows if row["data"] == data.name and row["dice"] is not None]
        left = [row for row in rows if row["data"] == data.name and row["reason"]]
        if len(study.data) > 1:
            lines += [f"## {data.name}", ""]
        lines += [f"| {' | '.join(title for _, title, _ in COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
        lines += [
            f"| {' | '.join(_text(_for_reading(row), name, form) for name, _, form in COLUMNS)} |" for row in shown
        ]
        if left:
            lines += ["", "| not run, or not every time | why |", "| --- | --- |"]
            lines += [f"| {row['model']} | {row['reason']} |" for row in left]
        lines.append("")
    return "\n".join(lines)


def _protocol(study: Study) -> str:
    seen = "" if study.cases_seen is None else f" Every model sees {study.cases_seen} cases in training."
    step = f" Seconds and memory are of one training step on {study.threads} thread(s)."
    words = (
        "Means over test cases and seeds; the interval is Student's at 95 % over the means of the seeds. "
        "HD95 and ASSD are means over the bones that were found."
    )
    return f"{words}{seen}{step} {study.note}".strip()


def _for_reading(row: Row) -> Row:
    interval = "–" if row["dice_low"] is None else f"{row['dice_low']:.3f} to {row['dice_high']:.3f}"
    return {**row, "dice_interval": interval, "found": f"{row['n_present']} of {row['n_reference']}"}


def _text(row: Row, name: str, form: str) -> str:
    value = row[name]
    return "–" if value is None else format(value, form) if form else str(value)


def _identity(cell: Row) -> Row:
    return {"data": cell["data_name"], "model": cell["model"], "fold": cell["fold"], "seed": cell["seed"]}


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
