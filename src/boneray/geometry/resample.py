"""Volumes and label maps on another grid. Intensities are linear; labels compete by occupancy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.boxes import Box, bone_boxes

COARSER = 1.5


def resample_volume(volume: Volume, grid: Grid, *, fill: float) -> Volume:
    """The volume on `grid`, linear, same type; `fill` outside the field of view.

    Along axes that become more than 1.5 times coarser it is smoothed first against aliasing.
    The field of view ends half a voxel beyond the outer voxel centres.
    """
    if volume.grid.matches(grid):
        return Volume(volume.data.copy(), grid)
    sigma = _antialias_sigma(volume.grid, grid)
    box = _box_under(volume.grid, grid, _margin(sigma))
    source = volume.data[box].astype(np.float32)
    whole = tuple(slice(0, n) for n in grid.shape)
    values, inside = _sampled(source, box, whole, volume.grid, grid, sigma)
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
        share, inside = _sampled(
            (labels.data[box] == bone_id).astype(np.float32), box, target, labels.grid, grid, sigma
        )
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
    source: NDArray[np.float32],
    box: Box,
    target_box: Box,
    source_grid: Grid,
    target_grid: Grid,
    sigma: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Linear values of `source` (the voxels of `box`) in `target_box`, and where they lie in the field of view."""
    if sigma.any():
        source = ndimage.gaussian_filter(source, sigma, mode="nearest")
    matrix, offset = _index_map(source_grid, target_grid)
    first = np.array([s.start for s in target_box])
    shape = tuple(s.stop - s.start for s in target_box)
    begin = matrix @ first + offset
    values = ndimage.affine_transform(
        source, matrix, begin - [s.start for s in box], output_shape=shape, order=1, mode="nearest"
    )
    inside = np.ones(shape, dtype=bool)
    i, j, k = np.ogrid[tuple(slice(0, n) for n in shape)]
    for axis, n in enumerate(source_grid.shape):
        index = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + begin[axis]
        inside &= (index >= -0.5 - 1e-6) & (index <= n - 0.5 + 1e-6)
    return values, inside


def _cast(values: NDArray, dtype: np.dtype) -> NDArray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)
