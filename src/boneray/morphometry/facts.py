"""What all measurements of one bone share: its surface, its volume and how much of it can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.boxes import Box, cropped
from boneray.geometry.surface import bone_mesh, largest_component, simplified, smoothing_mm

MESH_FACES = 30_000
SMOOTH_VOXELS = 0.8
TRUSTED_SHARE = 0.9

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class BoneFacts:
    """One bone ready to be measured.

    Attributes:
        bone: name in the table of bones.
        mesh: surface of the largest part, at most about 30000 faces, RAS mm.
        volume_mm3: of the whole bone, all parts.
        kept_share: share of the bone that its largest part holds.
        border: faces of the grid that the bone touches (`left`, `superior`, ...); empty for a mesh.
        grid: the whole grid in canonical axes; None for a mesh.
        smoothing_mm: sigma of the Gaussian before the surface was made; a sphere of radius R lost
            sigma^2 / R.
        siblings: facts of every bone measured with this one, itself included, by name.
        mask: voxels of the bone (label 1), all parts, cropped; None for a mesh.
    """

    bone: str
    mesh: Mesh
    volume_mm3: float
    kept_share: float = 1.0
    border: tuple[str, ...] = ()
    grid: Grid | None = None
    smoothing_mm: float = 0.0
    siblings: dict[str, BoneFacts] = field(default_factory=dict, repr=False)
    mask: LabelMap | None = field(default=None, repr=False)
    _found: dict[str, Any] = field(default_factory=dict, repr=False)

    def once(self, find: Callable[[BoneFacts], T]) -> T:
        """The result of `find(self)`, found only once for all measurements of this bone."""
        key = f"{find.__module__}.{find.__qualname__}"
        if key not in self._found:
            self._found[key] = find(self)
        return self._found[key]


def facts_of_mesh(mesh: Mesh, bone: str) -> BoneFacts:
    """The facts of a bone given as a closed surface with outward faces, RAS mm."""
    return BoneFacts(bone, _fewer_faces(mesh, _own_axes(mesh)), abs(mesh.volume_mm3))


def facts_of_label(labels: LabelMap, bone_id: int, bone: str, box: Box) -> BoneFacts:
    """The facts of one label; `labels` in canonical axes, `box` the tight box of the bone."""
    part = cropped(labels, box)
    mask = part.mask(bone_id)
    largest, kept = largest_component(mask)
    mesh = bone_mesh(LabelMap(largest.astype(np.uint8), part.grid), 1, smooth_voxels=SMOOTH_VOXELS)
    return BoneFacts(
        bone,
        _fewer_faces(mesh, labels.grid.direction_matrix),
        float(mask.sum()) * labels.grid.voxel_volume_mm3,
        kept,
        touched_borders(box, labels.grid),
        labels.grid,
        smoothing_mm(labels.grid, SMOOTH_VOXELS),
        mask=LabelMap(mask.astype(np.uint8), part.grid),
    )


def _fewer_faces(mesh: Mesh, axes: NDArray[np.float64]) -> Mesh:
    """The mesh with at most about `MESH_FACES` faces, made in axes (columns) that turn with the bone.

    Which edges collapse hangs on the last digit of the coordinates. In axes of its own, rounded to a
    micrometre, a bone keeps the same faces wherever it lies.
    """
    if len(mesh.faces) <= MESH_FACES:
        return mesh
    middle = mesh.vertices_mm.mean(axis=0)
    local = np.round((mesh.vertices_mm - middle) @ axes, 3)
    fewer = simplified(Mesh(local, mesh.faces), MESH_FACES)
    return Mesh(fewer.vertices_mm @ axes.T + middle, fewer.faces)


def _own_axes(mesh: Mesh) -> NDArray[np.float64]:
    """Principal axes of the vertices as columns, each pointing to the longer tail; never used to tell sides."""
    offset = mesh.vertices_mm - mesh.vertices_mm.mean(axis=0)
    axes = np.linalg.eigh(offset.T @ offset)[1]
    tails = np.sum((offset @ axes) ** 3, axis=0)
    return np.asarray(axes * np.where(tails < 0, -1.0, 1.0))


def touched_borders(box: Box, grid: Grid) -> tuple[str, ...]:
    """The faces of a canonical grid that a bone's box reaches, by their anatomical side."""
    names = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    low = [names[a][0] for a in range(3) if box[a].start == 0]
    high = [names[a][1] for a in range(3) if box[a].stop == grid.shape[a]]
    return (*low, *high)


def touched_borders_near(
    points_mm: NDArray[np.float64], border: tuple[str, ...], grid: Grid, voxels: float
) -> NDArray[np.bool_]:
    """Whether points (..., 3) lie less than `voxels` from one of the faces of a canonical grid named in `border`."""
    index = grid.to_index(points_mm)
    gaps = dict(zip(("left", "posterior", "inferior"), np.moveaxis(index, -1, 0), strict=True))
    far = np.moveaxis(np.array(grid.shape) - 1 - index, -1, 0)
    gaps |= dict(zip(("right", "anterior", "superior"), far, strict=True))
    near = [gaps[face] < voxels for face in border]
    return np.logical_or.reduce(near) if near else np.zeros(index.shape[:-1], dtype=bool)
