"""The table of bones grows by what anatomies add, and by nothing else."""

import subprocess
import sys

import pytest

from boneray.anatomy.registry import ANATOMIES
from boneray.core.bones import BONES, add_bone, bone, bone_name
from boneray.core.errors import ConfigError


def test_the_first_54_ids_are_those_of_the_field():
    assert [bone(name).bone_id for name in ("C1", "L6", "rib_left_1", "sacrum", "hip_right", "femur_right")] == [
        1, 25, 26, 50, 51, 54,
    ]  # fmt: skip


def test_added_bones_have_names_ids_and_sides():
    assert (bone("tibia_left").bone_id, bone("tibia_left").side) == (60, "left")
    assert (bone_name(63), bone_name(64), bone_name(65)) == ("scapula_right", "implant", "liver")
    ids = [b.bone_id for b in BONES.values()]
    assert len(ids) == len(set(ids)) and max(ids) < 256
    assert {b for entry in ANATOMIES for b in entry.value.bones} <= set(BONES)


def test_they_are_found_by_name_in_a_fresh_process_without_asking_for_an_anatomy():
    code = (
        "from boneray.core.bones import bone, bone_name; print(bone('implant').bone_id, bone_name(60), bone_name(99))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["64", "tibia_left", "label_99"]


def test_ids_and_names_cannot_be_taken_twice():
    for name, number, says in (("patella", 54, "60..255"), ("patella", 60, "tibia_left"), ("patella", 256, "60..255")):
        with pytest.raises(ConfigError, match=says):
            add_bone(name, number)
    with pytest.raises(ConfigError, match="twice"):
        add_bone("tibia_left", 200)
    assert 200 not in [b.bone_id for b in BONES.values()]
