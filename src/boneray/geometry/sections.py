"""Plane sections of a mesh: closed loops with area, perimeter and centroid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from boneray.core.mesh import Mesh
from boneray.geometry.lines import unit


@dataclass(frozen=True)
class Loop:
    """One closed outline in a section plane.

    Attributes:
        area_mm2: enclosed area; negative for the inner outline of a hollow.
        perimeter_mm: length of the outline.
        centroid_mm: centroid of the area, (3,) RAS mm.
    """

    area_mm2: float
    perimeter_mm: float
    centroid_mm: NDArray[np.float64]


def plane_section(mesh: Mesh, point_mm: ArrayLike, normal: ArrayLike) -> list[Loop]:
    """The closed loops in which the plane through `point_mm` cuts a mesh, largest area first.

    Loops that run into the edge of an open mesh are left out. No vertex lies exactly in the plane
    for this purpose: level vertices count as behind it.
    """
    direction = unit(normal)
    point = np.asarray(point_mm, dtype=float)
    edges, segments = _segments(mesh, (mesh.vertices_mm - point) @ direction)
    if len(segments) == 0:
        return []
    edge_ids, ends = np.unique(edges, axis=0, return_inverse=True)
    ends = ends.reshape(-1, 2)
    _, part_of_edge = connected_components(
        coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(edge_ids),) * 2), directed=False
    )
    part = part_of_edge[ends[:, 0]]
    count = int(part_of_edge.max()) + 1
    open_parts = np.zeros(count, dtype=bool)
    open_parts[part_of_edge[np.bincount(ends.ravel(), minlength=len(edge_ids)) != 2]] = True
    loops = _measured(segments - point, part, count, direction)
    closed = [Loop(a, p, c + point) for (a, p, c), is_open in zip(loops, open_parts, strict=True) if not is_open]
    return sorted(closed, key=lambda loop: -loop.area_mm2)


def _segments(mesh: Mesh, height: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut triangles as directed segments: the mesh edges of both ends (2 n, 2) and their points (n, 2, 3).

    Directions are such that the outline of a body with outward faces runs counter-clockwise about
    the normal.
    """
    above = height > 0
    cut = mesh.faces[(above[mesh.faces].sum(axis=1) % 3) > 0]
    side = above[cut]
    # Turn every triangle so that its lone vertex comes first; this keeps its orientation.
    lone = np.where(side.sum(axis=1) == 1, side.argmax(axis=1), (~side).argmax(axis=1))
    rows = np.arange(len(cut))
    tip, left, right = (cut[rows, (lone + n) % 3] for n in range(3))
    tip_above = above[tip][:, None]
    first = np.where(tip_above, np.column_stack([tip, left]), np.column_stack([tip, right]))
    second = np.where(tip_above, np.column_stack([tip, right]), np.column_stack([tip, left]))
    edges = np.stack([first, second], axis=1).reshape(-1, 2)
    a, b = edges[:, 0], edges[:, 1]
    share = (height[a] / (height[a] - height[b]))[:, None]
    points = mesh.vertices_mm[a] + share * (mesh.vertices_mm[b] - mesh.vertices_mm[a])
    return np.sort(edges, axis=1), points.reshape(-1, 2, 3)


def _measured(
    segments: NDArray[np.float64], part: NDArray[np.int32], count: int, normal: NDArray[np.float64]
) -> list[tuple[float, float, NDArray[np.float64]]]:
    """(area, perimeter, centroid) of every part, from sums over its directed segments."""
    start, stop = segments[:, 0], segments[:, 1]
    sizes = np.bincount(part, minlength=count)
    middle = np.column_stack([np.bincount(part, start[:, a], count) for a in range(3)]) / sizes[:, None]
    start, stop = start - middle[part], stop - middle[part]
    twice_area = np.cross(start, stop) @ normal
    area = np.bincount(part, twice_area, count) / 2
    perimeter = np.bincount(part, np.linalg.norm(stop - start, axis=1), count)
    moment = np.column_stack([np.bincount(part, twice_area * (start + stop)[:, a], count) / 6 for a in range(3)])
    safe = np.where(area == 0, 1.0, area)[:, None]
    centroid = middle + np.where(area[:, None] == 0, 0.0, moment / safe)
    return [(float(a), float(p), c) for a, p, c in zip(area, perimeter, centroid, strict=True)]


def section_outlines(mesh: Mesh, point_mm: ArrayLike, normal: ArrayLike) -> list[NDArray[np.float64]]:
    """The closed outlines of a plane section as polygons (n, 3) RAS mm, longest list of corners first.

    Corners follow the outline counter-clockwise about the normal around bone and clockwise around
    hollows; the first is not repeated. Outlines that run into the edge of an open mesh are left out.
    """
    direction = unit(normal)
    edges, segments = _segments(mesh, (mesh.vertices_mm - np.asarray(point_mm, dtype=float)) @ direction)
    if len(segments) == 0:
        return []
    _, ends = np.unique(edges, axis=0, return_inverse=True)
    ends = ends.reshape(-1, 2)
    follower = dict(zip(ends[:, 0].tolist(), range(len(ends)), strict=True))
    left = np.ones(len(ends), dtype=bool)
    outlines = []
    for first in range(len(ends)):
        walk, at = [], first
        while at >= 0 and left[at]:
            left[at] = False
            walk.append(at)
            at = follower.get(int(ends[at, 1]), -1)
        if len(walk) > 2 and at == first:
            outlines.append(segments[walk, 0])
    return sorted(outlines, key=len, reverse=True)
