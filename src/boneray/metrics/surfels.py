"""Surface elements of voxel masks and their areas.

A surface element (surfel) sits where eight voxels meet, on the grid shifted by half a voxel. The
eight voxels give it a code; the code gives it the area of the surface that separates bone from
background there. Voxels beyond the grid are background.

Source: Nikolov et al. 2021, doi:10.2196/26151 (surface Dice); Lorensen and Cline 1987 (the
polygons). The table of areas is made here from the geometry, not taken over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from boneray.metrics import kernels
from boneray.metrics.counts import ClassCounts, PackedLabels

CORNERS = tuple(product((0, 1), repeat=3))
EDGES = tuple((a, b) for a in range(8) for b in range(a) if sum(abs(np.subtract(CORNERS[a], CORNERS[b]))) == 1)


@dataclass(frozen=True, eq=False)
class Surfels:
    """The surface elements of all classes of one label map, class by class, each in raster order.

    Attributes:
        starts: class n (by rank in its `ClassCounts`) has the elements starts[n] to starts[n + 1].
        points: where the eight voxels meet, (n, 3): voxels p - 1 and p lie around point p.
        codes: bit n is set if the voxel at corner n of `CORNERS` (0 before the point, 1 behind it)
            is of the class, (n,).
    """

    starts: NDArray[np.int64]
    points: NDArray[np.int32]
    codes: NDArray[np.uint8]

    def of(self, rank: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Points and codes of one class."""
        part = slice(self.starts[rank], self.starts[rank + 1])
        return self.points[part], self.codes[part]


def surfels(labels: PackedLabels, counts: ClassCounts, side: int) -> Surfels:
    """The surface elements of all classes of a label map in one pass; `side` is its side in `counts`."""
    rank_of = np.zeros(int(counts.ids[-1]) + 1, np.int32)
    rank_of[counts.ids] = np.arange(len(counts.ids))
    extents = counts.word_extents[side]
    return Surfels(*kernels.surface_elements(labels.words, labels.bits, extents, rank_of, len(counts.ids)))


@lru_cache(maxsize=64)
def surfel_areas_mm2(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area of the surface element of each of the 256 codes; 0 for all bone and for no bone.

    The surface passes through the middles of the cube edges that join bone to background. The
    smaller side (bone on a tie) is split into the parts that edges connect; each part is the
    convex body of its corners and the middles around it, and its area is that of the facets
    inside the cube (a hexagon of six middles is cut by `_hexagon_triangles`).
    """
    areas = np.array([_code_area_mm2(code, np.array(spacing_mm)) for code in range(256)])
    areas.setflags(write=False)
    return areas


def _code_area_mm2(code: int, spacing_mm: NDArray[np.float64]) -> float:
    corners = {n for n in range(8) if code >> n & 1}
    if len(corners) > 4:
        corners = set(range(8)) - corners
    return sum(_part_area_mm2(part, spacing_mm) for part in _connected(corners))


def _connected(corners: set[int]) -> list[set[int]]:
    """The corners in groups joined by cube edges."""
    groups: list[set[int]] = []
    for corner in sorted(corners):
        touching = [g for g in groups if any({a, b} <= g | {corner} and corner in (a, b) for a, b in EDGES)]
        groups = [g for g in groups if g not in touching] + [{corner}.union(*touching)]
    return groups


def _part_area_mm2(part: set[int], spacing_mm: NDArray[np.float64]) -> float:
    cut = [edge for edge in EDGES if (edge[0] in part) != (edge[1] in part)]
    middles = [np.add(CORNERS[a], CORNERS[b]) / 2 for a, b in cut]
    if len(cut) == 6:
        triangles = np.array(_hexagon_triangles(cut, middles))
    else:
        triangles = _inner_facets(np.array([CORNERS[n] for n in sorted(part)] + middles, dtype=float))
    a, b, c = (triangles[:, i] * spacing_mm for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def _inner_facets(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Triangles (n, 3, 3) of the convex hull of `points` that do not lie on a face of the unit cube."""
    triangles = points[ConvexHull(points).simplices]
    flat = (np.ptp(triangles, axis=1) == 0) & np.isin(triangles[:, 0], (0.0, 1.0))
    return triangles[~flat.any(axis=1)]


def _hexagon_triangles(cut: list[tuple[int, int]], middles: list[NDArray]) -> list[list[NDArray]]:
    """Four triangles of the hexagon through six cut edges: every second vertex, and the three ears between.

    The hexagon of a chain of four corners is not plane, so the way it is cut matters; this one
    gives the areas of Nikolov et al.
    """
    loop = [0]
    while len(loop) < 6:
        loop.append(next(n for n in range(6) if n not in loop and _share_face(cut[loop[-1]], cut[n])))
    p = [middles[n] for n in loop]
    return [[p[0], p[2], p[4]], [p[0], p[1], p[2]], [p[2], p[3], p[4]], [p[4], p[5], p[0]]]


def _share_face(first: tuple[int, int], second: tuple[int, int]) -> bool:
    corners = np.array([CORNERS[n] for n in (*first, *second)])
    return bool((np.ptp(corners, axis=0) == 0).any())
