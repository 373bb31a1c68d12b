"""The voxels inside a closed surface, on any grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh

# Columns of voxel centres are moved by this share of a voxel, so that none meets a mesh edge exactly.
OFF_EDGE = (1.234e-5, 2.718e-5)


def inside(mesh: Mesh, grid: Grid) -> NDArray[np.bool_]:
    """Whether each voxel centre lies inside a closed mesh, shape of `grid` (i, j, k).

    A column of voxels along k is crossed by the surface at certain heights; a centre with an odd
    number of crossings below it is inside.
    """
    points = grid.to_index(mesh.vertices_mm) - (*OFF_EDGE, 0.0)
    triangle, column = _columns_met(points[mesh.faces][:, :, :2], grid.shape)
    corners = points[mesh.faces[triangle]]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v = b - a, c - a
    offset = column - a[:, :2]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        s = (offset[:, 0] * v[:, 1] - offset[:, 1] * v[:, 0]) / area
        t = (u[:, 0] * offset[:, 1] - u[:, 1] * offset[:, 0]) / area
        hit = (s >= 0) & (t >= 0) & (s + t <= 1)  # an upright triangle (no area) hits nothing
    height = a[hit, 2] + s[hit] * u[hit, 2] + t[hit] * v[hit, 2]
    first_above = np.clip(np.ceil(height), 0, grid.shape[2]).astype(np.int64)
    crossings = np.zeros((grid.shape[0], grid.shape[1], grid.shape[2] + 1), dtype=np.int32)
    np.add.at(crossings, (column[hit, 0], column[hit, 1], first_above), 1)
    return np.cumsum(crossings[:, :, :-1], axis=2) % 2 == 1


def _columns_met(
    corners: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(triangle, column) pairs whose column (i, j) lies in the triangle's box; (n,) and (n, 2)."""
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), np.array(shape[:2]) - 1).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    count = size[:, 0] * size[:, 1]
    triangle = np.repeat(np.arange(len(corners)), count)
    place = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    row, col = np.divmod(place, np.maximum(size[triangle, 1], 1))
    return triangle, low[triangle] + np.column_stack([row, col])
