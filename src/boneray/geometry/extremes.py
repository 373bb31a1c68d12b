"""The point of a surface that lies farthest in a direction, found with less than a voxel of error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.mesh import Mesh
from boneray.geometry.lines import unit

REACH_MM = 12.0
ROUNDS = 4


def vertex_areas_mm2(mesh: Mesh) -> NDArray[np.float64]:
    """Area of the surface that belongs to each vertex, a third of every triangle around it, (n,)."""
    share = np.repeat(mesh.face_areas_mm2 / 3.0, 3)
    areas = np.bincount(mesh.faces.ravel(), share, minlength=len(mesh.vertices_mm))
    return np.asarray(areas, dtype=np.float64)


def extreme_point(
    points_mm: NDArray[np.float64], weights: NDArray[np.float64], direction: ArrayLike, *, depth_mm: float
) -> NDArray[np.float64]:
    """The tip of weighted surface points (n, 3) in a direction, (3,).

    A single farthest vertex jumps along a flat crest with every change of the grid. The tip is
    instead the weighted middle of the points less than `depth_mm` below the farthest one, those
    nearest to it counting most, moved out again to the farthest level. Points more than 12 mm from
    the tip, such as a second summit, do not take part. No points give NaN.
    """
    if len(points_mm) == 0:
        return np.full(3, np.nan)
    axis = unit(direction)
    level = points_mm @ axis
    top = float(level.max())
    near = level > top - depth_mm
    summit, share = points_mm[near], weights[near] * (level[near] - top + depth_mm)
    tip = points_mm[int(level.argmax())]
    for _ in range(ROUNDS):
        within = np.linalg.norm(summit - tip, axis=1) <= REACH_MM
        total = share[within].sum()
        if total <= 0:
            break
        tip = share[within] @ summit[within] / total
    return tip + (top - tip @ axis) * axis
