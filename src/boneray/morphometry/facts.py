"""What all measurements of one bone share: its surface, its volume and how much of it can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

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
    """

    bone: str
    mesh: Mesh
    volume_mm3: float
    kept_share: float = 1.0
    border: tuple[str, ...] = ()
    grid: Grid | None = None
    smoothing_mm: float = 0.0
    _found: dict[str, Any] = field(default_factory=dict, repr=False)

    def once(self, find: Callable[[BoneFacts], T]) -> T:
        """The result of `find(self)`, found only once for all measurements of this bone."""
        key = f"{find.__module__}.{find.__qualname__}"
        if key not in self._found:
            self._found[key] = find(self)
        return self._found[key]


def facts_of_mesh(mesh: Mesh, bone: str) -> BoneFacts:
    """The facts of a bone given as a closed surface with outward faces, RAS mm."""
    return BoneFacts(bone, simplified(mesh, MESH_FACES), abs(mesh.volume_mm3))


def facts_of_label(labels: LabelMap, bone_id: int, bone: str, box: Box) -> BoneFacts:
    """The facts of one label; `labels` in canonical axes, `box` the tight box of the bone."""
    part = cropped(labels, box)
    mask = part.mask(bone_id)
    largest, kept = largest_component(mask)
    mesh = bone_mesh(LabelMap(largest.astype(np.uint8), part.grid), 1, smooth_voxels=SMOOTH_VOXELS)
    return BoneFacts(
        bone,
        simplified(mesh, MESH_FACES),
        float(mask.sum()) * labels.grid.voxel_volume_mm3,
        kept,
        touched_borders(box, labels.grid),
        labels.grid,
        smoothing_mm(labels.grid, SMOOTH_VOXELS),
    )


def touched_borders(box: Box, grid: Grid) -> tuple[str, ...]:
    """The faces of a canonical grid that a bone's box reaches, by their anatomical side."""
    names = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    low = [names[a][0] for a in range(3) if box[a].start == 0]
    high = [names[a][1] for a in range(3) if box[a].stop == grid.shape[a]]
    return (*low, *high)
