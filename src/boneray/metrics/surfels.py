"""Surface elements of voxel masks, their areas and the distances between two surfaces.

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
from scipy.spatial import ConvexHull, cKDTree

CORNERS = tuple(product((0, 1), repeat=3))
EDGES = tuple((a, b) for a in range(8) for b in range(a) if sum(abs(np.subtract(CORNERS[a], CORNERS[b]))) == 1)


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances from the elements of each surface to the other surface, with the elements' areas.

    One side empty: its lists are empty and the other side's distances are inf. Both empty: all
    lists are empty.

    Attributes:
        reference_to_prediction_mm, prediction_to_reference_mm: ascending, (n,) and (m,).
        reference_areas_mm2, prediction_areas_mm2: areas in the same order.
    """

    reference_to_prediction_mm: NDArray[np.float64]
    reference_areas_mm2: NDArray[np.float64]
    prediction_to_reference_mm: NDArray[np.float64]
    prediction_areas_mm2: NDArray[np.float64]


def surface_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """Distances in mm between the surfaces of two masks (i, j, k) on one grid."""
    codes_reference, codes_prediction = surfel_codes(reference), surfel_codes(prediction)
    table = surfel_areas_mm2(tuple(float(s) for s in spacing_mm))
    areas_reference, areas_prediction = table[codes_reference], table[codes_prediction]
    surface_reference, surface_prediction = areas_reference > 0, areas_prediction > 0
    to_prediction = _nearest_mm(surface_reference, surface_prediction, spacing_mm)
    to_reference = _nearest_mm(surface_prediction, surface_reference, spacing_mm)
    return SurfaceDistances(
        *_ascending(to_prediction, areas_reference[surface_reference]),
        *_ascending(to_reference, areas_prediction[surface_prediction]),
    )


def surfel_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The code of every point where eight voxels meet, (i + 1, j + 1, k + 1).

    Bit n is set if the voxel at corner n of `CORNERS` (0 before the point, 1 behind it) is bone.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    ends = [n + 1 for n in mask.shape]
    codes = np.zeros(ends, dtype=np.uint8)
    for bit, (i, j, k) in enumerate(CORNERS):
        codes |= padded[i : i + ends[0], j : j + ends[1], k : k + ends[2]] << bit
    return codes


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


def _nearest_mm(
    surface: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Distance of every element of `surface` to the nearest of `other`; shared elements are 0 without a search."""
    shared = other[surface]
    distances = np.zeros(shared.size)
    away = ~shared
    if not away.any():
        return distances
    if not other.any():
        return np.full(shared.size, np.inf)
    scale = np.asarray(spacing_mm, dtype=float)
    tree = cKDTree(np.argwhere(other) * scale, leafsize=32, balanced_tree=False, compact_nodes=False)
    distances[away] = tree.query(np.argwhere(surface)[away] * scale)[0]
    return distances


def _ascending(
    distances: NDArray[np.float64], areas: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.argsort(distances, kind="stable")
    return distances[order], areas[order]
