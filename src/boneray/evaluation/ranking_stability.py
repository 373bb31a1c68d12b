"""How far a ranking would change with other cases: bootstrap of the cases, Kendall's tau, groups.

Source: Wiesenfarth et al. 2021, doi:10.1038/s41598-021-82017-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import ConfigError
from boneray.evaluation.ranking import Ranking, Superiority, ranks_of, scheme_named

Floats = NDArray[np.float64]
VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Stability:
    """Ranks of every method in every bootstrap sample.

    Attributes:
        ranking: the ranking of all cases.
        samples: (resamples, methods) ranks.
    """

    ranking: Ranking
    samples: Floats

    def shares(self) -> Floats:
        """(methods, ranks) share of the samples in which a method had the rank: the blobs."""
        places = np.arange(1, len(self.ranking.methods) + 1)
        return np.asarray((self.samples[:, :, None] == places).mean(axis=0), np.float64)

    def median(self) -> Floats:
        """(methods,) median rank over the samples."""
        return np.asarray(np.median(self.samples, axis=0), np.float64)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Percentile interval of every method's rank, low and high, (methods,) each."""
        low, high = np.quantile(self.samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def taus(self) -> Floats:
        """(resamples,) Kendall's tau between the ranking of all cases and that of every sample."""
        return kendall_tau(self.ranking.ranks, self.samples)


def bootstrap_ranks(
    goodness: Floats,
    ranking: Ranking,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    rule: Superiority | None = None,
) -> Stability:
    """Draw as many cases as there are, with replacement, and rank again, `resamples` times.

    Args:
        goodness: (methods, cases), more is better, -inf where missing; as it was ranked.
    """
    if resamples < 1:
        raise ConfigError(f"resamples {resamples} must be at least 1")
    way, rule = scheme_named(ranking.scheme), rule or Superiority()
    values = way.per_case(np.asarray(goodness, np.float64))
    drawn = rng.integers(0, values.shape[1], (resamples, values.shape[1]))
    at_once = max(1, VALUES_AT_ONCE // max(1, values.size * values.shape[0]))
    parts = []
    for at in range(0, resamples, at_once):
        cases = drawn[at : at + at_once]
        parts.append(ranks_of(way.merit(np.moveaxis(values[:, cases], 0, 1), rule)))
    return Stability(ranking, np.concatenate(parts))


def kendall_tau(first: Floats, second: Floats) -> Floats:
    """Kendall's tau-b of rankings along the last axis; 1 same order, -1 reversed, ties as Kendall's 1945 correction.

    NaN where one ranking has all methods equal. Source: doi:10.1093/biomet/33.3.239.
    """
    a, b = (np.sign(v[..., :, None] - v[..., None, :]) for v in (np.asarray(first), np.asarray(second)))
    untied = np.sqrt((a**2).sum(axis=(-1, -2)) * (b**2).sum(axis=(-1, -2)))
    together = (a * b).sum(axis=(-1, -2))
    return np.asarray(np.where(untied > 0, together / np.where(untied > 0, untied, 1.0), np.nan), np.float64)


def split_stability(order: Floats, samples: Floats) -> Floats:
    """How well the first k methods stay ahead of the others, for k = 1 .. methods - 1.

    Args:
        order: (methods,) the ranks that say who comes first; equal ones keep their order.
        samples: (..., methods) bootstrap ranks, of one task or of several.
    Returns:
        (methods - 1,) share of all pairs across the cut and of all samples in which the method
        before the cut is strictly ahead; 1: the blobs of the two sides never meet.
    """
    sorted_samples = samples.reshape(-1, samples.shape[-1])[:, np.argsort(order, kind="stable")]
    ahead = (sorted_samples[:, :, None] < sorted_samples[:, None, :]).mean(axis=0)
    return np.array([ahead[:cut, cut:].mean() for cut in range(1, len(order))])
