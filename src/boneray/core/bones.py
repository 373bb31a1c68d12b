"""The one table of bones: names, ids in every boneray label map, sides and colours.

Ids 1..54 are the bones of the spine, rib cage, pelvis and hips. What another anatomy needs (a tibia, an implant, an
organ) its file adds with `add_bone`, from id 60 on; an unknown name or id makes the table ask the anatomies first.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry, unknown_name


@dataclass(frozen=True)
class Bone:
    """A bone with its id in label maps, its side (left, right, none) and its display colour."""

    bone_id: int
    name: str
    side: str
    colour: tuple[int, int, int]


VERTEBRAE = (
    *(f"C{i}" for i in range(1, 8)),
    *(f"T{i}" for i in range(1, 13)),
    *(f"L{i}" for i in range(1, 7)),
)
RIBS = tuple(f"rib_{side}_{i}" for side in ("left", "right") for i in range(1, 13))
HIPS = ("hip_right", "hip_left")
FEMORA = ("femur_left", "femur_right")

# Ids 1..54 are those of the 54-bone set of the field: spine 1-25, ribs 26-49, sacrum 50, hips, femora.
NAMES = (*VERTEBRAE, *RIBS, "sacrum", *HIPS, *FEMORA)


def _side(name: str) -> str:
    return next((side for side in ("left", "right") if side in name.split("_")), "none")


def _colour(position: int) -> tuple[int, int, int]:
    r, g, b = colorsys.hsv_to_rgb((position * 0.61803398875 + 0.09) % 1.0, 0.42, 0.95)
    return round(255 * r), round(255 * g), round(255 * b)


BONES = {name: Bone(i + 1, name, _side(name), _colour(i)) for i, name in enumerate(NAMES)}
_NAME_BY_ID = {bone.bone_id: bone.name for bone in BONES.values()}
_ADDED: Registry[Bone] = Registry("bone", "boneray.anatomy", "boneray.anatomies")
FIRST_ADDED_ID, LAST_ID = 60, 255


def add_bone(name: str, bone_id: int) -> Bone:
    """Add a structure to the table, for the file of an anatomy; its id is its own, in 60..255, for ever.

    Raises:
        ConfigError: the id is out of range, or name or id are taken.
    """
    if not FIRST_ADDED_ID <= bone_id <= LAST_ID:
        raise ConfigError(f"bone '{name}' has id {bone_id}; added ids lie in {FIRST_ADDED_ID}..{LAST_ID}")
    if bone_id in _NAME_BY_ID:
        raise ConfigError(f"bone '{name}' wants id {bone_id}, which {_NAME_BY_ID[bone_id]} has; choose another")
    added = _ADDED.register(name, f"id {bone_id}")(Bone(bone_id, name, _side(name), _colour(bone_id)))
    BONES[name] = added
    _NAME_BY_ID[bone_id] = name
    return added


def bone(name: str) -> Bone:
    """The bone called `name`; an unknown name answers with the nearest ones."""
    if name not in BONES:
        _ask_anatomies()
    if name not in BONES:
        raise ConfigError(unknown_name("bone", name, list(BONES)))
    return BONES[name]


def bone_name(bone_id: int) -> str:
    """The name of a label id; `label_<id>` for an id outside the table."""
    if int(bone_id) not in _NAME_BY_ID:
        _ask_anatomies()
    return _NAME_BY_ID.get(int(bone_id), f"label_{int(bone_id)}")


def _ask_anatomies() -> None:
    for _ in _ADDED:
        pass


def bone_side(name: str) -> str:
    """left, right or none, from the name (also for `label_<id>`)."""
    return _side(name)


def bone_colour(name: str) -> tuple[int, int, int]:
    """RGB 0..255 for a bone name, also for `label_<id>`."""
    if name in BONES:
        return BONES[name].colour
    return _colour(sum(map(ord, name)))
