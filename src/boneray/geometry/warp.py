"""A body in another pose, size and shape: where each of its points was before.

The bend is a uniform cubic B-spline of displacements (Rueckert et al., IEEE TMI 18:712, 1999). It cannot fold while
no coefficient exceeds 1/2.48 of the distance between knots (Choi and Lee, Graphical Models 62:411, 2000), and the
rotation, the scale and the shift cannot fold at all, so every warp made here can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume

FOLDING = 2.48  # knots' distance over the largest coefficient at which a cubic B-spline may fold
EDGE_KNOTS = 2  # around the region, so that every point has its 4 knots along each axis


@dataclass(frozen=True)
class Warp:
    """old point = matrix @ (new point + bend(new point)) + shift_mm, all in RAS mm.

    Attributes:
        matrix: (3, 3), old from new.
        shift_mm: (3,).
        bend_mm: (a, b, c, 3) B-spline coefficients, or None for no bend.
        first_knot_mm, knot_mm: place of the first knot and the distance of knots; the lattice
            lies along the world axes and its displacement ends with it.
    """

    matrix: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    bend_mm: NDArray[np.float64] | None = None
    first_knot_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    knot_mm: float = 1.0

    def __post_init__(self) -> None:
        if not np.linalg.det(self.matrix) > 0:
            raise GeometryError("a warp must not mirror or flatten the body; its matrix has no positive determinant")
        if self.bend_mm is not None and np.abs(self.bend_mm).max(initial=0.0) * FOLDING >= self.knot_mm:
            raise GeometryError(
                f"a bend of {np.abs(self.bend_mm).max():.1f} mm with knots every {self.knot_mm:.1f} mm may fold the "
                f"body; keep it below {self.knot_mm / FOLDING:.1f} mm"
            )

    def bend(self, new_mm: ArrayLike) -> NDArray[np.float64]:
        """Displacement of new points (..., 3), mm."""
        points = np.asarray(new_mm, dtype=float)
        if self.bend_mm is None:
            return np.zeros_like(points)
        place = ((points - self.first_knot_mm) / self.knot_mm).reshape(-1, 3).T
        moved = [
            ndimage.map_coordinates(self.bend_mm[..., axis], place, order=3, mode="grid-constant", prefilter=False)
            for axis in range(3)
        ]
        return np.stack(moved, axis=-1).reshape(points.shape)

    def old_from_new(self, new_mm: ArrayLike) -> NDArray[np.float64]:
        """Where new points (..., 3) were before."""
        points = np.asarray(new_mm, dtype=float)
        return np.asarray((points + self.bend(points)) @ self.matrix.T + self.shift_mm)

    def new_from_old(self, old_mm: ArrayLike, steps: int = 60) -> NDArray[np.float64]:
        """Where old points (..., 3) have gone: the inverse, by fixed-point steps that contract."""
        unbent = (np.asarray(old_mm, dtype=float) - self.shift_mm) @ np.linalg.inv(self.matrix).T
        points = unbent
        for _ in range(steps if self.bend_mm is not None else 0):
            points = unbent - self.bend(points)
        return np.asarray(points)


def similarity(
    rotation: ArrayLike, *, scale: float = 1.0, shift_mm: ArrayLike = (0, 0, 0), centre_mm: ArrayLike = (0, 0, 0)
) -> Warp:
    """The warp of a body that is turned and scaled about `centre_mm` and then shifted."""
    matrix = np.asarray(rotation, dtype=float).T / scale
    centre = np.asarray(centre_mm, dtype=float)
    return Warp(matrix, centre - matrix @ (centre + np.asarray(shift_mm, dtype=float)))


def bent(warp: Warp, rng: np.random.Generator, *, region: Grid, knot_mm: float, most_mm: float) -> Warp:
    """The same warp with a random smooth bend over a region: coefficients uniform within +-`most_mm`."""
    corners = region.to_world(np.array(np.meshgrid(*[(0, n - 1) for n in region.shape])).reshape(3, -1).T)
    low, high = corners.min(0), corners.max(0)
    inner = np.maximum(1, np.ceil((high - low) / knot_mm).astype(int))
    count = inner + 1 + 2 * EDGE_KNOTS
    first = (low + high) / 2 - knot_mm * (count - 1) / 2
    x, y, z = first.tolist()
    return Warp(warp.matrix, warp.shift_mm, rng.uniform(-most_mm, most_mm, (*count, 3)), (x, y, z), knot_mm)


def warped_volume(volume: Volume, warp: Warp, grid: Grid | None = None) -> Volume:
    """The volume after the warp on `grid` (default: its own), linear, same type.

    Beyond the field of view the outermost voxels go on: a body that is cut by a face stays a body.
    """
    target = grid or volume.grid
    out = np.empty(target.shape, volume.data.dtype)
    whole = np.issubdtype(out.dtype, np.integer)
    for i, index in _source_index(warp, volume.grid, target):
        _sample(volume.data, index, out[i], whole)
    return Volume(out, target)


def warped_labels(labels: LabelMap, warp: Warp, grid: Grid | None = None) -> LabelMap:
    """The bones after the warp on `grid` (default: their own); ids are never mixed.

    The rule is that of `resample_labels`: bone where bones together fill at least half of a voxel's
    linear neighbourhood, and of them the one with the largest share, the lowest id among equals.
    Beyond the field of view the outermost voxels go on.
    """
    target = grid or labels.grid
    out = np.zeros(target.shape, labels.data.dtype)
    for i, index in _source_index(warp, labels.grid, target):
        _elect(labels.data, index, out[i])
    return LabelMap(out, target)


def _source_index(warp: Warp, source: Grid, target: Grid) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """(i, source voxel indices (J, K, 3)) of every layer i of the target grid."""
    affine = source.voxel_from_world
    whole = affine[:3, :3] @ warp.matrix
    offset = affine[:3, :3] @ warp.shift_mm + affine[:3, 3]
    j, k = np.meshgrid(*(np.arange(n, dtype=float) for n in target.shape[1:]), indexing="ij")
    bend = warp.bend_mm
    aligned = np.allclose(target.direction_matrix, np.eye(3), atol=1e-9)
    taps = [_taps(warp, target, axis) for axis in range(3)] if aligned and bend is not None else []
    for i in range(target.shape[0]):
        points = target.to_world(np.stack([np.full_like(j, i), j, k], axis=-1))
        if taps and bend is not None:
            first, weights = taps[0]
            layer = np.einsum("a,abcd->bcd", weights[i], bend[first[i] : first[i] + 4])
            _add_bend(points, layer, *taps[1], *taps[2])
        elif bend is not None:
            points += warp.bend(points)
        _map(points, whole, offset)
        yield i, points


def _taps(warp: Warp, grid: Grid, axis: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First of the 4 knots that bend each voxel along one axis of an aligned grid, and their weights (voxels, 4)."""
    assert warp.bend_mm is not None
    places = grid.origin_mm[axis] + grid.spacing_mm[axis] * np.arange(grid.shape[axis])
    index = (places - warp.first_knot_mm[axis]) / warp.knot_mm
    count = warp.bend_mm.shape[axis]
    first = np.clip(np.floor(index).astype(np.int64) - 1, 0, count - 4)
    away = np.abs(index[:, None] - (first[:, None] + np.arange(4)))
    near, far = 2.0 / 3.0 - away**2 + away**3 / 2.0, np.maximum(2.0 - away, 0.0) ** 3 / 6.0
    return first, np.where(away < 1.0, near, far)


