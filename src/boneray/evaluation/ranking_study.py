"""`boneray rank`: from a table of scores to rankings, their stability, tests and effect sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import ConfigError
from boneray.core.seeds import generator
from boneray.evaluation.common_cases import Dropped, MetricRule, NothingToRank, TaskScores, common_scores
from boneray.evaluation.metric_table import ScoreRow, ScoreTable
from boneray.evaluation.paired_tests import holm, paired_differences, sign_flip_test
from boneray.evaluation.ranking import (
    SCHEMES,
    Ranking,
    Superiority,
    better_p_values,
    consensus,
    rank_methods,
    scheme_named,
    significantly_better,
)
from boneray.evaluation.ranking_stability import Stability, bootstrap_ranks, kendall_tau, split_stability
from boneray.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    cliffs_delta,
    cohens_d_paired,
    rank_biserial,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class RankingSettings:
    """How to rank.

    Attributes:
        schemes: names in `SCHEMES`; the first one orders the pictures.
        resamples: bootstrap samples for ranks and intervals.
        seed: same seed, same numbers.
        min_coverage: share of the cases a method must have rows for.
    """

    schemes: tuple[str, ...] = tuple(SCHEMES)
    rule: Superiority = field(default_factory=Superiority)
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    min_coverage: float = 0.5

    def __post_init__(self) -> None:
        for name in self.schemes:
            scheme_named(name)
        if not self.schemes or self.resamples < 1:
            raise ConfigError(f"a ranking needs a method and resamples of at least 1, not {self.resamples}")


@dataclass(frozen=True)
class MethodSummary:
    """One method on the common cases.

    Attributes:
        mean: over all cases, missing ones counted; with its bootstrap interval.
        sd, median, mean_found: sd (n - 1) and mean are over the finite values.
        n, n_missing: cases, and values that were missing.
    """

    method: str
    mean: Interval
    mean_found: float
    sd: float
    median: float
    n: int
    n_missing: int


@dataclass(frozen=True)
class PairComparison:
    """Two methods on the same cases; `better` is the one the signed ranks favour.

    Attributes:
        mean_difference: better - worse in the metric's own direction and unit, with interval.
        p_signed_rank, p_holm: one-sided, and corrected over all ordered pairs of the task.
        p_sign_flip: one-sided permutation test of the mean difference.
    """

    better: str
    worse: str
    mean_difference: Interval
    p_signed_rank: float
    p_holm: float
    p_sign_flip: float
    rank_biserial: float
    cohens_d_paired: float
    cliffs_delta: float


@dataclass(frozen=True)
class TaskRanking:
    """Everything about one metric on one task.

    Attributes:
        stability: by scheme, each with its ranking of all cases.
        better: (methods, methods) true where the row is significantly better than the column.
        p_values: (methods, methods) what that rests on, as adjusted.
    """

    scores: TaskScores
    summaries: tuple[MethodSummary, ...]
    stability: Mapping[str, Stability]
    pairs: tuple[PairComparison, ...]
    p_values: NDArray[np.float64]
    better: NDArray[np.bool_]

    @property
    def main(self) -> Stability:
        """The first scheme."""
        return next(iter(self.stability.values()))

    def scheme_agreement(self) -> dict[str, float]:
        """Kendall's tau between the first scheme's ranking and that of every other."""
        first = self.main.ranking.ranks
        return {name: float(kendall_tau(first, s.ranking.ranks)) for name, s in self.stability.items()}


@dataclass(frozen=True)
class MetricRanking:
    """One metric over all tasks.

    Attributes:
        tasks: those that could be ranked.
        failed: tasks that could not, and why.
        consensus: by scheme, over the tasks, of the methods that all of them ranked; empty for one task.
        cuts: by scheme, share of samples and pairs in which the first k of the consensus stay
            ahead of the others, k = 1 ..; empty as `consensus`.
    """

    rule: MetricRule
    tasks: tuple[TaskRanking, ...]
    failed: tuple[Dropped, ...]
    consensus: Mapping[str, Ranking]
    cuts: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class RankingStudy:
    """Rankings by metric, and how they were made."""

    table: ScoreTable
    by: str | None
    settings: RankingSettings
    metrics: tuple[MetricRanking, ...]


def rank_table(
    table: ScoreTable, rules: Sequence[MetricRule], *, by: str | None = None, settings: RankingSettings | None = None
) -> RankingStudy:
    """Rank the methods of a table for every metric, on every task on its own and over all of them.

    Args:
        rules: the columns to rank by.
        by: column that says which task a row belongs to; without it all rows are one task.
    Raises:
        InputError: no such column.
        DataError: a cell is no number or a row is there twice; or no task can be ranked, and the
            first reason is told.
    """
    settings = settings or RankingSettings()
    for rule in rules:
        table.require_column(rule.metric)
    tasks = table.split(by)
    return RankingStudy(
        table, by, settings, tuple(_rank_metric(tasks, rule, settings, table.methods) for rule in rules)
    )


def _rank_metric(
    tasks: Mapping[str, tuple[ScoreRow, ...]], rule: MetricRule, settings: RankingSettings, methods: tuple[str, ...]
) -> MetricRanking:
    ranked, failed = [], []
    for task, rows in tasks.items():
        try:
            scores = common_scores(rows, rule, task=task, min_coverage=settings.min_coverage, expected=methods)
        except NothingToRank as error:
            failed.append((task, error))
            continue
        ranked.append(rank_task(scores, settings))
    if not ranked:
        raise failed[0][1]
    together, cuts = _over_tasks(ranked, settings) if len(ranked) > 1 else ({}, {})
    reasons = tuple(Dropped(task, str(error)) for task, error in failed)
    return MetricRanking(rule, tuple(ranked), reasons, together, cuts)


def rank_task(scores: TaskScores, settings: RankingSettings) -> TaskRanking:
    """Rankings, their stability, pairwise tests and summaries of one task."""
    name = (scores.rule.metric, scores.task)
    stability = {}
    for scheme in settings.schemes:
        ranking = rank_methods(scores.goodness, scores.methods, scheme, rule=settings.rule)
        stability[scheme] = bootstrap_ranks(
            scores.goodness,
            ranking,
            rng=generator(settings.seed, "ranks", *name),  # every scheme sees the same samples of cases
            resamples=settings.resamples,
            rule=settings.rule,
        )
    p_values = better_p_values(scores.goodness)
    better = significantly_better(p_values, settings.rule)
    adjusted = holm(p_values)
    summaries = tuple(_summary(scores, i, settings) for i in range(len(scores.methods)))
    pairs = tuple(
        _pair(scores, i, j, p_values, adjusted, settings)
        for i in range(len(scores.methods))
        for j in range(i + 1, len(scores.methods))
    )
    shown = adjusted if settings.rule.adjust == "holm" else p_values
    return TaskRanking(scores, summaries, stability, pairs, shown, better)


def _summary(scores: TaskScores, at: int, settings: RankingSettings) -> MethodSummary:
    values = scores.values[at]
    finite = values[np.isfinite(values)]
    rng = generator(settings.seed, "mean", scores.rule.metric, scores.task, scores.methods[at])
    interval = bootstrap_interval(values, rng=rng, level=settings.level, resamples=settings.resamples)
    # the sum of fmean is exact, so a mean that lies on a half digit is rounded as on paper
    exact = Interval(fmean(values.tolist()), interval.low, interval.high, interval.level, interval.method)
    return MethodSummary(
        scores.methods[at],
        exact,
        fmean(finite.tolist()) if len(finite) else float("nan"),
        float(finite.std(ddof=1)) if len(finite) > 1 else float("nan"),
        float(np.median(values)),
        len(values),
        int(scores.missing[at].sum()),
    )


def _pair(
    scores: TaskScores,
    first: int,
    second: int,
    p_values: NDArray[np.float64],
    adjusted: NDArray[np.float64],
    settings: RankingSettings,
) -> PairComparison:
    goodness = scores.goodness
    if rank_biserial(paired_differences(goodness[first], goodness[second])) < 0:
        first, second = second, first
    gained = paired_differences(goodness[first], goodness[second])
    names = scores.methods[first], scores.methods[second]
    seeds = (scores.rule.metric, scores.task, *names)
    sign = 1.0 if scores.rule.direction == "higher" else -1.0
    return PairComparison(
        *names,
        bootstrap_interval(
            sign * gained,
            rng=generator(settings.seed, "difference", *seeds),
            level=settings.level,
            resamples=settings.resamples,
        ),
        float(p_values[first, second]),
        float(adjusted[first, second]),
        sign_flip_test(gained, rng=generator(settings.seed, "flips", *seeds)),
        rank_biserial(gained),
        cohens_d_paired(gained),
        cliffs_delta(goodness[first], goodness[second]),
    )


def _over_tasks(
    ranked: Sequence[TaskRanking], settings: RankingSettings
) -> tuple[dict[str, Ranking], dict[str, tuple[float, ...]]]:
    """Consensus over the tasks, of the methods that every task ranked."""
    shared = [m for m in ranked[0].scores.methods if all(m in task.scores.methods for task in ranked)]
    if len(shared) < 2:
        return {}, {}
    together, cuts = {}, {}
    for scheme in settings.schemes:
        rankings, samples = [], []
        for task in ranked:
            found = task.stability[scheme]
            at = [found.ranking.methods.index(method) for method in shared]
            rankings.append(Ranking(scheme, tuple(shared), found.ranking.ranks[at], found.ranking.merit[at]))
            samples.append(found.samples[:, at])
        together[scheme] = consensus(tuple(rankings))
        cuts[scheme] = tuple(map(float, split_stability(-together[scheme].merit, np.stack(samples))))
    return together, cuts
