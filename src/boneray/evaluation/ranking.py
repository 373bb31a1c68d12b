"""Rankings of methods on one task: aggregate then rank, rank then aggregate, test then rank.

Source: Wiesenfarth et al. 2021, Methods and open-source toolkit for analyzing and visualizing
challenge results, doi:10.1038/s41598-021-82017-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name
from boneray.evaluation.paired_tests import holm, paired_differences, signed_rank_test
from boneray.evaluation.statistics import significant

Floats = NDArray[np.float64]
Adjustment = Literal["holm", "none"]


@dataclass(frozen=True)
class Superiority:
    """When one method counts as better than another: one-sided signed rank test at `alpha`.

    `adjust`: holm corrects over all ordered pairs of the task; none does not.
    """

    alpha: float = 0.05
    adjust: Adjustment = "holm"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha {self.alpha} must lie between 0 and 1")
        if self.adjust not in ("holm", "none"):
            raise ConfigError(unknown_name("adjustment", str(self.adjust), ["holm", "none"]))


@dataclass(frozen=True)
class Scheme:
    """A way from values to ranks.

    Attributes:
        per_case: goodness (methods, cases) to what is resampled, of the same shape.
        merit: that, (..., methods, cases), to one number per method (..., methods); more is better.
        score: what the merit says to a reader, and the sign that turns it back.
    """

    name: str
    summary: str
    per_case: Callable[[Floats], Floats]
    merit: Callable[[Floats, Superiority], Floats]
    score: str
    score_sign: Literal[1, -1] = 1


@dataclass(frozen=True)
class Ranking:
    """Ranks of methods on one task.

    Attributes:
        ranks: (methods,) 1 is best; equal methods share the smallest of their ranks.
        merit: (methods,) what was ranked, more is better.
    """

    scheme: str
    methods: tuple[str, ...]
    ranks: Floats
    merit: Floats

    @property
    def order(self) -> tuple[str, ...]:
        """Methods from best to worst; equal ones in the order given."""
        return tuple(self.methods[i] for i in np.argsort(self.ranks, kind="stable"))


def rank_methods(
    goodness: Floats, methods: tuple[str, ...], scheme: str = "mean-then-rank", *, rule: Superiority | None = None
) -> Ranking:
    """Rank methods by one scheme.

    Args:
        goodness: (methods, cases), more is better; -inf where a value is missing and counts as worst.
        scheme: one of `SCHEMES`.
    """
    way = scheme_named(scheme)
    merit = way.merit(way.per_case(np.asarray(goodness, np.float64)), rule or Superiority())
    return Ranking(way.name, methods, ranks_of(merit), merit)


def ranks_of(merit: Floats) -> Floats:
    """Ranks along the last axis, 1 for the largest; equal ones share the smallest of their ranks (1, 2, 2, 4)."""
    rounded = significant(merit)
    return 1.0 + np.count_nonzero(rounded[..., None, :] > rounded[..., :, None], axis=-1).astype(np.float64)


def case_ranks(goodness: Floats) -> Floats:
    """Rank of every method on every case, (..., methods, cases); equal ones share their mean rank."""
    return np.asarray(stats.rankdata(-significant(goodness), axis=-2), np.float64)


def better_p_values(goodness: Floats) -> Floats:
    """(..., methods, methods) one-sided p that the method of the row beats that of the column; NaN on the diagonal."""
    count = goodness.shape[-2]
    out = np.full((*goodness.shape[:-2], count, count), np.nan)
    upper, lower = np.triu_indices(count, 1)
    differences = paired_differences(goodness[..., upper, :], goodness[..., lower, :])
    out[..., upper, lower], out[..., lower, upper] = signed_rank_test(differences)
    return out


def significantly_better(p_values: Floats, rule: Superiority) -> NDArray[np.bool_]:
    """Which p values of (..., methods, methods) say better, after the rule's adjustment within each matrix."""
    if rule.adjust == "holm":
        flat = p_values.reshape(-1, *p_values.shape[-2:])
        p_values = np.stack([holm(one) for one in flat]).reshape(p_values.shape)
    return np.nan_to_num(p_values, nan=1.0) <= rule.alpha


def _wins(goodness: Floats, rule: Superiority) -> Floats:
    return significantly_better(better_p_values(goodness), rule).sum(axis=-1).astype(np.float64)


def _as_it_is(goodness: Floats) -> Floats:
    return goodness


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "mean-then-rank",
            "mean over the cases, then rank",
            _as_it_is,
            lambda values, _: values.mean(axis=-1),
            "mean",
        ),
        Scheme(
            "median-then-rank",
            "median over the cases, then rank",
            _as_it_is,
            lambda values, _: np.median(values, axis=-1),
            "median",
        ),
        Scheme(
            "rank-then-mean",
            "rank on every case, then the mean rank",
            case_ranks,
            lambda ranks, _: -ranks.mean(axis=-1),
            "mean rank",
            -1,
        ),
        Scheme(
            "rank-then-median",
            "rank on every case, then the median rank",
            case_ranks,
            lambda ranks, _: -np.median(ranks, axis=-1),
            "median rank",
            -1,
        ),
        Scheme(
            "test-then-rank",
            "number of methods that are significantly worse",
            _as_it_is,
            _wins,
            "methods beaten",
        ),
    )
}


def scheme_named(name: str) -> Scheme:
    """A scheme by name; an unknown name answers with the nearest."""
    if name not in SCHEMES:
        raise ConfigError(unknown_name("ranking method", name, list(SCHEMES)))
    return SCHEMES[name]


def consensus(rankings: tuple[Ranking, ...]) -> Ranking:
    """One ranking over several tasks with the same methods: by the mean rank.

    The mean is the vector of ranks with the least sum of squared distances to those of the tasks;
    every task counts the same, however many cases it has.
    """
    if not rankings or any(r.methods != rankings[0].methods for r in rankings):
        raise ConfigError("a consensus needs rankings of the same methods")
    merit = -np.mean([r.ranks for r in rankings], axis=0)
    return Ranking(rankings[0].scheme, rankings[0].methods, ranks_of(merit), merit)
