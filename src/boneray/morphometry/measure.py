"""The door to morphometry: a label map or a mesh in, a list of measurements out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from boneray.anatomy.registry import anatomy as anatomy_named
from boneray.core.bones import bone_name, bone_side
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.measurement import Measurement
from boneray.core.mesh import Mesh
from boneray.core.registry import Entry
from boneray.core.volume import LabelMap, to_canonical
from boneray.geometry.boxes import bone_boxes
from boneray.morphometry.facts import BoneFacts, facts_of_label, facts_of_mesh
from boneray.morphometry.registry import MEASUREMENTS, Finding, Measure


def measure(
    labels: LabelMap, anatomy: str, *, spacing_mm: ArrayLike | None = None, affine: ArrayLike | None = None
) -> list[Measurement]:
    """Every registered measurement of every bone of an anatomy that the label map holds.

    The voxels are first put into canonical axis order, so any of the 48 orders of one image gives
    the same numbers. Bad anatomy never raises: it gives measurements without a value. If no bone
    of the anatomy occurs, each measurement comes once, failed, under the name of the anatomy.

    Args:
        labels: ids of the table of bones on any grid; other ids are passed over.
        anatomy: name in the table of anatomies.
        spacing_mm: edge lengths of a voxel along i, j, k that replace those of a wrong header.
        affine: 4x4 matrix from voxel indices to RAS mm that replaces that of a wrong header.
    """
    known = anatomy_named(anatomy)
    placed = LabelMap(labels.data, _repaired(labels.grid, spacing_mm, affine))
    turned = LabelMap(*to_canonical(placed.data, placed.grid))
    boxes = {bone_id: box for bone_id, box in bone_boxes(turned).items() if bone_name(bone_id) in known.bones}
    if not boxes:
        return [_absent(entry, anatomy) for entry in MEASUREMENTS if entry.facts["anatomy"] in ("any", anatomy)]
    return _measured([facts_of_label(turned, i, bone_name(i), box) for i, box in boxes.items()], anatomy)


def measure_mesh(mesh: Mesh, bone: str, anatomy: str) -> list[Measurement]:
    """Every registered measurement of one bone given as a closed surface, RAS mm, faces outwards."""
    return measure_meshes({bone: mesh}, anatomy)


def measure_meshes(meshes: Mapping[str, Mesh], anatomy: str) -> list[Measurement]:
    """Every registered measurement of the bones of one patient given as closed surfaces.

    Args:
        meshes: surface by the name of its bone, RAS mm, faces outwards. One that is empty or holds
            points that are not finite fails alone.
        anatomy: name in the table of anatomies.
    """
    anatomy_named(anatomy)
    usable = {name: mesh for name, mesh in meshes.items() if len(mesh.faces) and np.isfinite(mesh.vertices_mm).all()}
    found = _measured([facts_of_mesh(mesh, name) for name, mesh in usable.items()], anatomy)
    told = {(m.bone, m.name) for m in found}
    for name in meshes:
        for entry in _entries(name, anatomy) if name not in usable else []:
            bone = _reported_under(entry, name)
            if (bone, entry.name) not in told:
                told.add((bone, entry.name))
                found.append(_unusable(entry, bone))
    return found


def _repaired(grid: Grid, spacing_mm: ArrayLike | None, affine: ArrayLike | None) -> Grid:
    if spacing_mm is not None and affine is not None:
        raise ConfigError("spacing_mm and affine both say how large a voxel is; give one of them")
    if affine is not None:
        return Grid.from_affine(grid.shape, affine)
    if spacing_mm is None:
        return grid
    x, y, z = (float(v) for v in np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3))
    return Grid(grid.shape, (x, y, z), grid.origin_mm, grid.direction)


def _measured(bones: list[BoneFacts], anatomy: str) -> list[Measurement]:
    """The measurements of every bone in turn; those of several bones together come with the first of them."""
    siblings = {facts.bone: facts for facts in bones}
    for facts in bones:
        facts.siblings.update(siblings)
    done: set[str] = set()
    out = []
    for facts in bones:
        for entry in _entries(facts.bone, anatomy):
            if entry.facts.get("together"):
                if entry.name in done:
                    continue
                done.add(entry.name)
                first = next(siblings[name] for name in _bones(entry) if name in siblings)
                out.append(_result(entry, entry.value(first), _reported_under(entry, facts.bone)))
            else:
                out.append(_result(entry, entry.value(facts), facts.bone))
    return out


def _result(entry: Entry[Measure], finding: Finding, bone: str) -> Measurement:
    return Measurement(
        entry.name,
        bone,
        bone_side(bone),
        finding.value,
        str(entry.facts["unit"]),
        finding.status,
        finding.reason,
        finding.landmarks,
        finding.confidence,
    )


def _reported_under(entry: Entry[Measure], bone: str) -> str:
    """The bone in whose name a measurement is reported: its own, or the first of those taken together."""
    return str(entry.facts.get("under") or _bones(entry)[0]) if entry.facts.get("together") else bone


def _entries(bone: str, anatomy: str) -> list[Entry[Measure]]:
    """The measurements that apply to a bone; an anatomy of single bones leaves out those of other anatomies."""
    asked = ("any", anatomy) if anatomy_named(anatomy).one_bone else None
    return [
        entry
        for entry in MEASUREMENTS
        if (not entry.facts["bones"] or bone in _bones(entry)) and (asked is None or entry.facts["anatomy"] in asked)
    ]


def _bones(entry: Entry[Measure]) -> tuple[str, ...]:
    bones = entry.facts["bones"]
    return bones if isinstance(bones, tuple) else ()


def _absent(entry: Entry[Measure], anatomy: str) -> Measurement:
    reason = f"no bone of the anatomy {anatomy} in the label map"
    return Measurement(entry.name, anatomy, "none", None, str(entry.facts["unit"]), "failed", reason)


def _unusable(entry: Entry[Measure], bone: str) -> Measurement:
    reason = "the mesh is empty or holds points that are not finite"
    return Measurement(entry.name, bone, bone_side(bone), None, str(entry.facts["unit"]), "failed", reason)
