"""Rankings worked by hand, their stability in closed form."""

import numpy as np
import pytest
from scipy import stats

from boneray.core.errors import ConfigError
from boneray.core.seeds import generator
from boneray.evaluation.ranking import (
    SCHEMES,
    Ranking,
    Superiority,
    better_p_values,
    case_ranks,
    consensus,
    rank_methods,
    ranks_of,
    significantly_better,
)
from boneray.evaluation.ranking_stability import bootstrap_ranks, kendall_tau, split_stability

METHODS = ("A", "B", "C")
# A is best on three cases and fails on the fourth; the mean of A equals that of C
GOODNESS = np.array([[0.9, 0.9, 0.9, 0.1], [0.8, 0.8, 0.8, 0.8], [0.7, 0.7, 0.7, 0.7]])


@pytest.mark.parametrize(
    ("scheme", "ranks", "merit"),
    [
        ("mean-then-rank", [2, 1, 2], [0.7, 0.8, 0.7]),
        ("median-then-rank", [1, 2, 3], [0.9, 0.8, 0.7]),
        ("rank-then-mean", [1, 2, 3], [-6 / 4, -7 / 4, -11 / 4]),
        ("rank-then-median", [1, 2, 3], [-1, -2, -3]),
        ("test-then-rank", [1, 1, 1], [0, 0, 0]),
    ],
)
def test_four_cases_by_hand(scheme, ranks, merit):
    found = rank_methods(GOODNESS, METHODS, scheme)
    assert list(found.ranks) == ranks
    assert found.merit == pytest.approx(merit)


def test_ties_share():
    assert list(ranks_of(np.array([3.0, 5.0, 5.0, 1.0]))) == [3, 1, 1, 4]
    assert list(ranks_of(np.array([0.1 + 0.2, 0.3]))) == [1, 1]
    columns = case_ranks(np.array([[0.9, 0.5], [0.9, 0.6], [0.1, 0.6]])).T
    assert [list(column) for column in columns] == [[1.5, 1.5, 3], [3, 1.5, 1.5]]


def ordered(cases):
    """A beats B beats C on every case."""
    return np.array([0.9, 0.8, 0.7])[:, None] + generator(0, "cases").uniform(0, 0.05, cases)


def test_test_then_rank_by_hand():
    """Six cases: each win has p = 1/64; Holm over the six ordered pairs makes it 6/64, eight cases 6/256."""
    wins = better_p_values(ordered(6))
    assert wins[0, 1] == wins[1, 2] == wins[0, 2] == 1 / 64
    assert wins[1, 0] == 1
    assert list(rank_methods(ordered(6), METHODS, "test-then-rank").ranks) == [1, 1, 1]
    uncorrected = Superiority(adjust="none")
    found = rank_methods(ordered(6), METHODS, "test-then-rank", rule=uncorrected)
    assert list(found.ranks) == [1, 2, 3] and list(found.merit) == [2, 1, 0]
    assert list(rank_methods(ordered(8), METHODS, "test-then-rank").ranks) == [1, 2, 3]
    strict = Superiority(alpha=0.01)
    assert list(rank_methods(ordered(8), METHODS, "test-then-rank", rule=strict).ranks) == [1, 1, 1]
    assert significantly_better(better_p_values(ordered(8)), Superiority()).sum() == 3


