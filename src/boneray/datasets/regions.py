"""Which part of a scan a case shows: a cube about the bones, the whole field of view, or the source's own voxels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.anatomy.registry import Anatomy
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.boxes import bone_boxes

Region = Literal["bones", "centroid", "annotated", "proximal", "field", "native"]
REGIONS = ("bones", "centroid", "annotated", "proximal", "field", "native")
FIELD_MARGIN = 1.3
HEAD_ROOM_VOXELS = 3


def working_grid(
    region: Region,
    labels: LabelMap,
    kind: Anatomy,
    *,
    voxels: int,
    size_mm: float,
    shape: tuple[int, int, int] | None = None,
    annotated_mm: tuple[float, float, float] | None = None,
) -> Grid:
    """The grid of a case whose bones alone are in `labels`.

    Args:
        region: `bones` a cube about the middle of the bones' box; `centroid` about their centroid;
            `annotated` about `annotated_mm`, or the centroid without one; `proximal` about the
            centroid in x and y, its top three source voxels above the bone where the bone is longer
            than the cube (XrayTo3D's femur); `field` an isotropic grid of `shape` that holds the
            whole field of view; `native` the source's own voxels.
        voxels, size_mm: of the cube.
    """
    if region == "native":
        return labels.grid
    if region == "field":
        assert shape is not None
        return field_grid(labels.grid, shape)
    boxes = bone_boxes(labels).values()
    low = np.min([[s.start for s in box] for box in boxes], axis=0)
    high = np.max([[s.stop - 1 for s in box] for box in boxes], axis=0)
    ends = labels.grid.to_world(np.array([low, high]))
    ends = np.stack([ends.min(0), ends.max(0)])
    if region == "bones":
        centre = _box_centre(ends, kind, size_mm)
    elif region == "annotated" and annotated_mm is not None:
        centre = np.array(annotated_mm)
    else:
        centre = labels.grid.to_world(np.argwhere(labels.data > 0).mean(0))
    if region == "proximal" and np.ptp(ends[:, 2]) > size_mm:
        centre[2] = ends[1, 2] + HEAD_ROOM_VOXELS * labels.grid.spacing_mm[2] - size_mm / 2
    return Grid.cube(voxels, size_mm, centre)


def field_grid(source: Grid, shape: tuple[int, int, int]) -> Grid:
    """The isotropic RAS grid of `shape` about the middle of `source` that just holds all of it."""
    low, high = bounds_mm(source)
    spacing = float(np.max((high - low) / shape))
    origin = (low + high) / 2 - spacing * (np.array(shape) - 1) / 2
    return Grid(shape, (spacing,) * 3, tuple(origin))


def surroundings(ct: Grid, grid: Grid) -> Grid:
    """Where the CT is kept about a cube: its whole width and depth, and the slices that rays through the cube cross."""
    spacing = np.maximum(np.array(grid.spacing_mm), np.abs(ct.direction_matrix) @ np.array(ct.spacing_mm))
    low, high = bounds_mm(ct)
    half = FIELD_MARGIN * grid.size_mm[2] / 2
    low[2] = max(low[2], grid.centre_mm[2] - half)
    high[2] = min(high[2], grid.centre_mm[2] + half)
    shape = np.maximum(1, np.round((high - low) / spacing)).astype(int)
    middle = (low + high) / 2
    return Grid(tuple(shape), tuple(spacing), tuple(middle - spacing * (shape - 1) / 2))


def as_fine(ct: Grid, grid: Grid) -> Grid:
    """The region of `grid` with voxels as fine as those of the CT (at most those of the grid)."""
    spacing = np.minimum(np.array(grid.spacing_mm), np.abs(ct.direction_matrix) @ np.array(ct.spacing_mm))
    shape = np.ceil(grid.size_mm / spacing - 1e-6).astype(int)
    spacing = grid.size_mm / shape
    return Grid(tuple(shape), tuple(spacing), tuple(grid.centre_mm - spacing * (shape - 1) / 2))


def bounds_mm(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest world coordinates of a grid's outer faces."""
    corners = grid.to_world(np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, -1).T)
    return corners.min(0), corners.max(0)


def largest_parts(labels: LabelMap) -> LabelMap:
    """Every bone cut down to its largest piece (26 neighbours; the first of equals)."""
    out = np.zeros_like(labels.data)
    for bone_id in labels.ids:
        parts, count = ndimage.label(labels.data == bone_id, np.ones((3, 3, 3)))
        best = 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if count else 0
        out[parts == best] = bone_id if count else 0
    return LabelMap(out, labels.grid)


def _box_centre(ends: NDArray[np.float64], kind: Anatomy, size_mm: float) -> NDArray[np.float64]:
    """The middle of the bones; a femur too long for the grid is cut below, so that its head is inside."""
    centre = np.asarray(ends.mean(0))
    if kind.name == "femur" and np.ptp(ends[:, 2]) > 0.95 * size_mm:
        centre[2] = ends[:, 2].max() - 0.45 * size_mm
    return centre
