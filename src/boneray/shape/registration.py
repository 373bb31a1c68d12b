"""Bringing two bones together: rigid alignment, and coherent point drift for their difference in shape.

Sources: Arun et al. 1987 (rotation by singular values); Besl and McKay 1992 (iterative closest
point, here trimmed); Myronenko and Song 2010, Point set registration: coherent point drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from boneray.core.errors import DataError


def rigid_fit(moving_mm: NDArray, fixed_mm: NDArray, weights: NDArray | None = None) -> NDArray[np.float64]:
    """The rigid 4x4 that brings points (n, 3) closest to their partners (n, 3), in the least squares."""
    if np.shape(moving_mm) != np.shape(fixed_mm) or len(moving_mm) < 3:
        raise DataError(
            f"{np.shape(moving_mm)} and {np.shape(fixed_mm)} points; a rigid fit needs three pairs at least"
        )
    w = np.ones(len(moving_mm)) if weights is None else np.asarray(weights, float)
    w = w / w.sum()
    a, b = w @ moving_mm, w @ fixed_mm
    u, _, vt = np.linalg.svd((moving_mm - a).T @ (w[:, None] * (fixed_mm - b)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    out = np.eye(4)
    out[:3, :3] = vt.T @ flip @ u.T
    out[:3, 3] = b - out[:3, :3] @ a
    return out


def rotation_of(vector: NDArray) -> NDArray[np.float64]:
    """Rotation by |vector| radians about it, (3, 3)."""
    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def moved_by(world_from_model: NDArray, points_mm: NDArray) -> NDArray[np.float64]:
    """Points (n, 3) after a 4x4 motion."""
    return np.asarray(points_mm @ world_from_model[:3, :3].T + world_from_model[:3, 3])


def closest_point_fit(
    moving_mm: NDArray, fixed_mm: NDArray, start: NDArray, *, overlap: float = 0.9, iterations: int = 60
) -> tuple[NDArray[np.float64], float]:
    """(4x4, mean distance mm) by iterative closest points from `start`; the farthest 1 - overlap are left out."""
    tree = cKDTree(fixed_mm)
    motion, error = np.asarray(start, dtype=float), np.inf
    for _ in range(iterations):
        here = moved_by(motion, moving_mm)
        distance, index = tree.query(here)
        kept = distance <= np.quantile(distance, overlap)
        now = float(distance[kept].mean())
        if error - now < 1e-4:
            break
        error = now
        motion = rigid_fit(moving_mm[kept], fixed_mm[index[kept]])
    return motion, error


def rigid_start(moving_mm: NDArray, fixed_mm: NDArray, *, overlap: float = 0.9) -> NDArray[np.float64]:
    """A rigid 4x4 that brings one bone onto another without any hint.

    Tried from the axes as they are and from the four ways to lay the principal axes upon each other
    without a mirror; the one with the smallest distance both ways is kept.
    """
    a, b = moving_mm.mean(axis=0), fixed_mm.mean(axis=0)
    first, second = (np.linalg.svd(p - p.mean(axis=0), full_matrices=False)[2] for p in (moving_mm, fixed_mm))
    turns = [np.eye(3)]
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        turn = second.T @ np.diag([*signs, 1.0]) @ first
        turns.append(turn if np.linalg.det(turn) > 0 else second.T @ np.diag([*signs, -1.0]) @ first)
    best, smallest = np.eye(4), np.inf
    for turn in turns:
        start = np.eye(4)
        start[:3, :3], start[:3, 3] = turn, b - turn @ a
        motion, there = closest_point_fit(moving_mm, fixed_mm, start, overlap=overlap)
        back = np.sort(cKDTree(moved_by(motion, moving_mm)).query(fixed_mm)[0])
        error = there + float(back[: max(1, int(overlap * len(back)))].mean())
        if error < smallest:
            best, smallest = motion, error
    return best


@dataclass(frozen=True, eq=False)
class Drift:
    """A smooth deformation: x -> x + sum over centres of G(x, centre) * weight.

    Attributes:
        centres_mm: (m, 3) points that were moved.
        weights_mm: (m, 3).
        width_mm: of the Gaussian G.
        variance_mm2: what is left between the two clouds, per axis.
        iterations: taken.
    """

    centres_mm: NDArray[np.float64]
    weights_mm: NDArray[np.float64]
    width_mm: float
    variance_mm2: float
    iterations: int

    def __call__(self, points_mm: NDArray) -> NDArray[np.float64]:
        """Points (n, 3) after the deformation."""
        kernel = np.exp(-cdist(points_mm, self.centres_mm, "sqeuclidean") / (2 * self.width_mm**2))
        return np.asarray(points_mm + kernel @ self.weights_mm)


def coherent_point_drift(
    moving_mm: NDArray,
    fixed_mm: NDArray,
    *,
    width_mm: float = 20.0,
    stiffness: float = 2.0,
    outliers: float = 0.05,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> Drift:
    """Deform a cloud (m, 3) smoothly onto another (n, 3).

    The points of one cloud are the centres of a Gaussian mixture that is to explain the other; they
    move coherently, as far as a Gaussian kernel of `width_mm` lets neighbours differ. Memory and
    time grow with m n and m^3: about a thousand points each are meant.

    Args:
        stiffness: the paper's lambda, weight of the smoothness.
        outliers: the paper's w, share of the fixed points that no centre explains.
    """
    x, y = np.asarray(fixed_mm, float), np.asarray(moving_mm, float)
    if min(len(x), len(y)) < 4:
        raise DataError(f"clouds of {len(y)} and {len(x)} points; a deformation needs four points at least")
    kernel = np.exp(-cdist(y, y, "sqeuclidean") / (2 * width_mm**2))
    moved, weights = y.copy(), np.zeros_like(y)
    variance = float(cdist(y, x, "sqeuclidean").mean() / 3)
    volume = float(np.prod(np.ptp(x, axis=0) + 1e-9))
    done = 0
    while done < iterations:
        done += 1
        likely = np.exp(-cdist(moved, x, "sqeuclidean") / (2 * variance))  # (m, n)
        spread = (2 * np.pi * variance) ** 1.5 * outliers / (1 - outliers) * len(y) / volume
        likely /= likely.sum(axis=0) + spread
        mass, px = likely.sum(axis=1), likely @ x
        total = float(mass.sum())
        weights = np.linalg.solve(
            mass[:, None] * kernel + stiffness * variance * np.eye(len(y)), px - mass[:, None] * y
        )
        moved = y + kernel @ weights
        before = variance
        inside = float((likely.sum(axis=0) * (x**2).sum(axis=1)).sum())
        variance = (inside - 2 * float((px * moved).sum()) + float((mass * (moved**2).sum(axis=1)).sum())) / (3 * total)
        variance = max(variance, 1e-6)
        if abs(before - variance) < tolerance * before:
            break
    return Drift(y, weights, width_mm, variance, done)
