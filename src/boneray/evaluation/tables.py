"""Tables over cases: one row per bone and case, and summaries with their counts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from boneray.core.errors import DataError
from boneray.evaluation.case_scoring import CaseResult
from boneray.evaluation.cases import CaseScores
from boneray.evaluation.comparison import Evaluation
from boneray.evaluation.groups import ALL, BY_BONE, NO_GROUPS, Groups
from boneray.io.files import write_atomic
from boneray.metrics.volume_correlation import volume_correlation

Row = dict[str, Any]
COUNTS = ("n_reference", "n_present", "n_missed", "n_spurious")


def bone_rows(scores: Sequence[CaseScores], *, method: str = "", groups: Groups = NO_GROUPS) -> list[Row]:
    """One row per case and bone: case, method and group where there are any, bone, status and every metric."""
    named = {"method": method} if method else {}
    return [
        {
            "case": case.case_id,
            **named,
            **groups.cell(case.case_id, bone.bone),
            "bone": bone.bone,
            "status": bone.status,
            **bone.values,
        }
        for case in scores
        for bone in case.bones
    ]


def case_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """One row per case: its means and counts."""
    return [{"case": case.case_id, **case.mean()} for case in scores]


def result_rows(evaluation: Evaluation) -> list[Row]:
    """One row per case, also for those that failed: status, reason, means, counts and values of the paper mode."""
    mode, groups = evaluation.settings.paper, evaluation.groups
    return [
        {
            "case": result.case_id,
            "method": evaluation.method,
            **({} if groups.by_bone else groups.cell(result.case_id)),
            "status": result.status,
            "reason": result.reason,
            "notes": "; ".join(result.notes),
            **(result.scores.mean() if result.scores is not None else {}),
            **{f"{mode}:{name}": value for name, value in result.paper.items()},
        }
        for result in evaluation.results
    ]


def group_rows(evaluation: Evaluation) -> list[Row]:
    """The summary of all cases, then that of every group.

    `n_failed` counts the failed cases of a group, which are behind no number; it is empty where
    the bones of one case are in several groups.
    """
    groups, mode = evaluation.groups, evaluation.settings.paper
    rows = _group(ALL, ALL, evaluation.scores, evaluation.results, mode)
    found = groups.split(evaluation.scores)
    if groups.column and not groups.by_bone:
        found |= {groups.group(failed.case_id): [] for failed in evaluation.failed} | found
    for name, scores in found.items():
        members = () if groups.by_bone else [r for r in evaluation.results if groups.group(r.case_id) == name]
        rows += _group(groups.column, name, scores, members, mode)
    return rows


def summary_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """Every mean of the cases summarised over the cases: mean, median, sd, worst and which case that is.

    `n` is the number of cases with a finite value, out of the `n_cases` for which the metric was
    computed; the bones of the reference, found, missed and spurious are counted over these. Found
    out of reference bones is the coverage of a distance, whose plain mean knows only bones found.
    """
    if not scores:
        raise DataError("no case to summarise; evaluate at least one")
    means = [(case.case_id, case.mean()) for case in scores]
    directions = {name: direction for case in scores for name, direction in case.directions.items()}
    rows = []
    for name in _in_order(name for _, mean in means for name in mean if name not in COUNTS):
        having = [(case_id, mean) for case_id, mean in means if name in mean]
        values = [(case_id, float(mean[name])) for case_id, mean in having]
        rows.append(
            {
                "metric": name,
                **_summary(values, _direction(name, directions)),
                "n_cases": len(having),
                **{key: sum(int(mean[key]) for _, mean in having) for key in COUNTS},
            }
        )
    return rows


def bone_summary_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """The summary of every bone over the cases whose reference or prediction holds it.

    By the rules of a case's means: a missed bone counts 0 in scores and is left out of distances,
    where `_penalised` counts the diagonal of the grid; `_union` adds spurious bones as 0.
    """
    if not scores:
        raise DataError("no case to summarise; evaluate at least one")
    return [{"bone": bone, **row} for bone, cases in BY_BONE.split(scores).items() for row in summary_rows(cases)]


def volume_rows(scores: Sequence[CaseScores]) -> list[Row]:
    """How predicted volumes follow the true ones, for every bone over the cases whose reference holds it.

    A missed bone has the volume 0.
    """
    rows = []
    for bone, cases in BY_BONE.split(scores).items():
        values = [b.values for case in cases for b in case.bones if b.status != "spurious"]
        true, predicted = ([v[f"volume_{side}_mm3"] for v in values] for side in ("reference", "prediction"))
        found = volume_correlation(true, predicted)
        rows.append(
            {
                "bone": bone,
                "reference_mm3": fmean(true) if true else math.nan,
                "prediction_mm3": fmean(predicted) if true else math.nan,
                "pearson": found.pearson,
                "lin": found.lin,
                "n_cases": found.n_cases,
            }
        )
    return rows


def paper_rows(results: Sequence[CaseResult], mode: str) -> list[Row]:
    """Mean, median and sd of the values of a paper mode, over the cases that the published code kept."""
    rows = []
    for name in _in_order(name for result in results for name in result.paper):
        values = [(result.case_id, result.paper[name]) for result in results if name in result.paper]
        rows.append({"metric": f"{mode}:{name}", **_summary(values, "none"), "n_cases": len(values)})
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


def write_parquet(path: Path, rows: Sequence[Row]) -> bool:
    """Write rows as Parquet in one step, inf and NaN as null; False if pyarrow is not installed.

    Text columns are text, all others numbers.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    arrays = {}
    for name in _in_order(key for row in rows for key in row):
        cells = [_cell(row.get(name, "")) for row in rows]
        is_text = any(isinstance(cell, str) and cell for cell in cells)
        values = cells if is_text else [None if cell == "" else float(cell) for cell in cells]
        arrays[name] = pyarrow.array(values, pyarrow.string() if is_text else pyarrow.float64())
    write_atomic(path, lambda target: parquet.write_table(pyarrow.table(arrays), target))
    return True


def _group(column: str, name: str, scores: Sequence[CaseScores], results: Sequence[CaseResult], mode: str) -> list[Row]:
    """Rows of one group; without `results` its cases are only in part in it."""
    failed = sum(result.scores is None for result in results) if results else ""
    nothing = {"metric": "dice", **_summary([], "higher"), "n_cases": 0, **dict.fromkeys(COUNTS, 0)}
    rows = (summary_rows(scores) if scores else [nothing]) + paper_rows(results, mode)
    return [{"by": column, "group": name, **row, "n_failed": failed} for row in rows]


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
