"""Numbers about one sample or a pair: bootstrap intervals and effect sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from boneray.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
IntervalMethod = Literal["bca", "percentile"]
STATISTICS: dict[str, Callable[..., Floats]] = {"mean": np.mean, "median": np.median}
SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; low and high are NaN where the sample allows none."""

    value: float
    low: float
    high: float
    level: float
    method: str


def bootstrap_interval(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    statistic: str = "mean",
    level: float = 0.95,
    resamples: int = 2000,
    method: IntervalMethod = "bca",
) -> Interval:
    """The mean or median of a sample with its bootstrap interval.

    Args:
        values: (n,) sample, one value per case.
        method: percentile takes the quantiles of the resampled statistic; bca also corrects them
            for bias and for skewness, which the jackknife estimates.
    Returns:
        A sample of equal values has the interval [v, v]. One value alone, or a value that is not
        finite, has none (NaN).
    Source:
        Efron 1987, Better bootstrap confidence intervals, doi:10.1080/01621459.1987.10478410.
    """
    sample = np.asarray(values, np.float64).ravel()
    if statistic not in STATISTICS or method not in ("bca", "percentile"):
        raise ConfigError(
            f"no bootstrap of the {statistic} by method {method}; choose mean or median, bca or percentile"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ConfigError(f"level {level} must lie between 0 and 1 and resamples {resamples} must be positive")
    if not len(sample):
        raise DataError("an interval needs at least one value; the sample is empty")
    take = STATISTICS[statistic]
    value = float(take(sample))
    if len(sample) < 2 or not np.isfinite(sample).all():
        return Interval(value, np.nan, np.nan, level, method)
    if np.ptp(sample) == 0:
        return Interval(value, value, value, level, method)
    resampled = take(sample[rng.integers(0, len(sample), (resamples, len(sample)))], axis=1)
    shares = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        shares = _corrected_shares(shares, sample, resampled, value, take)
    low, high = np.quantile(resampled, shares)
    return Interval(value, float(low), float(high), level, method)


def rank_biserial(differences: ArrayLike) -> float:
    """Effect size of paired values, -1..1: rank sum of the positive minus the negative differences, over both.

    1: every difference is positive; 0: none outweighs the other. Differences of zero are left
    out; nothing but zeros gives 0. Source: Kerby 2014, doi:10.2466/11.IT.3.1.
    """
    found = np.asarray(differences, np.float64)
    found = found[found != 0]
    if not len(found):
        return 0.0
    ranks = stats.rankdata(np.abs(found))
    return float((ranks * np.sign(found)).sum() / ranks.sum())


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Effect size of two samples, -1..1: P(first > second) - P(first < second) over all pairs of values.

    The pairing by case plays no part. Source: Cliff 1993, doi:10.1037/0033-2909.114.3.494.
    """
    a, b = np.asarray(first, np.float64), np.sort(np.asarray(second, np.float64))
    if not len(a) or not len(b):
        raise DataError("Cliff's delta needs a value in both samples")
    below = np.searchsorted(b, a, side="left")
    above = len(b) - np.searchsorted(b, a, side="right")
    return float((below - above).sum() / (len(a) * len(b)))


def cohens_d_paired(differences: ArrayLike) -> float:
    """Cohen's d of paired values (d_z): mean of the differences over their sd (n - 1).

    0 where all differences are 0; NaN for fewer than two values, for a value that is not finite,
    and for differences that are all alike but not 0. Source: Cohen 1988, ch. 2; Lakens 2013,
    doi:10.3389/fpsyg.2013.00863.
    """
    found = np.asarray(differences, np.float64)
    if len(found) < 2 or not np.isfinite(found).all():
        return float("nan")
    if np.ptp(found) == 0:
        return 0.0 if found[0] == 0 else float("nan")
    return float(found.mean() / found.std(ddof=1))


def significant(values: ArrayLike) -> Floats:
    """The values to 12 digits of the largest finite one, so that what is equal on paper is equal here.

    0.88 - 0.87 and 0.87 - 0.86 differ in the last bit; ranks and ties must not see that.
    """
    found = np.asarray(values, np.float64)
    largest = np.abs(found[np.isfinite(found)]).max(initial=0.0)
    if largest == 0:
        return found.copy()
    return np.round(found, int(SIGNIFICANT_DIGITS - np.ceil(np.log10(largest))))


def _corrected_shares(
    shares: Floats, sample: Floats, resampled: Floats, value: float, take: Callable[..., Floats]
) -> Floats:
    """The quantiles that BCa reads instead of the plain ones."""
    # half of the equal ones count as below, as a tie says nothing about the bias
    below = (np.count_nonzero(resampled < value) + np.count_nonzero(resampled <= value)) / (2 * len(resampled))
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))
    left_out = np.array([take(np.delete(sample, i)) for i in range(len(sample))])
    away = left_out.mean() - left_out
    spread = (away**2).sum() ** 1.5
    acceleration = (away**3).sum() / (6 * spread) if spread > 0 else 0.0
    shifted = bias + stats.norm.ppf(shares)
    return np.asarray(stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)), np.float64)
