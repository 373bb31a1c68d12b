"""The door to morphometry: a label map or a mesh in, a list of measurements out."""

from __future__ import annotations

import numpy as np

from boneray.anatomy.registry import anatomy as anatomy_named
from boneray.core.bones import bone_name, bone_side
from boneray.core.measurement import Measurement
from boneray.core.mesh import Mesh
from boneray.core.registry import Entry
from boneray.core.volume import LabelMap, to_canonical
from boneray.geometry.boxes import bone_boxes
from boneray.morphometry.facts import BoneFacts, facts_of_label, facts_of_mesh
from boneray.morphometry.registry import MEASUREMENTS, Measure


def measure(labels: LabelMap, anatomy: str) -> list[Measurement]:
    """Every registered measurement of every bone of an anatomy that the label map holds.

    The voxels are first put into canonical axis order, so any of the 48 orders of one image gives
    the same numbers. Bad anatomy never raises: it gives measurements without a value. If no bone
    of the anatomy occurs, each measurement comes once, failed, under the name of the anatomy.

    Args:
        labels: ids of the table of bones on any grid; other ids are passed over.
        anatomy: name in the table of anatomies.
    """
    known = anatomy_named(anatomy)
    turned = LabelMap(*to_canonical(labels.data, labels.grid))
    boxes = {bone_id: box for bone_id, box in bone_boxes(turned).items() if bone_name(bone_id) in known.bones}
    if not boxes:
        return [_absent(entry, anatomy) for entry in MEASUREMENTS if entry.facts["anatomy"] in ("any", anatomy)]
    found: list[Measurement] = []
    for bone_id, box in boxes.items():
        found += _measured(facts_of_label(turned, bone_id, bone_name(bone_id), box))
    return found


def measure_mesh(mesh: Mesh, bone: str, anatomy: str) -> list[Measurement]:
    """Every registered measurement of one bone given as a closed surface, RAS mm, faces outwards."""
    anatomy_named(anatomy)
    if len(mesh.faces) == 0 or not np.isfinite(mesh.vertices_mm).all():
        return [_unusable(entry, bone) for entry in _entries(bone)]
    return _measured(facts_of_mesh(mesh, bone))


def _measured(facts: BoneFacts) -> list[Measurement]:
    out = []
    for entry in _entries(facts.bone):
        finding = entry.value(facts)
        out.append(
            Measurement(
                entry.name,
                facts.bone,
                bone_side(facts.bone),
                finding.value,
                str(entry.facts["unit"]),
                finding.status,
                finding.reason,
                finding.landmarks,
            )
        )
    return out


def _entries(bone: str) -> list[Entry[Measure]]:
    """The measurements that apply to a bone."""
    return [entry for entry in MEASUREMENTS if not entry.facts["bones"] or bone in _bones(entry)]


def _bones(entry: Entry[Measure]) -> tuple[str, ...]:
    bones = entry.facts["bones"]
    return bones if isinstance(bones, tuple) else ()


def _absent(entry: Entry[Measure], anatomy: str) -> Measurement:
    reason = f"no bone of the anatomy {anatomy} in the label map"
    return Measurement(entry.name, anatomy, "none", None, str(entry.facts["unit"]), "failed", reason)


def _unusable(entry: Entry[Measure], bone: str) -> Measurement:
    reason = "the mesh is empty or holds points that are not finite"
    return Measurement(entry.name, bone, bone_side(bone), None, str(entry.facts["unit"]), "failed", reason)