@njit(cache=True, nogil=True)
def _add_bend(
    points: NDArray, layer: NDArray, first_j: NDArray, weights_j: NDArray, first_k: NDArray, weights_k: NDArray
) -> None:
    """Add the displacement of one layer, whose coefficients (b, c, 3) are left, to its points (J, K, 3)."""
    line = np.empty((layer.shape[1], 3))
    for j in range(points.shape[0]):
        line[:] = 0.0
        for tap in range(4):
            for c in range(layer.shape[1]):
                for axis in range(3):
                    line[c, axis] += weights_j[j, tap] * layer[first_j[j] + tap, c, axis]
        for k in range(points.shape[1]):
            for tap in range(4):
                for axis in range(3):
                    points[j, k, axis] += weights_k[k, tap] * line[first_k[k] + tap, axis]


@njit(cache=True, nogil=True)
def _map(points: NDArray, matrix: NDArray, offset: NDArray) -> None:
    """points <- matrix @ point + offset, in place."""
    for j in range(points.shape[0]):
        for k in range(points.shape[1]):
            x, y, z = points[j, k, 0], points[j, k, 1], points[j, k, 2]
            for axis in range(3):
                points[j, k, axis] = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z + offset[axis]


@njit(cache=True, nogil=True)
def _sample(source: NDArray, index: NDArray, out: NDArray, whole: bool) -> None:
    """Linear values at the indices (J, K, 3), clamped to the source."""
    n0, n1, n2 = source.shape
    for j in range(out.shape[0]):
        for k in range(out.shape[1]):
            x = min(max(index[j, k, 0], 0.0), n0 - 1.0)
            y = min(max(index[j, k, 1], 0.0), n1 - 1.0)
            z = min(max(index[j, k, 2], 0.0), n2 - 1.0)
            a, b, c = min(int(x), max(n0 - 2, 0)), min(int(y), max(n1 - 2, 0)), min(int(z), max(n2 - 2, 0))
            u, v, w = x - a, y - b, z - c
            total = 0.0
            for p in range(2):
                for q in range(2):
                    side = (u if p else 1.0 - u) * (v if q else 1.0 - v)
                    if side == 0.0:
                        continue
                    value = (1.0 - w) * source[a + p, b + q, c]
                    if w > 0.0:
                        value += w * source[a + p, b + q, c + 1]
                    total += side * value
            out[j, k] = round(total) if whole else total


