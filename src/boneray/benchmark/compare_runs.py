"""Two runs of a benchmark beside each other: what changed, on the cases that both have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from boneray.core.errors import InputError
from boneray.core.seeds import generator
from boneray.evaluation.statistics import bootstrap_interval
from boneray.io.files import read_json

Row = dict[str, Any]
METRICS = ("dice", "nsd", "hd95_mm_penalised", "assd_mm_penalised")
SCHEMA = "boneray/benchmark/2"
LEAST = 3


def compare_runs(first: Path, second: Path, metrics: Sequence[str] = METRICS) -> list[Row]:
    """Second minus first by data set, model, condition and metric, paired by patient.

    Values of a patient are means over its cases, folds and seeds, of the cases that both runs
    have; the interval is the BCa bootstrap's over patients at 95 %, None for fewer than three.
    What only one run has is a row with a reason.

    Args:
        first, second: a benchmark.json, or the folder that holds it.
    Raises:
        InputError: no such file, or of another schema.
    """
    runs = [_cases(path) for path in (first, second)]
    rows: list[Row] = []
    for key in dict.fromkeys([*runs[0], *runs[1]]):
        identity = dict(zip(("data", "model", "tested_on", "condition"), key, strict=True))
        missing = [name for name, run in zip(("first", "second"), runs, strict=True) if key not in run]
        if missing:
            rows.append({**identity, **_nothing(f"not in the {missing[0]} run")})
            continue
        one, other = runs[0][key], runs[1][key]
        shared = [case for case in one if case in other]
        dropped = len({*one, *other}) - len(shared)
        for metric in metrics:
            rows.append({**identity, **_difference(metric, [(one[c], other[c]) for c in shared], dropped)})
    return rows


def _difference(metric: str, pairs: Sequence[tuple[list[Row], list[Row]]], dropped: int) -> Row:
    by_patient: dict[str, list[tuple[float, float]]] = {}
    for one, other in pairs:
        values = [[row[metric] for row in rows if row.get(metric) is not None] for rows in (one, other)]
        if all(values):
            by_patient.setdefault(one[0]["patient"], []).append((fmean(values[0]), fmean(values[1])))
    if not by_patient:
        return {**_nothing("no case that both runs have"), "metric": metric, "n_dropped": dropped}
    first = [fmean(a for a, _ in values) for values in by_patient.values()]
    second = [fmean(b for _, b in values) for values in by_patient.values()]
    change = [b - a for a, b in zip(first, second, strict=True)]
    low = high = None
    if len(change) >= LEAST:
        low, high = fmean(change), fmean(change)
        if len(set(change)) > 1:
            found = bootstrap_interval(change, rng=generator(0, "compare", metric))
            low, high = found.low, found.high
    return {
        "metric": metric,
        "first": fmean(first),
        "second": fmean(second),
        "change": fmean(change),
        "change_low": low,
        "change_high": high,
        "n_patients": len(change),
        "n_dropped": dropped,
        "reason": "",
    }


def _nothing(reason: str) -> Row:
    names = ("first", "second", "change", "change_low", "change_high")
    return {"metric": "", **dict.fromkeys(names), "n_patients": 0, "n_dropped": 0, "reason": reason}


def _cases(path: Path) -> dict[tuple[str, ...], dict[str, list[Row]]]:
    """Rows by (data, model, tested_on, condition) and case."""
    values = read_json(path / "benchmark.json" if path.is_dir() else path, "benchmark")
    if values.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {values.get('schema')!r}; a benchmark that can be compared has {SCHEMA!r}")
    found: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for row in values["cases"]:
        key = (row["data"], row["model"], row["tested_on"], row["condition"])
        found.setdefault(key, {}).setdefault(row["case"], []).append(row)
    return found
