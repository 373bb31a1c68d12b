"""Bootstrap intervals and effect sizes against closed forms, hand counts and scipy."""

import numpy as np
import pytest
from scipy import stats

from boneray.core.errors import ConfigError, DataError
from boneray.core.seeds import generator
from boneray.evaluation.statistics import (
    bootstrap_interval,
    cliffs_delta,
    cohens_d_paired,
    rank_biserial,
    significant,
)


def test_two_values_have_three_resampled_means():
    """0, 1/2, 1 with chances 1/4, 1/2, 1/4: the 95 % interval is [0, 1], the 40 % interval [1/2, 1/2]."""
    wide = bootstrap_interval([0, 1], rng=generator(0), method="percentile")
    narrow = bootstrap_interval([0, 1], rng=generator(0), method="percentile", level=0.4)
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_percentile_interval_of_many_values_is_the_normal_one():
    values = generator(1, "normal").normal(3.0, 2.0, 400)
    found = bootstrap_interval(values, rng=generator(2), method="percentile", resamples=20_000)
    half = stats.norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03 * half)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_interval_agrees_with_scipy(statistic, method):
    values = generator(3, "skewed").exponential(1.0, 41)
    ours = bootstrap_interval(values, rng=generator(4), statistic=statistic, method=method, resamples=40_000)
    theirs = stats.bootstrap(
        (values,),
        getattr(np, statistic),
        n_resamples=40_000,
        method=method,
        rng=np.random.Generator(np.random.PCG64(5)),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_coverage_for_normal_values_is_that_of_the_closed_form(method):
    """The interval is the mean +- 1.96 s sqrt((n - 1) / n) / sqrt(n); Student's t says how often it holds 0."""
    n, trials = 20, 1500
    expected = 1 - 2 * stats.t.sf(stats.norm.ppf(0.975) * np.sqrt((n - 1) / n), n - 1)
    rng = generator(6, method)
    held = 0
    for sample in rng.normal(0.0, 1.0, (trials, n)):
        found = bootstrap_interval(sample, rng=rng, method=method, resamples=600)
        held += found.low <= 0 <= found.high
    assert expected == pytest.approx(0.928, abs=0.001)
    assert held / trials == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / trials))


def test_what_has_no_interval():
    same = bootstrap_interval([2, 2, 2], rng=generator(0))
    assert (same.value, same.low, same.high) == (2, 2, 2)
    assert np.isnan(bootstrap_interval([2.0], rng=generator(0)).low)
    endless = bootstrap_interval([1.0, np.inf], rng=generator(0))
    assert endless.value == np.inf and np.isnan(endless.high)
    with pytest.raises(DataError):
        bootstrap_interval([], rng=generator(0))
    with pytest.raises(ConfigError):
        bootstrap_interval([1, 2], rng=generator(0), method="basic")
    with pytest.raises(ConfigError):
        bootstrap_interval([1, 2], rng=generator(0), level=1.0)


def test_same_seed_same_interval():
    values = generator(7).normal(size=30)
    assert bootstrap_interval(values, rng=generator(8)) == bootstrap_interval(values, rng=generator(8))


def test_rank_biserial_by_hand():
    assert rank_biserial([1, 2, 3]) == 1
    assert rank_biserial([1, 2, -3]) == 0
    assert rank_biserial([-1, 2, 3, 0]) == pytest.approx((5 - 1) / 6)
    assert rank_biserial([1, -1, 2]) == pytest.approx((1.5 + 3 - 1.5) / 6)
    assert rank_biserial([0, 0]) == 0
    assert rank_biserial([np.inf, -0.1]) == pytest.approx(1 / 3)


def test_cliffs_delta_by_hand_and_from_mann_whitney():
    assert cliffs_delta([3, 4], [1, 3]) == pytest.approx(3 / 4)
    assert cliffs_delta([1, 2, 3], [2, 2, 2]) == 0
    assert cliffs_delta([0], [1, 2]) == -1
    rng = generator(9)
    a, b = rng.integers(0, 9, 30), rng.integers(0, 9, 17)
    u = stats.mannwhitneyu(a, b).statistic
    assert cliffs_delta(a, b) == pytest.approx(2 * u / (30 * 17) - 1)


def test_cohens_d_by_hand_and_from_the_paired_t_test():
    assert cohens_d_paired([1, 2, 3]) == 2
    assert cohens_d_paired([0, 0]) == 0
    assert np.isnan(cohens_d_paired([1, 1]))
    differences = generator(10).normal(0.3, 1, 25)
    assert cohens_d_paired(differences) == pytest.approx(stats.ttest_1samp(differences, 0).statistic / 5)


def test_equal_on_paper_is_equal_here():
    raw = np.array([0.3 - 0.2, 0.1, 0.7 - 0.6, np.inf])
    assert len(set(raw[:3])) > 1
    assert len(set(significant(raw)[:3])) == 1
    assert significant(raw)[3] == np.inf
    assert list(significant([0.0, 0.0])) == [0.0, 0.0]
    assert significant([1e9 + 1e-4])[0] == 1e9
