"""Distances between two sets of lattice points: surface elements, or voxels of a boundary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from boneray.metrics import kernels
from boneray.metrics.surfels import Surfels, surfel_areas_mm2

NEAR = 4  # lattice steps within which every point is tried in turn
REACH = 24  # rows to search on each side after that; what is further away is left to a tree


@dataclass(frozen=True, eq=False)
class DirectedDistances:
    """Distances from the elements of one surface to the other surface, with the elements' areas.

    Without elements both lists are empty and all sums 0; without another surface all distances
    are inf.

    Attributes:
        distances_mm: in raster order, (n,).
        areas_mm2: areas in the same order.
        area_mm2: area of the surface.
        moment_mm3: sum of distance times area.
        largest_mm: largest distance.
        percentile_95_mm: the smallest distance within which 95 % of the area lies.
    """

    distances_mm: NDArray[np.float64]
    areas_mm2: NDArray[np.float64]
    area_mm2: float
    moment_mm3: float
    largest_mm: float
    percentile_95_mm: float

    def area_within_mm2(self, tolerance_mm: float) -> float:
        """Area of the elements that lie within `tolerance_mm` of the other surface."""
        return float(kernels.area_within(self.distances_mm, self.areas_mm2, tolerance_mm))


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Both directions; one side empty: its lists are empty and the other side's distances are inf."""

    reference_to_prediction: DirectedDistances
    prediction_to_reference: DirectedDistances

    @property
    def directed(self) -> tuple[DirectedDistances, DirectedDistances]:
        """From the reference, then from the prediction."""
        return self.reference_to_prediction, self.prediction_to_reference

    @property
    def area_mm2(self) -> float:
        """Area of both surfaces together."""
        return self.reference_to_prediction.area_mm2 + self.prediction_to_reference.area_mm2


def surface_distances(
    reference: Surfels, prediction: Surfels, spacing_mm: tuple[float, float, float]
) -> list[SurfaceDistances]:
    """Distances between the surfaces of every class, by rank; both sides rank their classes alike."""
    return [
        SurfaceDistances(first, second)
        for first, second in zip(
            _directed(reference, prediction, spacing_mm), _directed(prediction, reference, spacing_mm), strict=True
        )
    ]


def _directed(surface: Surfels, other: Surfels, spacing_mm: tuple[float, float, float]) -> Iterator[DirectedDistances]:
    distances, n_far = kernels.nearest_by_class(
        surface.points, surface.starts, other.points, other.starts, spacing_mm[2], *_search(spacing_mm)
    )
    ends = surface.starts.tolist()
    parts = [slice(a, b) for a, b in pairwise(ends)]
    if n_far:
        for rank, part in enumerate(parts):
            _ask_tree(surface.points[part], other.of(rank)[0], spacing_mm, distances[part])
    areas = surfel_areas_mm2(spacing_mm)[surface.codes]
    sums = kernels.summaries(distances, areas, surface.starts).tolist()
    return (DirectedDistances(distances[part], areas[part], *row) for part, row in zip(parts, sums, strict=True))


def nearest_mm(
    queries: NDArray[np.int32], targets: NDArray[np.int32], spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Distance of every query to the nearest target, (n,); inf without targets.

    Both are lattice points in raster order, (n, 3) and (m, 3).
    """
    distances = np.full(len(queries), np.inf)
    if len(targets) and len(queries):
        if kernels.nearest(queries, targets, spacing_mm[2], *_search(spacing_mm), distances):
            _ask_tree(queries, targets, spacing_mm, distances)
    return distances


def _ask_tree(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    spacing_mm: tuple[float, float, float],
    distances: NDArray[np.float64],
) -> None:
    """Fill in the distances that are still below 0."""
    far = distances < 0
    if far.any():
        scale = np.array(spacing_mm)
        tree = cKDTree(targets * scale, leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[far] = tree.query(queries[far] * scale)[0]


def _search(spacing_mm: tuple[float, float, float]) -> tuple[Any, ...]:
    """The order in which points and rows around a query are tried."""
    return (*offsets_by_distance(spacing_mm, NEAR), *offsets_by_distance(spacing_mm[:2], REACH), NEAR)


@lru_cache(maxsize=64)
def offsets_by_distance(edges_mm: tuple[float, ...], steps: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """All lattice points within `steps` times the shortest edge, the nearest first, and their squared distances."""
    limit_mm = steps * min(edges_mm)
    axes = [np.arange(-int(limit_mm / edge), int(limit_mm / edge) + 1) for edge in edges_mm]
    offsets = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    squared = ((offsets * np.array(edges_mm)) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= limit_mm**2]
    return offsets[order].astype(np.int32), squared[order]
