"""Paired tests for many pairs at once: Wilcoxon's signed ranks, sign flips, Holm's correction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from boneray.core.errors import DataError
from boneray.evaluation.statistics import significant

Floats = NDArray[np.float64]
EXACT_UP_TO = 25
FLIPS_EXACT_UP_TO = 14
ROWS_AT_ONCE = 4096


def paired_differences(first: ArrayLike, second: ArrayLike) -> Floats:
    """first - second case by case, ready for the tests below.

    -inf stands for a missing value that counts as worst: two of them differ by 0, one of them by
    more than anything else. Rounded to 12 digits, so that equal differences are ties.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    with np.errstate(invalid="ignore"):
        return significant(np.where(np.isinf(a) & (a == b), 0.0, a - b))


def signed_rank_test(differences: ArrayLike) -> tuple[Floats, Floats]:
    """One-sided p values of Wilcoxon's signed rank test: that differences lie above 0, and below 0.

    Differences of 0 are dropped, equal ones share their mean rank. Up to 25 differences the p
    value is exact, given the ties; beyond, the normal approximation with the variance of the ties
    and a continuity correction of 0.5. No difference at all gives 1.

    Args:
        differences: (..., n); every row along the last axis is a test of its own.
    Returns:
        Two arrays of shape (...).
    Source:
        Wilcoxon 1945, doi:10.2307/3001968; Pratt & Gibbons 1981, ch. 3.
    """
    found = np.asarray(differences, np.float64)
    rows = found.reshape(-1, found.shape[-1])
    parts = [_signed_rank_rows(rows[at : at + ROWS_AT_ONCE]) for at in range(0, len(rows), ROWS_AT_ONCE)]
    above, below = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    return above.reshape(found.shape[:-1]), below.reshape(found.shape[:-1])


def sign_flip_test(differences: ArrayLike, *, rng: np.random.Generator, resamples: int = 10_000) -> float:
    """One-sided p value of the paired permutation test: that the mean difference lies above 0.

    The sign of every difference is flipped at random. Up to 14 differences other than 0 all flips
    are tried; beyond, `resamples` of them, with the observed one counted in, so that p is never 0.
    NaN where a difference is infinite, for then there is no mean.
    """
    found = significant(differences)
    if not np.isfinite(found).all():
        return float("nan")
    found = found[found != 0]
    n = len(found)
    if n <= FLIPS_EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(significant(signs @ found) >= significant(found.sum()) - _slack(found)))
    signs = 1.0 - 2.0 * rng.integers(0, 2, (resamples, n), dtype=np.int8)
    reached = np.count_nonzero(signs @ found >= found.sum() - _slack(found))
    return float((reached + 1) / (resamples + 1))


def holm(p_values: ArrayLike) -> Floats:
    """p values adjusted for their number by Holm's step-down rule; NaN stays NaN and counts as no test.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none may fall below an
    earlier one, none exceeds 1. Source: Holm 1979, jstor.org/stable/4615733.
    """
    given = np.asarray(p_values, np.float64)
    if ((given < 0) | (given > 1)).any():
        raise DataError("a p value lies outside 0..1")
    flat = given.ravel()
    order = np.argsort(flat)[: np.count_nonzero(~np.isnan(flat))]
    stepped = flat[order] * np.arange(len(order), 0, -1)
    out = np.full(flat.shape, np.nan)
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1.0) if len(order) else stepped
    return out.reshape(given.shape)


def _signed_rank_rows(rows: Floats) -> tuple[Floats, Floats]:
    zero = rows == 0
    # zeros take the lowest ranks; without them everybody moves down by their number
    ranks = stats.rankdata(np.abs(rows), axis=-1) - zero.sum(axis=-1, keepdims=True)
    ranks[zero] = 0.0
    used = np.count_nonzero(~zero, axis=-1)
    total = ranks.sum(axis=-1)
    positive = np.where(rows > 0, ranks, 0.0).sum(axis=-1)
    above, below = (_normal_tail(w, total, ranks) for w in (positive, total - positive))
    few = used <= EXACT_UP_TO
    if few.any():
        above[few], below[few] = _exact_tails(ranks[few], positive[few])
    above[used == 0] = below[used == 0] = 1.0
    return above, below


def _normal_tail(rank_sum: Floats, total: Floats, ranks: Floats) -> Floats:
    """P(W >= rank_sum): every rank is in the sum with probability 1/2, so its variance is the squares' sum / 4."""
    sd = np.sqrt((ranks**2).sum(axis=-1) / 4)
    z = (rank_sum - total / 2 - 0.5) / np.where(sd > 0, sd, 1.0)
    return np.asarray(special.ndtr(-z), np.float64)


def _exact_tails(ranks: Floats, positive: Floats) -> tuple[Floats, Floats]:
    """P(W >= positive) and P(W <= positive) when every sign is a fair coin; (rows, n) ranks, halves allowed."""
    doubled = np.sort(np.round(2 * ranks).astype(np.int64), axis=-1)[:, ::-1][:, :EXACT_UP_TO]
    sums = np.arange(doubled.sum(axis=-1).max(initial=0) + 1)
    chance = np.zeros((len(ranks), len(sums)))
    chance[:, 0] = 1.0
    for column in doubled.T:
        source = sums - column[:, None]
        moved = np.take_along_axis(chance, np.maximum(source, 0), axis=1)
        chance = 0.5 * (chance + np.where(source >= 0, moved, 0.0))
    reached = np.round(2 * positive).astype(np.int64)[:, None]
    above = np.where(sums >= reached, chance, 0.0).sum(axis=-1)
    below = np.where(sums <= reached, chance, 0.0).sum(axis=-1)
    return np.minimum(above, 1.0), np.minimum(below, 1.0)


def _slack(found: Floats) -> float:
    """Sums that differ by less are equal on paper."""
    return float(np.abs(found).sum()) * 1e-11
