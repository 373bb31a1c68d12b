"""Voxel boxes around bones, so that work on one bone costs what the bone costs."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.grid import Grid
from boneray.core.volume import LabelMap

Box = tuple[slice, ...]

MOST_IDS = 10_000


def bone_boxes(labels: LabelMap) -> dict[int, Box]:
    """The tight box (i, j, k slices) of every bone id, ascending; background has none."""
    ids, low, high = _id_range(labels.data)
    ends = zip(ids.tolist(), low.tolist(), high.tolist(), strict=True)
    return {bone_id: tuple(map(slice, first, last)) for bone_id, first, last in ends}


def _id_range(data: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every id but 0 that occurs, ascending, (n,), its least index and one more than its greatest, (n, 3)."""
    if data.min(initial=0) >= 0 and data.max(initial=0) < MOST_IDS:
        low, high = _ranges(np.ascontiguousarray(data), int(data.max(initial=0)) + 1)
        ids = np.flatnonzero(high[:, 0])
        return ids, low[ids], high[ids]
    ids, ranks = np.unique(data, return_inverse=True)
    low, high = _ranges(ranks.reshape(data.shape) + 1, len(ids) + 1)
    kept = ids != 0
    return ids[kept], low[1:][kept], high[1:][kept]


@njit(cache=True, nogil=True)
def _ranges(data: NDArray, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and one more than the greatest index of every value below `count`, (count, 3); 0 is not looked for."""
    low = np.full((count, 3), np.iinfo(np.int64).max)
    high = np.zeros((count, 3), np.int64)
    for i in range(data.shape[0]):
        for j in range(data.shape[1]):
            line = data[i, j]
            last = 0
            for k in range(line.shape[0]):
                value = line[k]
                if value == 0:
                    last = 0
                    continue
                if value != last:  # a run begins
                    last = value
                    low[value, 0] = min(low[value, 0], i)
                    high[value, 0] = max(high[value, 0], i + 1)
                    low[value, 1] = min(low[value, 1], j)
                    high[value, 1] = max(high[value, 1], j + 1)
                    low[value, 2] = min(low[value, 2], k)
                high[value, 2] = max(high[value, 2], k + 1)
    return low, high


def cropped(labels: LabelMap, box: Box) -> LabelMap:
    """The part of a label map inside `box`, still in its place in the world."""
    data = labels.data[box]
    start = [s.start for s in box]
    grid = labels.grid
    return LabelMap(data, Grid(data.shape, grid.spacing_mm, tuple(grid.to_world(start)), grid.direction))
