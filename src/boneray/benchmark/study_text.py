"""The tables of a study as text: Markdown for reading and for the page, LaTeX for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boneray.benchmark.study import Study

Row = dict[str, Any]
MEASURED = ("step_s", "train_s", "step_memory_mb")
COLUMNS = (
    ("model", "model", ""),
    ("parameters", "parameters", ","),
    ("gflop", "GFLOP", ".2f"),
    ("step_s", "step (s)", ".2f"),
    ("step_memory_mb", "memory (MB)", ",.0f"),
    ("dice", "Dice", ".3f"),
    ("dice_interval", "interval over seeds", ""),
    ("patient_interval", "interval over patients", ""),
    ("nsd", "NSD", ".3f"),
    ("hd95_mm", "HD95 (mm)", ".1f"),
    ("assd_mm", "ASSD (mm)", ".2f"),
    ("found", "bones found", ""),
    ("runs", "runs", ""),
)


def markdown(study: Study, rows: Sequence[Row]) -> str:
    """The table of models for reading."""
    lines = [f"# {study.name}", "", _protocol(study), ""]
    for data in study.trained_on():
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


def further_markdown(tables: Mapping[str, Sequence[Row]]) -> str:
    """The tables of conditions, groups, measurements and published rows, where there are any."""
    lines = _groups(tables["groups"])
    shown = (
        (
            "conditions",
            "Under other conditions and on other data",
            ("data", "model", "tested_on", "condition", "dice", "dice_low", "dice_high", "dice_change",
             "dice_change_low", "dice_change_high", "hd95_mm", "n_patients", "reason"),
        ),
        ("measured", "Errors of measurements",
         ("data", "model", "name", "unit", "bias", "mae", "n", "n_sure", "n_reference")),
        ("printed", "Published beside ours",
         ("paper", "table", "data", "model", "condition", "metric", "printed", "ours", "comparable", "why")),
    )  # fmt: skip
    for name, title, columns in shown:
        if tables[name]:
            lines += ["", f"## {title}", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
            lines += [f"| {' | '.join(_short(row[column]) for column in columns)} |" for row in tables[name]]
    return "\n".join(lines) + "\n" if lines else ""


def _groups(rows: Sequence[Row]) -> list[str]:
    """Dice with its interval over patients: one table per data set and column, groups as lines, methods as columns."""
    lines = []
    for data, by in dict.fromkeys((row["data"], row["by"]) for row in rows):
        mine = {(row["group"], row["model"]): row for row in rows if (row["data"], row["by"]) == (data, by)}
        models = list(dict.fromkeys(model for _, model in mine))
        lines += ["", f"## {data}, Dice by {by}", ""]
        lines += [f"| {by} | patients | {' | '.join(models)} |", "| --- " * (2 + len(models)) + "|"]
        for group in dict.fromkeys(group for group, _ in mine):
            line = [mine.get((group, model)) for model in models]
            patients = max(row["n_patients"] for row in line if row)
            lines.append(f"| {group} | {patients} | {' | '.join(_dice(row) for row in line)} |")
    return lines


def _dice(row: Row | None) -> str:
    if row is None or row["dice"] is None:
        return "–"
    span = "" if row["dice_low"] is None else f" ({row['dice_low']:.2f} to {row['dice_high']:.2f})"
    return f"{row['dice']:.3f}{span}"


def _short(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def latex(study: Study, rows: Sequence[Row]) -> str:
    """The table of models as LaTeX, one `tabular` per data set, rules of booktabs; without time and memory."""
    columns = [column for column in COLUMNS if column[0] not in MEASURED]
    lines = []
    for data in study.trained_on():
        lines += [f"% {study.name}: {data.name}", f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", "\\toprule"]
        lines += [" & ".join(_tex(title) for _, title, _ in columns) + " \\\\", "\\midrule"]
        for row in rows:
            if row["data"] == data.name and row["dice"] is not None:
                cells = (_tex(_text(_for_reading(row), name, form)) for name, _, form in columns)
                lines.append(" & ".join(cells) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines)


def _tex(text: str) -> str:
    for plain, safe in (("_", "\\_"), ("%", "\\%"), ("&", "\\&"), ("#", "\\#"), ("–", "--")):
        text = text.replace(plain, safe)
    return text


def _protocol(study: Study) -> str:
    seen = "" if study.cases_seen is None else f" Every model sees {study.cases_seen} cases in training."
    step = f" Seconds and memory are of one training step on {study.threads} thread(s)."
    words = (
        "Means over patients and seeds; the intervals are at 95 %: Student's over the means of the seeds, and the "
        "bootstrap's over the patients. "
        "HD95 and ASSD are means over the bones that were found."
    )
    return f"{words}{seen}{step} {study.note}".strip()


def _for_reading(row: Row) -> Row:
    found = f"{row['n_present']} of {row['n_reference']}"
    over_seeds, over_patients = (_span(row[f"{name}_low"], row[f"{name}_high"]) for name in ("dice", "patients"))
    return {**row, "dice_interval": over_seeds, "patient_interval": over_patients, "found": found}


def _span(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{low:.3f} to {high:.3f}"


def _text(row: Row, name: str, form: str) -> str:
    value = row[name]
    return "–" if value is None else format(value, form) if form else str(value)
