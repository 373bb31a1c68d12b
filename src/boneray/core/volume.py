"""Arrays that know where they lie: intensities (`Volume`) and bone labels (`LabelMap`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid

MOST_LABELS = 65536  # ids of a file lie below


@dataclass(frozen=True)
class Volume:
    """Intensities (HU unless stated) on a grid; `data` is float32 or int16, shape (i, j, k)."""

    data: NDArray
    grid: Grid

    def __post_init__(self) -> None:
        _check_shape(self.data, self.grid)


@dataclass(frozen=True)
class LabelMap:
    """Bone ids on a grid; 0 is background. A type of its own: it is never interpolated linearly."""

    data: NDArray
    grid: Grid

    def __post_init__(self) -> None:
        _check_shape(self.data, self.grid)
        if not np.issubdtype(self.data.dtype, np.integer):
            raise DataError(f"label map has type {self.data.dtype}; labels are whole numbers")

    @property
    def ids(self) -> tuple[int, ...]:
        """The bone ids that occur, ascending, background left out."""
        return tuple(int(v) for v in np.unique(self.data) if v != 0)

    def mask(self, bone_id: int) -> NDArray[np.bool_]:
        """Where the label is `bone_id`, (i, j, k)."""
        return self.data == bone_id

    def renumbered(self, names: Mapping[int, str]) -> LabelMap:
        """With the ids of the table of bones; `names` are those of this map's ids, others become background."""
        table = np.zeros(MOST_LABELS, np.uint8)
        for number, name in names.items():
            table[number] = bone(name).bone_id
        out = np.empty(self.data.shape, np.uint8)
        for i, layer in enumerate(self.data):  # an index array is copied as 64-bit numbers; a layer of it at a time
            out[i] = table[layer]
        return LabelMap(out, self.grid)


def canonical(grid: Grid) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Axis order and flips that bring an array on `grid` nearest to RAS+.

    Returns:
        (order, flip): `order[a]` is the array axis that becomes RAS axis a, and `flip[a]` says
        that this axis is then reversed.
    """
    weights = np.abs(grid.direction_matrix)
    order = [-1, -1, -1]
    for _ in range(3):
        world, axis = np.unravel_index(np.argmax(weights), (3, 3))
        order[world] = int(axis)
        weights[world, :] = -1.0
        weights[:, axis] = -1.0
    flip = [grid.direction_matrix[world, order[world]] < 0 for world in range(3)]
    return tuple(order), tuple(bool(f) for f in flip)


def to_canonical(data: NDArray, grid: Grid) -> tuple[NDArray, Grid]:
    """The same voxels with axes permuted and flipped so that i, j, k run closest to R, A, S."""
    order, flip = canonical(grid)
    affine = grid.world_from_voxel
    turned = np.transpose(data, order)
    columns = affine[:3, list(order)]
    origin = affine[:3, 3].copy()
    for axis in range(3):
        if flip[axis]:
            origin = origin + columns[:, axis] * (turned.shape[axis] - 1)
            columns[:, axis] = -columns[:, axis]
            turned = np.flip(turned, axis)
    out = np.eye(4)
    out[:3, :3] = columns
    out[:3, 3] = origin
    return _in_c_order(turned), Grid.from_affine(turned.shape, out)


def _in_c_order(data: NDArray) -> NDArray:
    """The same array with its last axis fastest; slab by slab, four times faster for a large CT."""
    if data.flags.c_contiguous:
        return data
    out = np.empty(data.shape, data.dtype)
    for k in range(0, data.shape[-1], 16):
        out[..., k : k + 16] = data[..., k : k + 16]
    return out


def require_same_grid(first: Grid, second: Grid, first_name: str, second_name: str) -> None:
    """Raise `GeometryError` unless both grids match."""
    if not first.matches(second):
        raise GeometryError(
            f"{first_name} (shape {first.shape}, spacing {_mm(first)}) and {second_name} "
            f"(shape {second.shape}, spacing {_mm(second)}) lie on different grids; resample one to the other"
        )


def _mm(grid: Grid) -> str:
    return "x".join(f"{s:.3g}" for s in grid.spacing_mm) + " mm"


def _check_shape(data: NDArray, grid: Grid) -> None:
    if data.shape != grid.shape:
        raise GeometryError(f"array of shape {data.shape} does not fit a grid of shape {grid.shape}")
