"""Spheres fitted to surface points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.errors import DataError


@dataclass(frozen=True)
class Sphere:
    """Centre (3,) in RAS mm and radius."""

    centre_mm: NDArray[np.float64]
    radius_mm: float

    def residual_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Signed distance of points (..., 3) from the surface, positive outside."""
        return np.linalg.norm(np.asarray(points_mm, dtype=float) - self.centre_mm, axis=-1) - self.radius_mm


def fit_sphere(points_mm: ArrayLike, weights: ArrayLike | None = None) -> Sphere:
    """The algebraic least-squares sphere through points (n, 3), n >= 4, weighted by area.

    Solves |p|^2 = 2 c.p + (R^2 - |c|^2), which is linear in c and the bracket.

    Raises:
        DataError: fewer than four points, or all in one plane.
    """
    points = np.asarray(points_mm, dtype=float)
    if len(points) < 4:
        raise DataError(f"a sphere needs at least 4 points, {len(points)} given")
    root = np.sqrt(np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float))
    middle = points.mean(axis=0)
    offset = points - middle
    matrix = np.column_stack([2 * offset, np.ones(len(points))])
    solution, _, rank, _ = np.linalg.lstsq(
        matrix * root[:, None], np.einsum("ij,ij->i", offset, offset) * root, rcond=None
    )
    if rank < 4:
        raise DataError("the points lie in one plane; no sphere is defined")
    centre = solution[:3]
    return Sphere(centre + middle, float(np.sqrt(max(solution[3] + centre @ centre, 0.0))))


def fit_sphere_trimmed(
    points_mm: ArrayLike, weights: ArrayLike | None = None, *, keep: float = 0.8, iterations: int = 10
) -> Sphere:
    """The sphere through the share `keep` of the points that lie nearest to it, refitted until that set is stable."""
    points = np.asarray(points_mm, dtype=float)
    share = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float)
    count = max(4, round(keep * len(points)))
    chosen = np.arange(len(points))
    sphere = fit_sphere(points, share)
    for _ in range(iterations):
        nearest = np.sort(np.argsort(np.abs(sphere.residual_mm(points)), kind="stable")[:count])
        if np.array_equal(nearest, chosen):
            break
        chosen = nearest
        sphere = fit_sphere(points[chosen], share[chosen])
    return sphere