def test_what_is_missing_ranks_last():
    goodness = np.array([[0.9, -np.inf], [0.8, 0.1], [0.7, 0.2]])
    assert list(rank_methods(goodness, METHODS, "mean-then-rank").ranks) == [3, 1, 1]
    assert [list(c) for c in case_ranks(goodness).T] == [[1, 2, 3], [3, 2, 1]]
    both = np.array([[0.9, -np.inf], [0.8, -np.inf], [0.7, 0.2]])
    assert list(case_ranks(both)[:, 1]) == [2.5, 2.5, 1]
    for scheme in SCHEMES:
        assert np.isfinite(rank_methods(both, METHODS, scheme).ranks).all()


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_laws(scheme):
    """Order of methods and of cases plays no part; a strictly better copy comes first."""
    goodness = generator(1, "laws").normal(size=(5, 30)) + np.linspace(0, 1, 5)[:, None]
    names = ("a", "b", "c", "d", "e")
    ranks = rank_methods(goodness, names, scheme).ranks
    assert list(rank_methods(goodness[::-1], names, scheme).ranks[::-1]) == list(ranks)
    assert list(rank_methods(goodness[:, ::-1], names, scheme).ranks) == list(ranks)
    raised = np.concatenate([goodness, goodness.max(axis=0, keepdims=True) + 1])
    assert rank_methods(raised, (*names, "f"), scheme).ranks[-1] == 1
    assert ranks.min() == 1


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_bootstrap_ranks_are_rankings_of_drawn_cases(scheme):
    goodness = generator(2, "boot").normal(size=(4, 11)).round(1)
    ranking = rank_methods(goodness, tuple("abcd"), scheme)
    found = bootstrap_ranks(goodness, ranking, rng=generator(3), resamples=20)
    drawn = generator(3).integers(0, 11, (20, 11))
    for ranks, cases in zip(found.samples, drawn, strict=True):
        assert list(ranks) == list(rank_methods(goodness[:, cases], tuple("abcd"), scheme).ranks)
    assert found.shares().sum(axis=1) == pytest.approx(1)


def test_bootstrap_share_in_closed_form():
    """A - B is +3, -1, -1: a sample favours A unless the first case is never drawn, 1 - (2/3)^3 = 19/27."""
    goodness = np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    ranking = rank_methods(goodness, ("A", "B"))
    found = bootstrap_ranks(goodness, ranking, rng=generator(4), resamples=6000)
    assert found.shares()[0, 0] == pytest.approx(19 / 27, abs=4 * np.sqrt(19 / 27 * 8 / 27 / 6000))
    assert found.taus().mean() == pytest.approx(2 * found.shares()[0, 0] - 1)
    assert [list(v) for v in found.interval()] == [[1, 1], [2, 2]]
    assert list(found.median()) == [1, 2]


def test_a_clear_order_never_changes():
    ranking = rank_methods(ordered(20), METHODS)
    found = bootstrap_ranks(ordered(20), ranking, rng=generator(5), resamples=100)
    assert np.array_equal(found.shares(), np.eye(3))
    assert np.array_equal(found.taus(), np.ones(100))
    assert list(split_stability(ranking.ranks, found.samples)) == [1, 1]


def test_split_stability_by_hand():
    """Two samples: a b c in order, then b a c. After a: 1/2 and 1 of the pairs; after b: all."""
    samples = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0]])
    assert list(split_stability(np.array([1.0, 2.0, 3.0]), samples)) == [0.75, 1.0]
    tied = np.array([[1.0, 1.0, 3.0]])
    assert list(split_stability(np.array([1.0, 2.0, 3.0]), tied)) == [0.5, 1.0]


def test_kendall_by_hand_and_against_scipy():
    assert kendall_tau(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(1 / 3)
    rng = generator(6)
    for _ in range(20):
        a, b = rng.integers(1, 5, (2, 7))
        assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, nan_ok=True)
    assert np.isnan(kendall_tau(np.array([1, 1, 1]), np.array([1, 2, 3])))


def test_consensus_by_hand():
    first = Ranking("mean-then-rank", METHODS, np.array([1.0, 2.0, 3.0]), np.zeros(3))
    second = Ranking("mean-then-rank", METHODS, np.array([3.0, 1.0, 1.0]), np.zeros(3))
    found = consensus((first, second))
    assert list(-found.merit) == [2, 1.5, 2] and list(found.ranks) == [2, 1, 2]
    assert found.order == ("B", "A", "C")
    with pytest.raises(ConfigError):
        consensus((first, Ranking("mean-then-rank", ("A", "B"), np.ones(2), np.ones(2))))


def test_names_and_rules_that_are_not():
    with pytest.raises(ConfigError, match="mean-then-rank"):
        rank_methods(GOODNESS, METHODS, "mean-then-rnk")
    with pytest.raises(ConfigError, match="alpha"):
        Superiority(alpha=0)
    with pytest.raises(ConfigError, match="holm"):
        Superiority(adjust="hochberg")
