"""Paired tests against hand counts and scipy."""

import numpy as np
import pytest
from scipy import stats

from boneray.core.errors import DataError
from boneray.core.seeds import generator
from boneray.evaluation.paired_tests import holm, paired_differences, sign_flip_test, signed_rank_test


def test_signed_ranks_by_hand():
    """Three positive differences: one of eight sign patterns reaches that sum."""
    above, below = signed_rank_test([0.1, 0.2, 0.3])
    assert (above, below) == (1 / 8, 1)
    # ranks 1 and 2.5, 2.5: sums 0, 1, 2.5, 2.5, 3.5, 3.5, 5, 6; W+ = 5 is reached by two of eight
    above, below = signed_rank_test([-0.1, 0.2, 0.2])
    assert (above, below) == (2 / 8, 7 / 8)
    assert [float(p) for p in signed_rank_test([0.0, 0.0])] == [1, 1]
    assert float(signed_rank_test([0.0, 0.1, 0.2, 0.3])[0]) == 1 / 8


@pytest.mark.parametrize("n", [5, 12, 25])
def test_exact_p_agrees_with_scipy(n):
    differences = generator(n, "no ties").normal(0.2, 1, n)
    above, below = signed_rank_test(differences)
    assert above == pytest.approx(stats.wilcoxon(differences, alternative="greater", method="exact").pvalue, rel=1e-9)
    assert below == pytest.approx(stats.wilcoxon(differences, alternative="less", method="exact").pvalue, rel=1e-9)


def test_exact_p_with_ties_agrees_with_all_sign_flips():
    differences = np.array([1, 1, 1, -2, 2, 3, 3, -4, 5, 5.0])
    every = stats.wilcoxon(differences, alternative="greater", method=stats.PermutationMethod(n_resamples=2**10))
    assert signed_rank_test(differences)[0] == pytest.approx(every.pvalue, rel=1e-9)


def test_many_differences_with_ties_and_zeros_agree_with_scipy():
    differences = generator(0, "ties").integers(-3, 5, 90) / 100
    assert (differences == 0).any()
    for side, alternative in zip(signed_rank_test(differences), ("greater", "less"), strict=True):
        theirs = stats.wilcoxon(
            differences, zero_method="wilcox", correction=True, alternative=alternative, method="asymptotic"
        )
        assert side == pytest.approx(theirs.pvalue, rel=1e-9)


def test_many_tests_at_once_are_the_same_tests():
    rows = generator(1, "rows").integers(-5, 6, (3, 7, 30)).astype(float)
    rows[0, 0, 8:] = 0.0
    above, below = signed_rank_test(rows)
    assert above.shape == (3, 7)
    for at in np.ndindex(3, 7):
        assert (above[at], below[at]) == tuple(float(p) for p in signed_rank_test(rows[at]))


def test_level_is_kept_where_there_is_nothing_to_find():
    rows = generator(2, "null").normal(size=(4000, 40))
    rejected = (signed_rank_test(rows)[0] <= 0.05).mean()
    assert rejected == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 4000))


def test_a_missing_value_loses_by_more_than_anything():
    missing = -np.inf
    found = paired_differences([0.9, missing, missing, 0.5], [0.1, 0.2, missing, missing])
    assert list(found) == [0.8, -np.inf, 0.0, np.inf]
    # ranks 1 for 0.8, 2.5 each for the infinite ones: W+ = 3.5, reached by 4 of 8
    assert signed_rank_test(found)[0] == 4 / 8
    assert np.isnan(sign_flip_test(found, rng=generator(0)))


def test_sign_flips_by_hand_and_against_scipy():
    assert sign_flip_test([1, 2, 3], rng=generator(0)) == 1 / 8
    assert sign_flip_test([1, 2, -3], rng=generator(0)) == 5 / 8  # sums 6 4 2 0 0 -2 -4 -6: five reach 0
    assert sign_flip_test([0, 0], rng=generator(0)) == 1
    differences = generator(3, "flips").normal(0.4, 1, 12)
    every = stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf,
        alternative="greater", vectorized=True,
    )  # fmt: skip
    assert sign_flip_test(differences, rng=generator(4)) == pytest.approx(every.pvalue, rel=1e-9)


def test_drawn_sign_flips_approach_the_normal_p():
    differences = generator(5, "many").normal(0.15, 1, 200)
    z = differences.sum() / np.sqrt((differences**2).sum())
    p = stats.norm.sf(z)
    assert sign_flip_test(differences, rng=generator(6)) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 10_000))
    assert sign_flip_test(np.full(40, 1.0), rng=generator(7), resamples=999) == 1 / 1000


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and nothing may fall: .02 .03 .06 .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert list(holm([0.6, 0.9])) == [1, 1]
    square = holm([[np.nan, 0.01], [0.04, np.nan]])
    assert square[0, 1] == pytest.approx(0.02) and square[1, 0] == pytest.approx(0.04) and np.isnan(square[0, 0])
    assert holm([]).shape == (0,)
    with pytest.raises(DataError):
        holm([0.5, 1.5])
