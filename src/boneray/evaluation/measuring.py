"""`boneray measure`: clinical measurements of a label map, a case folder or a mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from boneray.anatomy.registry import Anatomy
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone
from boneray.core.errors import DataError
from boneray.core.measurement import Measurement
from boneray.core.volume import LabelMap
from boneray.evaluation.inputs import read_named_labels, renumbered
from boneray.io.meshes import FORMATS, read_mesh
from boneray.morphometry.measure import measure, measure_mesh


def measure_path(
    path: Path, anatomy: str, *, names: dict[int, str] | None = None, target: str = ""
) -> list[Measurement]:
    """Measurements of every bone of `anatomy` at `path`.

    Args:
        path: NIfTI label map, case folder, or a mesh (then `target` names its bone).
        names: bone by id for a label file with its own numbering.
    Raises:
        InputError, DataError: not readable, empty, or ids that could be any bone.
    """
    kind = find_anatomy(anatomy)
    if path.suffix.lower().lstrip(".") in FORMATS:
        name = bone(target).name if target else bone(path.stem).name
        return measure_mesh(read_mesh(path), name, anatomy)
    found = read_named_labels(path, names, "label map")
    if not found.labels.ids:
        raise DataError(f"label map {path} is empty: it holds no bone")
    if found.known or set(found.labels.ids) & {bone(name).bone_id for name in kind.bones}:
        return measure(found.labels, anatomy)
    return _measure_unnamed(found.labels, kind, path)


def measurements_json(found: list[Measurement]) -> dict[str, Any]:
    """The stable shape of `boneray measure --json`."""
    return {"measurements": [m.to_dict() for m in found]}


def _measure_unnamed(labels: LabelMap, kind: Anatomy, path: Path) -> list[Measurement]:
    """A single nameless bone of a one-bone anatomy keeps its id as its name."""
    ids = labels.ids
    if not kind.one_bone or len(ids) > 1:
        shown = ", ".join(map(str, ids[:8]))
        raise DataError(
            f"{path} holds ids {shown}, none of which is a bone of anatomy {kind.name} in the table of bones; "
            f"say what they are with --label-map {ids[0]}={kind.bones[0]}"
        )
    as_bone = renumbered(labels, {ids[0]: kind.bones[0]})
    return [replace(m, bone=f"label_{ids[0]}", side="none") for m in measure(as_bone, kind.name)]
