"""Closed outlines in a plane: polygons (n, 2) in mm whose last corner joins the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Polygon = NDArray[np.float64]


def area_mm2(polygon: Polygon) -> float:
    """Enclosed area; positive for counter-clockwise corners."""
    x, y = (polygon - polygon.mean(axis=0)).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def centroid_mm(polygon: Polygon) -> NDArray[np.float64]:
    """Centroid of the enclosed area, (2,)."""
    return _moments(polygon)[0]


def principal_axes(polygon: Polygon) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances of the enclosed area along its principal axes, mm2, largest first (2,), and the axes as rows (2, 2)."""
    variances, axes = np.linalg.eigh(_moments(polygon)[1])
    return variances[::-1], axes.T[::-1]


def contains(polygon: Polygon, point: NDArray[np.float64]) -> bool:
    """True if a point (2,) lies inside."""
    x, y = (polygon - point).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    crosses = (y > 0) != (next_y > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x - y * (next_x - x) / (next_y - y) > 0
    return bool(np.count_nonzero(crosses & right) % 2)


def resampled(polygon: Polygon, step_mm: float) -> Polygon:
    """Points about `step_mm` apart along the outline, corners not kept."""
    closed = np.vstack([polygon, polygon[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0.0, along[-1], max(3, round(along[-1] / step_mm)), endpoint=False)
    return np.column_stack([np.interp(at, along, closed[:, 0]), np.interp(at, along, closed[:, 1])])


def edges_mm(polygon: Polygon) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Middles (n, 2), outward unit normals (n, 2) and lengths (n,) of the edges of a counter-clockwise polygon."""
    step = np.roll(polygon, -1, axis=0) - polygon
    length = np.linalg.norm(step, axis=1)
    normal = np.column_stack([step[:, 1], -step[:, 0]]) / np.maximum(length, 1e-12)[:, None]
    return polygon + step / 2, normal, length


def nearest_pair(first: Polygon, second: Polygon, step_mm: float = 0.25) -> tuple[float, Polygon]:
    """The least distance between two outlines in mm, and the points of first and second that have it, (2, 2)."""
    a, b = resampled(first, step_mm), resampled(second, step_mm)
    distance, index = cKDTree(b).query(a)
    best = int(distance.argmin())
    return float(distance[best]), np.stack([a[best], b[index[best]]])


def box_direction(polygon: Polygon) -> NDArray[np.float64]:
    """Unit direction (2,) of one side of the smallest rectangle about an outline, to half a degree."""
    angles = np.deg2rad(np.arange(0.0, 90.0, 0.5))
    along = np.stack([np.cos(angles), np.sin(angles)])
    across = np.stack([-np.sin(angles), np.cos(angles)])
    areas = np.ptp(polygon @ along, axis=0) * np.ptp(polygon @ across, axis=0)
    return along[:, int(areas.argmin())]


def _moments(polygon: Polygon) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid (2,) and covariance (2, 2) of the enclosed area."""
    middle = polygon.mean(axis=0)
    p = polygon - middle
    q = np.roll(p, -1, axis=0)
    cross = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    twice = float(cross.sum())
    if abs(twice) < 1e-9:
        return middle, np.zeros((2, 2))
    centre = (cross[:, None] * (p + q)).sum(axis=0) / (3 * twice)
    # integral of x x^T over the triangle (0, p, q): area / 12 * (p p^T + q q^T + (p + q)(p + q)^T)
    second = sum((cross[:, None] * v).T @ v for v in (p, q, p + q))
    covariance = second / (12 * twice) - np.outer(centre, centre)
    return middle + centre, covariance
