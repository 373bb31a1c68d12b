"""A score against an error: lines and correlations in closed form, common subjects only."""

import numpy as np
import pytest
from scipy import stats

from boneray.core.errors import DataError, InputError
from boneray.core.seeds import generator
from boneray.evaluation.association import associate, association_rows, line_band, line_fit, spearman
from boneray.evaluation.metric_table import read_score_table


@pytest.fixture
def tables(tmp_path):
    def write(scores, errors):
        for name, text in (("scores", scores), ("errors", errors)):
            (tmp_path / f"{name}.csv").write_text(text)
        return tuple(read_score_table([tmp_path / f"{name}.csv"]) for name in ("scores", "errors"))

    return write


def test_a_line_is_found_exactly():
    x = np.array([0.5, 0.7, 0.8, 0.9])
    fit = line_fit(np.stack([x, 12 - 10 * x], axis=1), ["a", "b", "c", "d"])
    assert (fit.slope, fit.intercept, fit.r_squared, fit.rho) == pytest.approx((-10, 12, 1, -1))
    assert (fit.rho_low, fit.rho_high, fit.n, fit.n_cases) == pytest.approx((-1, -1, 4, 4))


def test_four_points_by_hand():
    """x 1 2 3 4, y 1 3 2 4: slope .8, R2 .64; ranks are the values, so rho is .8 too."""
    fit = line_fit(np.array([[1, 1], [2, 3], [3, 2], [4, 4.0]]), list("abcd"))
    assert (fit.slope, fit.intercept, fit.r_squared, fit.rho) == pytest.approx((0.8, 0.5, 0.64, 0.8))


def test_spearman_agrees_with_scipy_also_with_ties():
    points = generator(0, "points").integers(0, 6, (40, 2)).astype(float)
    assert spearman(points) == pytest.approx(stats.spearmanr(*points.T).statistic)
    assert np.isnan(spearman(np.array([[1.0, 2], [1, 3]])))


def test_a_constant_column_has_no_line():
    fit = line_fit(np.array([[1.0, 1], [1, 2], [1, 3]]), list("abc"))
    assert np.isnan([fit.slope, fit.r_squared, fit.rho, fit.rho_low]).all()
    flat = line_fit(np.array([[1.0, 2], [2, 2], [3, 2]]), list("abc"))
    assert flat.slope == 0 and np.isnan([flat.r_squared, flat.rho]).all()


def test_the_interval_resamples_cases_not_points():
    """Every case ten times over tells no more than once."""
    points = generator(1, "cases").normal(size=(30, 2))
    names = [f"s{i}" for i in range(30)]
    once, tenfold = line_fit(points, names), line_fit(np.repeat(points, 10, axis=0), np.repeat(names, 10))
    assert (tenfold.rho_low, tenfold.rho_high) == pytest.approx((once.rho_low, once.rho_high))
    assert (tenfold.n, tenfold.n_cases) == (300, 30)


def test_band_of_the_line_at_the_mean():
    """There the half width is t s / sqrt(n)."""
    rng = generator(2)
    x = rng.normal(size=50)
    points = np.stack([x, 2 * x + rng.normal(size=50)], axis=1)
    line, low, high = line_band(points, np.array([x.mean()]))
    fit = stats.linregress(*points.T)
    s = np.sqrt(((points[:, 1] - fit.intercept - fit.slope * x) ** 2).sum() / 48)
    assert line[0] == pytest.approx(points[:, 1].mean())
    assert (high - low)[0] / 2 == pytest.approx(stats.t.ppf(0.975, 48) * s / np.sqrt(50))


def test_common_subjects_only_and_the_rest_by_name(tables):
    scores = "case,model,dice\n" + "".join(f"s{i},{m},0.{i}\n" for m in "AB" for i in range(1, 7)) + "s1,C,0.5\n"
    errors = "case,model,nsa\n" + "".join(
        f"s{i},{m},{10 - i}\n" for m in "AB" for i in range(1, 7) if (m, i) != ("B", 5)
    )
    errors = errors.replace("s6,A,4", "s6,A,")
    found = associate(*tables(scores, errors), "dice", "nsa")
    assert [(d.name, d.reason) for d in found.dropped] == [
        ("C", "only in one of the two tables"),
        ("s5", "no nsa row for B"),
        ("s6", "nsa of A is missing"),
    ]
    assert len(found.points) == 8 and found.fit.n_cases == 4
    assert (found.fit.slope, found.fit.r_squared, found.fit.rho) == pytest.approx((-10, 1, -1))
    assert found.method_means["A"] == pytest.approx((0.25, 7.5))
    assert [(row["method"], row["n"]) for row in association_rows([found])] == [("all", 8), ("A", 4), ("B", 4)]
    assert found.to_dict()["dropped"][1] == {"name": "s5", "reason": "no nsa row for B"}


def test_what_cannot_be_associated(tables):
    scores = "case,model,dice\ns1,A,0.5\ns2,A,0.6\n"
    with pytest.raises(DataError, match="2 common points"):
        associate(*tables(scores, "case,model,nsa\ns1,A,1\ns2,A,2\n"), "dice", "nsa")
    with pytest.raises(DataError, match="no method in common"):
        associate(*tables(scores, "case,model,nsa\ns1,B,1\n"), "dice", "nsa")
    with pytest.raises(InputError, match="unknown column 'fhr'"):
        associate(*tables(scores, "case,model,nsa\ns1,A,1\n"), "dice", "fhr")
    with pytest.raises(DataError, match="was there before"):
        associate(*tables(scores + "s1,A,0.7\n", "case,model,nsa\ns1,A,1\n"), "dice", "nsa")
