"""The type of an anatomy and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass

from boneray.core.registry import Registry


@dataclass(frozen=True)
class Anatomy:
    """A region that is reconstructed as a whole.

    Attributes:
        name: as in the CLI and in files.
        bones: names in the table of bones.
        one_bone: True if a case holds exactly one of `bones` (its target), False if all.
        grid_size_mm: edge of the cubic working grid.
        grid_voxels: voxels along each edge of the default grid.
        views: the standard pair.
        landmarks: names used by the measurements of this anatomy.
        source: where grid and landmarks come from.
    """

    name: str
    bones: tuple[str, ...]
    one_bone: bool
    grid_size_mm: float
    grid_voxels: int
    views: tuple[str, ...]
    landmarks: tuple[str, ...]
    source: str


ANATOMIES: Registry[Anatomy] = Registry("anatomy", "boneray.anatomy", "boneray.anatomies")


def anatomy(name: str) -> Anatomy:
    """The anatomy called `name`; an unknown name answers with the nearest ones."""
    return ANATOMIES.get(name).value


def add(kind: Anatomy, summary: str) -> Anatomy:
    """Register an anatomy under its own name."""
    return ANATOMIES.register(kind.name, summary, bones=list(kind.bones), grid_size_mm=kind.grid_size_mm)(kind)
