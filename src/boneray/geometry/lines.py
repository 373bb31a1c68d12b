"""Straight lines and the angles between directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Line:
    """A point on the line (RAS mm) and its unit direction, each (3,)."""

    point_mm: NDArray[np.float64]
    direction: NDArray[np.float64]

    def at(self, distance_mm: float) -> NDArray[np.float64]:
        """The point `distance_mm` along the direction."""
        return self.point_mm + distance_mm * self.direction

    def along_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Signed distance along the line of the feet of points (..., 3)."""
        return (np.asarray(points_mm, dtype=float) - self.point_mm) @ self.direction

    def distance_mm(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Distance of points (..., 3) from the line."""
        offset = np.asarray(points_mm, dtype=float) - self.point_mm
        return np.linalg.norm(offset - np.multiply.outer(offset @ self.direction, self.direction), axis=-1)


def fit_line(points_mm: ArrayLike, weights: ArrayLike | None = None, *, toward: ArrayLike) -> Line:
    """The line through points (n, 3) with the least (weighted) squared distance, pointed at `toward`.

    The sign comes from `toward`, a point in RAS mm, never from the points themselves.
    """
    points = np.asarray(points_mm, dtype=float)
    share = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float)
    centre = share @ points / share.sum()
    offset = points - centre
    direction = np.linalg.eigh((offset * share[:, None]).T @ offset)[1][:, -1]
    if direction @ (np.asarray(toward, dtype=float) - centre) < 0:
        direction = -direction
    return Line(centre, direction)


def unit(vector: ArrayLike) -> NDArray[np.float64]:
    """The vector (3,) scaled to length 1."""
    values = np.asarray(vector, dtype=float)
    return values / np.linalg.norm(values)


def angle_deg(first: ArrayLike, second: ArrayLike) -> float:
    """Angle between two directions, 0..180."""
    a, b = unit(first), unit(second)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def axis_angle_deg(first: ArrayLike, second: ArrayLike) -> float:
    """Acute angle between two axes without sign, 0..90."""
    angle = angle_deg(first, second)
    return min(angle, 180.0 - angle)
