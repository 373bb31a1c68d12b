"""How public data sets number their bones, mapped onto the one table of bones."""

from __future__ import annotations

from boneray.anatomy.registry import ANATOMIES
from boneray.core.bones import BONES, NAMES, RIBS, VERTEBRAE, Bone, bone
from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name

_TOTALSEGMENTATOR = {
    25: "sacrum",
    26: "sacrum",  # S1, a class of its own since version 2
    **{27 + i: name for i, name in enumerate(reversed(VERTEBRAE[:24]))},  # 27 = L5 ... 50 = C1
    75: "femur_left",
    76: "femur_right",
    77: "hip_left",
    78: "hip_right",
    **{92 + i: name for i, name in enumerate(RIBS)},
}

LABEL_MAPS: dict[str, dict[int, str]] = {
    "boneray": {i + 1: name for i, name in enumerate(NAMES)},
    "totalsegmentator": _TOTALSEGMENTATOR,
    "ctpelvic1k": {1: "sacrum", 2: "hip_left", 3: "hip_right"},
    "totalsegmentator-pelvis": {1: "sacrum", 2: "hip_right", 3: "hip_left"},
    "femur-left-right": {1: "femur_left", 2: "femur_right"},
    "verse": {i + 1: name for i, name in enumerate(VERTEBRAE)},
    "ribs": {i + 1: name for i, name in enumerate(RIBS)},
}


def label_map(text: str) -> dict[int, str]:
    """Bone names by id, from the name of a known map or from `1=sacrum,2=hip_left`.

    Raises:
        ConfigError: neither, or a bone that is not in the table.
    """
    if "=" not in text:
        if text == "boneray":
            return {entry.bone_id: entry.name for entry in known_bones().values()}
        if text not in LABEL_MAPS:
            raise ConfigError(unknown_name("label map", text, list(LABEL_MAPS)) + "; or write 1=sacrum,2=hip_left")
        return LABEL_MAPS[text]
    out = {}
    for item in text.split(","):
        number, _, name = item.partition("=")
        if not number.strip().isdecimal() or not number.isascii() or not 0 < int(number) < 65536:
            raise ConfigError(f"label map item '{item}' is not of the form ID=bone")
        out[int(number)] = bone(name.strip()).name
    return out


def map_from_names(labels: dict[str, object]) -> dict[int, str]:
    """Bone names by id from an nnU-Net `labels` table whose names are in the table of bones."""
    names = {bone_key(name): name for name in known_bones()}
    out = {}
    for name, number in labels.items():
        if isinstance(number, int) and bone_key(name) in names:
            out[number] = names[bone_key(name)]
    return out


def known_bones() -> dict[str, Bone]:
    """The table of bones with what the anatomies add to it."""
    for _ in ANATOMIES:
        pass
    return BONES


def bone_key(name: str) -> str:
    """A spelling-free key: `Left Hip`, `hip_left` and `vertebrae_L1`, `L1` agree."""
    words = name.lower().replace("-", "_").replace(" ", "_").split("_")
    words = [w for w in words if w not in ("vertebra", "vertebrae", "bone")]
    return "_".join(sorted(words))
