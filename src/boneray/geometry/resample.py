"""Volumes and label maps on another grid. Intensities are linear; labels compete by occupancy."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.boxes import Box, bone_boxes

COARSER = 1.5
STRAIGHT = 1e-3  # voxels by which grids along each other may drift apart at the far end
SHEET = 2048  # sums that stay in the fast cache


def resample_volume(volume: Volume, grid: Grid, *, fill: float) -> Volume:
    """The volume on `grid`, linear, same type; `fill` outside the field of view.

    Along axes that become more than 1.5 times coarser it is smoothed first against aliasing.
    The field of view ends half a voxel beyond the outer voxel centres.
    """
    if volume.grid.matches(grid):
        return Volume(volume.data.copy(), grid)
    sigma = _antialias_sigma(volume.grid, grid)
    box = _box_under(volume.grid, grid, _margin(sigma))
    whole = tuple(slice(0, n) for n in grid.shape)
    values, inside = _sampled(volume.data[box], box, whole, volume.grid, grid, sigma)
    return Volume(_cast(np.where(inside, values, fill), volume.data.dtype), grid)


def resample_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """The bones on `grid`; ids are never mixed.

    Each bone's share of a voxel is interpolated on its own, inside its own box. A voxel is bone
    where all bones together fill at least half of it, and then belongs to the one with the
    largest share (the lowest id among equals), so that touching bones stay in touch.
    """
    if labels.grid.matches(grid):
        return LabelMap(labels.data.copy(), grid)
    best = np.zeros(grid.shape, dtype=np.float32)
    total = np.zeros(grid.shape, dtype=np.float32)
    winner = np.zeros(grid.shape, dtype=labels.data.dtype)
    sigma = _antialias_sigma(labels.grid, grid)
    margin = _margin(sigma)
    for bone_id, tight in bone_boxes(labels).items():
        box = tuple(
            slice(max(s.start - m, 0), min(s.stop + m, n))
            for s, m, n in zip(tight, margin, labels.grid.shape, strict=True)
        )
        target = _target_box(labels.grid, grid, box)
        if any(s.stop <= s.start for s in target):
            continue
        share, inside = _sampled((labels.data[box] == bone_id).view(np.uint8), box, target, labels.grid, grid, sigma)
        share = np.where(inside, share, 0.0)
        total[target] += share
        wins = share > best[target]
        best[target][wins] = share[wins]
        winner[target][wins] = bone_id
    winner[total < 0.5 - 1e-6] = 0
    return LabelMap(winner, grid)


def nearest_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """The label of the nearest voxel at every voxel centre of `grid`; 0 beyond the field of view.

    Exact where `grid` holds the same voxels in another axis order. To make a coarser map use
    `resample_labels`, which does not lose thin bones by chance.
    """
    matrix, offset = _index_map(labels.grid, grid)
    values = ndimage.affine_transform(
        np.pad(labels.data, 1),
        matrix,
        offset + 1,
        output_shape=grid.shape,
        order=0,
        mode="constant",
        prefilter=False,
    )
    return LabelMap(values.astype(labels.data.dtype), grid)


def _index_map(source: Grid, target: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(matrix, offset): source voxel index = matrix @ target voxel index + offset."""
    affine = source.voxel_from_world @ target.world_from_voxel
    return affine[:3, :3], affine[:3, 3]


