"""What can be compared: the cases that all methods share, and a list of what was dropped and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import ConfigError, DataError
from boneray.evaluation.metric_table import ScoreRow
from boneray.metrics.registry import METRICS, Direction

Floats = NDArray[np.float64]
ENDINGS = ("_union", "_present", "_penalised")


class NothingToRank(DataError):
    """A task has fewer than two methods or no case that they share; other tasks can go on."""


@dataclass(frozen=True)
class Dropped:
    """A case or method that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class MetricRule:
    """How a metric is read: its better direction, and what a missing value counts as."""

    metric: str
    direction: Direction
    missing_counts_as: float


@dataclass(frozen=True)
class TaskScores:
    """One metric of all methods on the cases they share.

    Attributes:
        values: (methods, cases); a case of several bones has their mean, a missing value counts
            as `rule.missing_counts_as`, which may be infinite.
        missing: (methods, cases) how many values behind each were missing.
    """

    task: str
    rule: MetricRule
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    values: Floats
    missing: NDArray[np.int64]
    dropped_cases: tuple[Dropped, ...]
    dropped_methods: tuple[Dropped, ...]

    @property
    def goodness(self) -> Floats:
        """The values so that more is better; -inf where a missing value counts as worst of all."""
        return self.values if self.rule.direction == "higher" else -self.values


def metric_rule(
    metric: str,
    *,
    higher: Sequence[str] = (),
    lower: Sequence[str] = (),
    missing_counts_as: float | None = None,
) -> MetricRule:
    """How to read a column: as told by `higher` and `lower`, else as the table of metrics says.

    A missing value of a score from the table (Dice, NSD ...) counts 0, any other counts as worse
    than every number, unless `missing_counts_as` names a value, for example a penalty in mm.
    """
    if metric in higher and metric in lower:
        raise ConfigError(f"column '{metric}' is said to be better both ways; choose one")
    direction, unit = ("higher", "") if metric in higher else ("lower", "") if metric in lower else _registered(metric)
    if direction == "none":
        raise ConfigError(
            f"{metric} is a plain quantity: neither more nor less of it is better; rank an error or a score"
        )
    if missing_counts_as is None:
        missing_counts_as = np.inf if direction == "lower" else 0.0 if unit == "1" else -np.inf
    return MetricRule(metric, "higher" if direction == "higher" else "lower", float(missing_counts_as))


def common_scores(
    rows: Sequence[ScoreRow],
    rule: MetricRule,
    *,
    task: str = "all",
    min_coverage: float = 0.5,
    expected: Sequence[str] = (),
) -> TaskScores:
    """The scores of the methods on the cases (and bones) for which every one of them has a row.

    A row whose value is missing is there and counts as worst; a row that is not there drops the
    case. A method whose file lacks the column, or that has rows for less than `min_coverage` of
    all cases, is dropped instead of dropping the others' cases. `expected` methods without any
    row are listed as dropped.

    Raises:
        DataError: a row twice, or a cell that is no number.
        NothingToRank: fewer than two methods, or no common case.
    """
    found = _by_method(rows, rule)
    units = list(dict.fromkeys(row.unit for row in rows))
    measured = {row.method for row in rows if rule.metric in row.cells}
    kept, dropped_methods = _methods_that_cover(found, len(units), rule, min_coverage, measured)
    dropped_methods += [Dropped(name, "no row for this task") for name in expected if name not in found]
    if len(kept) < 2:
        named = " and ".join(f"'{name}'" for name in kept) or "none"
        why = "; ".join(f"{d.name}: {d.reason}" for d in dropped_methods)
        raise NothingToRank(
            f"task {task} has one method only ({named}); a ranking needs two{'; ' + why if why else ''}"
        )
    common, dropped_cases = [], []
    for unit in units:
        without = [name for name, values in kept.items() if unit not in values]
        if without:
            dropped_cases.append(Dropped(" ".join(filter(None, unit)), f"no row for {', '.join(without)}"))
        else:
            common.append(unit)
    if not common:
        raise NothingToRank(
            f"task {task}: no case has a row for all of {', '.join(kept)}; check the names of the cases"
        )
    raw = np.array([[values[unit] for unit in common] for values in kept.values()])
    cases, values, missing = _per_case(common, raw, rule)
    return TaskScores(task, rule, tuple(kept), cases, values, missing, tuple(dropped_cases), tuple(dropped_methods))


def _by_method(rows: Sequence[ScoreRow], rule: MetricRule) -> dict[str, dict[tuple[str, str], float]]:
    found: dict[str, dict[tuple[str, str], float]] = {}
    first_seen: dict[tuple[str, tuple[str, str]], str] = {}
    best = np.inf if rule.direction == "higher" else -np.inf
    for row in rows:
        key = (row.method, row.unit)
        if key in first_seen:
            raise DataError(
                f"{row.where}: {' '.join(filter(None, row.unit))} of {row.method} was there before "
                f"({first_seen[key]}); separate tasks with --by COLUMN or remove one row"
            )
        first_seen[key] = row.where
        value = row.number(rule.metric)
        if value == best:
            raise DataError(
                f"{row.where}, column {rule.metric}: {value} is better than every number; give a finite one"
            )
        found.setdefault(row.method, {})[row.unit] = value
    return found


def _methods_that_cover(
    found: Mapping[str, dict[tuple[str, str], float]],
    count: int,
    rule: MetricRule,
    min_coverage: float,
    measured: set[str],
) -> tuple[dict[str, dict[tuple[str, str], float]], list[Dropped]]:
    if not 0 <= min_coverage <= 1:
        raise ConfigError(f"min_coverage {min_coverage} must lie between 0 and 1")
    kept, dropped = {}, []
    for name, values in found.items():
        if name not in measured:
            dropped.append(Dropped(name, f"its file has no column {rule.metric}"))
        elif len(values) < min_coverage * count:
            dropped.append(Dropped(name, f"rows for {len(values)} of {count} cases, fewer than {min_coverage:.0%}"))
        else:
            kept[name] = values
    return kept, dropped


def _per_case(
    units: Sequence[tuple[str, str]], raw: Floats, rule: MetricRule
) -> tuple[tuple[str, ...], Floats, NDArray[np.int64]]:
    """Means over the bones of every case."""
    missing = ~np.isfinite(raw)
    filled = np.where(missing, rule.missing_counts_as, raw)
    cases = tuple(dict.fromkeys(case for case, _ in units))
    columns = [[i for i, (name, _) in enumerate(units) if name == case] for case in cases]
    values = np.stack([filled[:, at].mean(axis=1) for at in columns], axis=1)
    return cases, values, np.stack([missing[:, at].sum(axis=1) for at in columns], axis=1)


def _registered(metric: str) -> tuple[str, str]:
    """(direction, unit) of a metric or a mean of it in the table of metrics."""
    stem = metric.lower()
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    for entry in METRICS:
        at_a_tolerance = entry.name.startswith("nsd_") and re.fullmatch(r"nsd_\d+(\.\d+)?mm", stem)
        if stem == entry.name or at_a_tolerance:
            return str(entry.facts["direction"]), str(entry.facts["unit"])
    raise ConfigError(
        f"which way '{metric}' is better is not known; say --higher-is-better {metric} or --lower-is-better {metric}"
    )