@njit(cache=True, nogil=True)
def _elect(source: NDArray, index: NDArray, out: NDArray) -> None:
    """The bone with the largest share of the eight voxels around each index (J, K, 3), where bone fills a half."""
    n0, n1, n2 = source.shape
    ids = np.zeros(8, np.int64)
    shares = np.zeros(8, np.float64)
    for j in range(out.shape[0]):
        for k in range(out.shape[1]):
            x = min(max(index[j, k, 0], 0.0), n0 - 1.0)
            y = min(max(index[j, k, 1], 0.0), n1 - 1.0)
            z = min(max(index[j, k, 2], 0.0), n2 - 1.0)
            a, b, c = min(int(x), max(n0 - 2, 0)), min(int(y), max(n1 - 2, 0)), min(int(z), max(n2 - 2, 0))
            u, v, w = x - a, y - b, z - c
            count = 0
            total = 0.0
            for p in range(2):
                for q in range(2):
                    for r in range(2):
                        share = (u if p else 1.0 - u) * (v if q else 1.0 - v) * (w if r else 1.0 - w)
                        if share == 0.0:
                            continue
                        found = source[a + p, b + q, c + r]
                        if found == 0:
                            continue
                        total += share
                        at = 0
                        while at < count and ids[at] != found:
                            at += 1
                        if at == count:
                            ids[at] = found
                            shares[at] = 0.0
                            count += 1
                        shares[at] += share
            if total < 0.5 - 1e-6:
                continue
            best = 0
            for at in range(1, count):
                if shares[at] > shares[best] or (shares[at] == shares[best] and ids[at] < ids[best]):
                    best = at
            out[j, k] = ids[best]
