"""Tables over cases: one row per bone and case, and summaries with their counts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from boneray.core.errors import DataError
from boneray.evaluation.cases import CaseScores
from boneray.io.files import write_atomic

Row = dict[str, Any]


def bone_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """One row per case and bone: case, bone, status and every metric."""
    return [
        {"case": case.case_id, "bone": bone.bone, "status": bone.status, **bone.values}
        for case in scores
        for bone in case.bones
    ]


def case_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """One row per case: its means and counts."""
    return [{"case": case.case_id, **case.mean()} for case in scores]


def summary_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """Every mean of the cases summarised over the cases: mean, median, sd, worst and which case that is.

    `n` is the number of cases with a finite value out of `n_cases`; the counts of reference,
    missed and spurious bones over all cases stand in every row.
    """
    if not scores:
        raise DataError("no case to summarise; evaluate at least one")
    means = [(case.case_id, case.mean()) for case in scores]
    names = _in_order(name for _, mean in means for name in mean if not name.startswith("n_"))
    directions = _directions(scores)
    counts = {key: sum(int(mean[key]) for _, mean in means) for key in ("n_reference", "n_missed", "n_spurious")}
    rows = []
    for name in names:
        values = [(case_id, float(mean[name])) for case_id, mean in means if name in mean]
        rows.append(
            {"metric": name, **_summary(values, _direction(name, directions)), "n_cases": len(scores), **counts}
        )
    return rows


def bone_summary_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """Every bone and metric over the cases whose reference holds the bone.

    A missed bone counts 0 in scores; for distances it is left out of mean, median, sd and worst,
    and `n_missed` says how often that happened.
    """
    if not scores:
        raise DataError("no case to summarise; evaluate at least one")
    directions = _directions(scores)
    rows = []
    for bone in _in_order(b.bone for case in scores for b in case.bones):
        found = [(case.case_id, b) for case in scores for b in case.bones if b.bone == bone]
        reference = [(case_id, b) for case_id, b in found if b.status in ("present", "missed")]
        n_missed = sum(b.status == "missed" for _, b in reference)
        counts = {"n_reference": len(reference), "n_missed": n_missed, "n_spurious": len(found) - len(reference)}
        for name, direction in directions.items():
            values = [(case_id, b.values[name]) for case_id, b in reference if name in b.values]
            rows.append({"bone": bone, "metric": name, **_summary(values, direction), **counts})
    return rows


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV in one step (a reader never sees half a file); inf and NaN become empty cells.

    Columns are the keys in order of first appearance.
    """
    columns = _in_order(key for row in rows for key in row)

    def write(target: Path) -> None:
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)

    write_atomic(path, write)


def _summary(values: Sequence[tuple[str, float]], direction: str) -> Row:
    """mean, median, sd (n - 1), worst, worst_case and n of the finite values."""
    usable = [(case_id, v) for case_id, v in values if math.isfinite(v)]
    numbers = [v for _, v in usable]
    if not numbers:
        return {"mean": math.nan, "median": math.nan, "sd": math.nan, "worst": math.nan, "worst_case": "", "n": 0}
    worst_case, worst = "", math.nan
    if direction != "none":
        worst_case, worst = (min if direction == "higher" else max)(usable, key=lambda pair: pair[1])
    return {
        "mean": fmean(numbers),
        "median": median(numbers),
        "sd": stdev(numbers) if len(numbers) > 1 else math.nan,
        "worst": worst,
        "worst_case": worst_case,
        "n": len(numbers),
    }


def _directions(scores: Sequence[CaseScores]) -> dict[str, str]:
    return {name: direction for case in scores for name, direction in case.directions.items()}


def _direction(name: str, directions: dict[str, str]) -> str:
    """Direction of a mean, whose name is the metric's with `_union`, `_present` or `_penalised` behind it."""
    for ending in ("", "_union", "_present", "_penalised"):
        if name.removesuffix(ending) in directions:
            return directions[name.removesuffix(ending)]
    return "none"


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and not math.isfinite(value) else value
