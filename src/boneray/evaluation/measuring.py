"""`boneray measure`: clinical measurements of a label map, a case folder or a mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from boneray.anatomy.registry import Anatomy
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone
from boneray.core.errors import ConfigError, DataError
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
        path: NIfTI label map, case folder, or a mesh.
        names: bone by id for a label file with its own numbering.
        target: the one bone to measure; names the bone of a mesh or of a nameless label.
    Raises:
        InputError, DataError: not readable, empty, or ids that could be any bone.
    """
    kind = find_anatomy(anatomy)
    if target and bone(target).name not in kind.bones:
        raise ConfigError(f"bone {target} does not belong to anatomy {anatomy}")
    if path.suffix.lower().lstrip(".") in FORMATS:
        return measure_mesh(read_mesh(path), bone(target or path.stem).name, anatomy)
    found = read_named_labels(path, names, "label map")
    if not found.labels.ids:
        raise DataError(f"label map {path} is empty: it holds no bone")
    if not found.known:
        return _measure_unnamed(found.labels, kind, path, target)
    if target and bone(target).bone_id not in found.labels.ids:
        raise DataError(f"label map {path} holds no {target}")
    return [m for m in measure(found.labels, anatomy) if not target or m.bone == target]


def measurements_json(found: list[Measurement]) -> dict[str, Any]:
    """The stable shape of `boneray measure --json`."""
    return {"measurements": [m.to_dict() for m in found]}


def _measure_unnamed(labels: LabelMap, kind: Anatomy, path: Path, target: str) -> list[Measurement]:
    """A single nameless bone of a one-bone anatomy; without a target it keeps its id as its name."""
    ids = labels.ids
    if not kind.one_bone or len(ids) > 1:
        shown = ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
        raise DataError(
            f"{path} holds ids {shown} of its own numbering; say which bones they are with --label-map "
            f"{ids[0]}={kind.bones[0]} or the name of a known map (`boneray` for boneray's own ids)"
        )
    as_bone = measure(renumbered(labels, {ids[0]: target or kind.bones[0]}), kind.name)
    return as_bone if target else [replace(m, bone=f"label_{ids[0]}", side="none") for m in as_bone]