def _antialias_sigma(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Gaussian sigma in source voxels along each source axis; 0 where the target is not coarser."""
    step = np.abs(_index_map(source, target)[0]).max(axis=1)
    return np.where(step > COARSER, (step - 1) / 2, 0.0)


def _margin(sigma: NDArray[np.float64]) -> list[int]:
    return [int(np.ceil(4 * s)) + 2 for s in sigma]


def _box_under(source: Grid, target: Grid, margin: list[int]) -> Box:
    """The part of the source that the target can see, at least one voxel thick."""
    matrix, offset = _index_map(source, target)
    low, high = _corner_range(matrix, offset, np.zeros(3), np.array(target.shape) - 1.0)
    start = [int(np.clip(np.floor(a) - m, 0, n - 1)) for a, m, n in zip(low, margin, source.shape, strict=True)]
    stop = [
        int(np.clip(np.ceil(b) + m + 1, s + 1, n)) for b, m, s, n in zip(high, margin, start, source.shape, strict=True)
    ]
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def _target_box(source: Grid, target: Grid, box: Box) -> Box:
    """The target voxels whose centres can fall into a box of the source."""
    matrix, offset = _index_map(target, source)
    low, high = _corner_range(
        matrix, offset, np.array([s.start - 0.5 for s in box]), np.array([s.stop - 0.5 for s in box])
    )
    return tuple(
        slice(max(int(np.floor(a)), 0), min(int(np.ceil(b)) + 1, n))
        for a, b, n in zip(low, high, target.shape, strict=True)
    )


def _corner_range(
    matrix: NDArray[np.float64], offset: NDArray[np.float64], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    corners = np.stack(np.meshgrid(*zip(start, stop, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    mapped = corners @ matrix.T + offset
    return mapped.min(axis=0), mapped.max(axis=0)


def _sampled(
    source: NDArray,
    box: Box,
    target_box: Box,
    source_grid: Grid,
    target_grid: Grid,
    sigma: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Linear values of `source` (the voxels of `box`) in `target_box`, and where they lie in the field of view."""
    matrix, offset = _index_map(source_grid, target_grid)
    first = np.array([s.start for s in target_box])
    shape = tuple(s.stop - s.start for s in target_box)
    begin = matrix @ first + offset
    within = begin - [s.start for s in box]
    if np.abs(matrix - np.diag(np.diag(matrix))).max() * max(shape) < STRAIGHT:
        values = _along_axes(source, np.diag(matrix), within, shape, sigma)
    else:
        smooth = source.astype(np.float32)
        if sigma.any():
            smooth = ndimage.gaussian_filter(smooth, sigma, mode="nearest")
        values = ndimage.affine_transform(smooth, matrix, within, output_shape=shape, order=1, mode="nearest")
    inside = np.ones(shape, dtype=bool)
    i, j, k = np.ogrid[tuple(slice(0, n) for n in shape)]
    for axis, n in enumerate(source_grid.shape):
        index = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + begin[axis]
        inside &= (index >= -0.5 - 1e-6) & (index <= n - 0.5 + 1e-6)
    return values, inside


def _along_axes(
    source: NDArray,
    step: NDArray[np.float64],
    begin: NDArray[np.float64],
    shape: tuple[int, ...],
    sigma: NDArray[np.float64],
) -> NDArray[np.float32]:
    """What smoothing and linear sampling give where the axes of both grids run along each other, axis by axis.

    Only the voxels that are asked for are smoothed, and the axis that shrinks most goes first.
    """
    values = source
    for axis in np.argsort([new / old for new, old in zip(shape, source.shape, strict=True)], kind="stable"):
        taps, weights = _taps(source.shape[axis], shape[axis], step[axis], begin[axis], sigma[axis])
        before, after = values.shape[:axis], values.shape[axis + 1 :]
        folded = np.ascontiguousarray(values).reshape(int(np.prod(before)), source.shape[axis], int(np.prod(after)))
        out = np.empty((folded.shape[0], shape[axis], folded.shape[2]), np.float32)
        (_weigh_lines if folded.shape[2] == 1 else _weigh_sheets)(folded, taps, weights, out)
        values = out.reshape(*before, shape[axis], *after)
    return values


def _taps(old: int, new: int, step: float, begin: float, sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First source voxel and weights of every target voxel along one axis, (new,) and (new, taps).

    A Gaussian cut at 4 sigma and normalised, then linear interpolation; what lies outside repeats the outermost voxel.
    """
    radius = int(4.0 * sigma + 0.5)
    kernel = np.ones(1)
    if radius:
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
    place = np.clip(begin + step * np.arange(new), 0.0, old - 1.0)
    lower = np.minimum(place.astype(np.int64), max(old - 2, 0))
    part = place - lower
    count = min(old, 2 * radius + 2)
    taps = np.clip(lower - radius, 0, old - count)
    weights = np.zeros((new, count))
    rows = np.arange(new)
    for t, share in enumerate(kernel):
        for shift, linear in ((0, 1.0 - part), (1, part)):
            voxel = np.clip(np.minimum(lower + shift, old - 1) + t - radius, 0, old - 1)
            np.add.at(weights, (rows, voxel - taps), share * linear)
    return taps, weights


@njit(cache=True, nogil=True)
def _weigh_sheets(source: NDArray, taps: NDArray, weights: NDArray, out: NDArray) -> None:
    """Weighted sums along the middle axis of (a, n, b) where b is long, a piece of b at a time."""
    total = np.empty(SHEET, np.float64)
    for a in range(source.shape[0]):
        for start in range(0, source.shape[2], SHEET):
            size = min(SHEET, source.shape[2] - start)
            for m in range(out.shape[1]):
                total[:size] = 0.0
                for t in range(weights.shape[1]):
                    weight = weights[m, t]
                    if weight == 0.0:
                        continue
                    row = source[a, taps[m] + t]
                    for b in range(size):
                        total[b] += weight * row[start + b]
                for b in range(size):
                    out[a, m, start + b] = total[b]


@njit(cache=True, nogil=True)
def _weigh_lines(source: NDArray, taps: NDArray, weights: NDArray, out: NDArray) -> None:
    """Weighted sums along lines (a, n, 1)."""
    for a in range(source.shape[0]):
        line = source[a, :, 0]
        for m in range(out.shape[1]):
            total = 0.0
            for t in range(weights.shape[1]):
                total += weights[m, t] * line[taps[m] + t]
            out[a, m, 0] = total


def _cast(values: NDArray, dtype: np.dtype) -> NDArray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)
