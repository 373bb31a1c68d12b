"""Does a better score mean a smaller error? Two columns against each other on the cases both have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from boneray.core.errors import DataError
from boneray.core.seeds import generator
from boneray.evaluation.common_cases import Dropped
from boneray.evaluation.metric_table import ScoreRow, ScoreTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LineFit:
    """Least squares of y on x, and how well the two go together.

    Attributes:
        slope, intercept: y = slope x + intercept.
        r_squared: share of the variance of y that the line explains.
        rho, rho_low, rho_high: Spearman's rank correlation and its interval over resampled cases.
        n, n_cases: points, and the cases they come from.
    """

    slope: float
    intercept: float
    r_squared: float
    rho: float
    rho_low: float
    rho_high: float
    n: int
    n_cases: int


@dataclass(frozen=True)
class Association:
    """One column against another.

    Attributes:
        points: (n, 2) of x and y; `methods` and `cases` say whose.
        fit: all points; by_method: those of each method.
        method_means: (x, y) mean of each method, on the cases common to all methods.
        dropped: points that one side lacks, or that some method lacks, and why.
    """

    x: str
    y: str
    points: Floats
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    fit: LineFit
    by_method: dict[str, LineFit]
    method_means: dict[str, tuple[float, float]]
    dropped: tuple[Dropped, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "x": self.x,
            "y": self.y,
            "all": asdict(self.fit),
            "methods": {name: asdict(fit) for name, fit in self.by_method.items()},
            "method_means": {name: list(mean) for name, mean in self.method_means.items()},
            "dropped": [asdict(one) for one in self.dropped],
        }


def associate(
    scores: ScoreTable, errors: ScoreTable, x: str, y: str, *, seed: int = 0, resamples: int = 1000
) -> Association:
    """Column `x` of one table against column `y` of another, on the common subjects.

    A point is one case (and bone) of one method that has both values. So that methods are judged
    on the same subjects, a case (and bone) counts only if every method of both tables has it.

    Raises:
        InputError: no such column.
        DataError: a row twice, or fewer than three common points.
    """
    scores.require_column(x)
    errors.require_column(y)
    xs, ys = _values(scores, x), _values(errors, y)
    methods = tuple(m for m in scores.methods if m in errors.methods)
    if not methods:
        raise DataError(f"{scores.name} and {errors.name} have no method in common; check the names of the methods")
    dropped = [Dropped(m, "only in one of the two tables") for m in {**dict.fromkeys(scores.methods),
               **dict.fromkeys(errors.methods)} if m not in methods]  # fmt: skip
    units = list(dict.fromkeys(unit for method, unit in (*xs, *ys) if method in methods))
    common = []
    for unit in units:
        reasons = [r for m in methods for r in (_lacks(xs, m, unit, x), _lacks(ys, m, unit, y)) if r]
        if reasons:
            dropped.append(Dropped(" ".join(filter(None, unit)), "; ".join(dict.fromkeys(reasons))))
        else:
            common.append(unit)
    keys = [(method, unit) for method in methods for unit in common]
    if len(keys) < 3:
        raise DataError(f"{x} and {y} have {len(keys)} common points; a line needs three")
    points = np.array([(xs[key], ys[key]) for key in keys])
    owners, cases = tuple(m for m, _ in keys), tuple(unit[0] for _, unit in keys)
    by_method, means = {}, {}
    for method in methods:
        mine = np.array([owner == method for owner in owners])
        means[method] = (float(points[mine, 0].mean()), float(points[mine, 1].mean()))
        if mine.sum() >= 3:
            of_mine = [case for case, yes in zip(cases, mine, strict=True) if yes]
            by_method[method] = line_fit(points[mine], of_mine, seed=seed, resamples=resamples)
    fit = line_fit(points, cases, seed=seed, resamples=resamples)
    return Association(x, y, points, owners, cases, fit, by_method, means, tuple(dropped))


def association_rows(found: Sequence[Association]) -> list[dict[str, Any]]:
    """One row per pair of columns and method, first the row of all methods together."""
    return [
        {"x": one.x, "y": one.y, "method": name, **asdict(fit)}
        for one in found
        for name, fit in {"all": one.fit, **one.by_method}.items()
    ]


def line_fit(points: Floats, cases: ArrayLike, *, seed: int = 0, resamples: int = 1000) -> LineFit:
    """Least squares, R^2 and Spearman's rho of (n, 2) points; the interval resamples whole cases.

    Where x or y is the same everywhere there is no line and no correlation: NaN.
    """
    points, names = np.asarray(points, np.float64), np.asarray(cases)
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]
    rho = spearman(points)
    low = high = np.nan
    if np.isfinite(rho) and len(groups) > 2:
        resampled = _resampled(points, groups, spearman, seed, resamples)
        low, high = np.nanquantile(resampled, [0.025, 0.975])
    slope, intercept, r_squared = np.nan, np.nan, np.nan
    if np.ptp(points[:, 0]) > 0:
        found = stats.linregress(points[:, 0], points[:, 1])
        slope, intercept = found.slope, found.intercept
        r_squared = found.rvalue**2 if np.ptp(points[:, 1]) > 0 else np.nan
    return LineFit(
        float(slope), float(intercept), float(r_squared), rho, float(low), float(high), len(points), len(groups)
    )


def line_band(points: Floats, at: Floats, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """The fitted line at `at` with the confidence band of its mean: (line, low, high).

    From the residuals' variance, as for independent normal errors: s sqrt(1/n + (x - m)^2 / Sxx)
    times Student's t. Source: Draper & Smith 1998, ch. 3.
    """
    x, y = np.asarray(points, np.float64).T
    fit = stats.linregress(x, y)
    line = fit.intercept + fit.slope * at
    residual = y - (fit.intercept + fit.slope * x)
    s = np.sqrt((residual**2).sum() / (len(x) - 2))
    half = stats.t.ppf((1 + level) / 2, len(x) - 2) * s
    half = half * np.sqrt(1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    return line, line - half, line + half


def spearman(points: Floats) -> float:
    """Spearman's rank correlation of (n, 2) points, ties with mean ranks; NaN where one side is constant."""
    ranks = stats.rankdata(points, axis=0)
    centred = ranks - ranks.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0).prod())
    return float(centred.prod(axis=1).sum() / size) if size > 0 else float("nan")


def _resampled(
    points: Floats, groups: list[NDArray[np.intp]], measure: Callable[[Floats], float], seed: int, resamples: int
) -> Floats:
    rng = generator(seed, "association")
    drawn = rng.integers(0, len(groups), (resamples, len(groups)))
    return np.array([measure(points[np.concatenate([groups[i] for i in one])]) for one in drawn])


def _values(table: ScoreTable, column: str) -> dict[tuple[str, tuple[str, str]], float]:
    out: dict[tuple[str, tuple[str, str]], float] = {}
    seen: dict[tuple[str, tuple[str, str]], ScoreRow] = {}
    for row in table.rows:
        key = (row.method, row.unit)
        if key in seen:
            raise DataError(
                f"{row.where}: {' '.join(filter(None, row.unit))} of {row.method} was there before "
                f"({seen[key].where}); remove one row"
            )
        seen[key] = row
        out[key] = row.number(column)
    return out


def _lacks(
    values: dict[tuple[str, tuple[str, str]], float], method: str, unit: tuple[str, str], column: str
) -> str | None:
    if (method, unit) not in values:
        return f"no {column} row for {method}"
    return None if np.isfinite(values[method, unit]) else f"{column} of {method} is missing"
