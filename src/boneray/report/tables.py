"""The tables of a report as rows of text: errors per bone, measurements, run facts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from boneray.core.measurement import Measurement
from boneray.io.files import json_text
from boneray.report.content import ReportCase, ReportTable

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
UNITS = {"mm": "mm", "mm2": "mm²", "mm3": "mm³", "deg": "°"}
METRIC_NAMES = {"dice": "Dice", "iou": "IoU", "hd": "HD", "hd95": "HD95", "assd": "ASSD", "asd": "ASD", "nsd": "NSD"}


@dataclass(frozen=True)
class Cell:
    """Text of one table cell; `kind` is text, number or problem."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table ready to be set; `foot` rows stand below a line."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    note: str = ""


def readable(name: str) -> str:
    """A name of ours in words: `femur_left` becomes `femur left`."""
    return name.replace("_", " ")


def number_text(value: object, digits: int) -> str:
    """A number with fixed digits and thin thousands; nothing, NaN and infinity have signs of their own."""
    if value is None or isinstance(value, bool | str):
        return NOTHING if value is None else str(value)
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number):
        return NOTHING
    if math.isinf(number):
        return "∞" if number > 0 else f"{MINUS}∞"
    return f"{number:,.{digits}f}".replace(",", THIN_SPACE).replace("-", MINUS)


def summary_table(table: ReportTable) -> Table:
    """A summary table as given, values formatted."""
    rows = tuple(tuple(_free_cell(value) for value in row) for row in table.rows)
    return Table(table.title, tuple(table.columns), rows, note=table.note)


def score_table(case: ReportCase) -> Table | None:
    """Errors of every bone with the mean below; None when the case was not compared with a reference."""
    if not case.scores:
        return None
    bones: dict[str, dict[str, Any]] = {name: row or {} for name, row in (case.scores.get("bones") or {}).items()}
    mean = case.scores.get("mean") or {}
    metrics = _metrics(list(bones.values()))
    columns = ("bone", *(metric_title(name) for name in metrics), "status")
    rows = tuple(_score_row(name, row, metrics) for name, row in bones.items())
    foot = (_score_row("mean", mean, metrics),) if mean else ()
    return Table("Errors against the reference", columns, rows, foot, _score_note(metrics))


def metric_title(name: str) -> str:
    """Heading of a metric: `hd95_mm` becomes `HD95 (mm)`, `nsd_2.0mm` becomes `NSD at 2.0 mm`."""
    stem, _, tail = name.partition("_")
    title = METRIC_NAMES.get(stem, stem)
    if tail in UNITS:
        return f"{title} ({UNITS[tail]})"
    if tail.endswith("_mm"):
        return f"{title} {readable(tail.removesuffix('_mm'))} (mm)"
    if tail.endswith("mm"):
        return f"{title} at {tail.removesuffix('mm')} mm"
    return f"{title} {readable(tail)}".strip()


def measurement_table(case: ReportCase) -> Table | None:
    """Measurements of the reconstruction beside those of the reference; None when nothing was measured."""
    predicted = {(m.bone, m.name): m for m in case.measurements}
    reference = {(m.bone, m.name): m for m in case.reference_measurements}
    keys = list(dict.fromkeys([*predicted, *reference]))
    if not keys:
        return None
    compared = bool(reference)
    columns = ("bone", "measurement", "value", *(("reference", "difference") if compared else ()), "unit", "status")
    rows = tuple(_measurement_row(predicted.get(key), reference.get(key), compared=compared) for key in keys)
    return Table("Measurements", columns, rows)


def run_table(run: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """(name, text) of every fact of a run; nested facts as JSON."""
    facts = run or {}
    return tuple(
        (readable(str(key)), value if isinstance(value, str) else json_text(value).strip())
        for key, value in facts.items()
    )


def _metrics(rows: list[dict[str, Any]]) -> list[str]:
    """Metrics worth a column: numbers, without IoU (Dice says the same) and volumes (measurements say them)."""
    seen = dict.fromkeys(name for row in rows for name in row if name != "iou" and not name.endswith("_mm3"))
    return [name for name in seen if not any(isinstance(row.get(name), str | dict | list) for row in rows)]


def _score_row(name: str, row: dict[str, Any], metrics: list[str]) -> tuple[Cell, ...]:
    numbers = (Cell(number_text(row.get(metric), 2 if metric.endswith("_mm") else 3), "number") for metric in metrics)
    status = "" if name == "mean" else readable(str(row.get("status") or ("ok" if row else "not scored")))
    return (Cell(readable(name)), *numbers, Cell(status, "text" if status in ("", "ok", "present") else "problem"))


def _score_note(metrics: list[str]) -> str:
    distances = any(name.endswith("_mm") for name in metrics)
    return "Dice and NSD: 1 is perfect. Distances in mm: 0 is perfect." if distances else ""


def _measurement_row(
    prediction: Measurement | None, reference: Measurement | None, *, compared: bool
) -> tuple[Cell, ...]:
    some = prediction or reference
    assert some is not None
    digits = 0 if some.unit in ("mm2", "mm3") else 1
    value = prediction.value if prediction else None
    truth = reference.value if reference else None
    cells = [Cell(readable(some.bone)), Cell(_measurement_title(some)), Cell(number_text(value, digits), "number")]
    if compared:
        difference = None if value is None or truth is None else value - truth
        cells += [Cell(number_text(truth, digits), "number"), Cell(_signed(difference, digits), "number")]
    status = _measurement_status(prediction, reference)
    return (*cells, Cell(UNITS.get(some.unit, some.unit)), Cell(status, "text" if status == "ok" else "problem"))


def _measurement_title(measurement: Measurement) -> str:
    return readable(measurement.name.removesuffix(f"_{measurement.unit}"))


def _measurement_status(prediction: Measurement | None, reference: Measurement | None) -> str:
    if prediction is None:
        return "not measured in the reconstruction"
    parts = [_status(prediction)]
    if reference is not None and reference.status != "ok":
        parts.append(f"reference: {_status(reference)}")
    return "; ".join(parts)


def _status(measurement: Measurement) -> str:
    words = readable(measurement.status)
    return f"{words}: {measurement.reason}" if measurement.reason else words


def _signed(value: float | None, digits: int) -> str:
    text = number_text(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != number_text(0.0, digits) else text


def _free_cell(value: object) -> Cell:
    if isinstance(value, str):
        return Cell(value)
    if value is None or isinstance(value, int):
        return Cell(number_text(value, 0), "number")
    number = float(value)  # type: ignore[arg-type]
    return Cell(number_text(number, 3 if abs(number) < 1 else 2 if abs(number) < 100 else 1), "number")
