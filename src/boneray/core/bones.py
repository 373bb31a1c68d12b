"""The one table of bones: names, ids in every boneray label map, sides and colours."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name


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


def bone(name: str) -> Bone:
    """The bone called `name`; an unknown name answers with the nearest ones."""
    if name not in BONES:
        raise ConfigError(unknown_name("bone", name, list(BONES)))
    return BONES[name]


def bone_name(bone_id: int) -> str:
    """The name of a label id; `label_<id>` for an id outside the table."""
    return _NAME_BY_ID.get(int(bone_id), f"label_{int(bone_id)}")


def bone_side(name: str) -> str:
    """left, right or none, from the name (also for `label_<id>`)."""
    return _side(name)


def bone_colour(name: str) -> tuple[int, int, int]:
    """RGB 0..255 for a bone name, also for `label_<id>`."""
    if name in BONES:
        return BONES[name].colour
    return _colour(sum(map(ord, name)))
