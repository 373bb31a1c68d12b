"""Voxel boxes around bones, so that work on one bone costs what the bone costs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.volume import LabelMap

Box = tuple[slice, ...]

MOST_IDS = 10_000


def bone_boxes(labels: LabelMap) -> dict[int, Box]:
    """The tight box (i, j, k slices) of every bone id, ascending; background has none."""
    low, high = int(labels.data.min()), int(labels.data.max())
    if low >= 0 and high < MOST_IDS:  # ids are their own ranks; sorting all voxels would cost seconds
        found = ndimage.find_objects(labels.data.astype(np.int32, copy=False))
        return {i: box for i, box in enumerate(found, start=1) if box is not None}
    ids, ranks = np.unique(labels.data, return_inverse=True)
    found = ndimage.find_objects(ranks.reshape(labels.data.shape).astype(np.int32) + 1)
    return {int(i): box for i, box in zip(ids, found, strict=True) if i != 0 and box is not None}


def cropped(labels: LabelMap, box: Box) -> LabelMap:
    """The part of a label map inside `box`, still in its place in the world."""
    data = labels.data[box]
    start = [s.start for s in box]
    grid = labels.grid
    return LabelMap(data, Grid(data.shape, grid.spacing_mm, tuple(grid.to_world(start)), grid.direction))
