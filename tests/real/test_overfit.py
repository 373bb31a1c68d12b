"""Proof of capacity: one real pelvis at 64 voxels can be learnt by heart (table in docs/models/raylift.md)."""

import json

import pytest

from tests.real.test_walk import prepare

pytestmark = [pytest.mark.data, pytest.mark.slow]


def test_one_real_pelvis_is_learnt_by_heart(boneray, test_data, tmp_path):
    assert prepare(boneray, test_data, "0243", tmp_path / "data", "--pixels", 128).code == 0
    overrides = ("overfit=true", "recipe.steps=400", "recipe.mirror=0", "recipe.cameras={jittered: 0, turned: 0}")
    flags = [part for item in overrides for part in ("--set", item)]
    assert boneray("train", "raylift_tiny", "--data", tmp_path / "data", "--out", tmp_path / "run", *flags).code == 0
    case = tmp_path / "data" / "0243"
    assert boneray("reconstruct", case, "--checkpoint", tmp_path / "run", "--out", tmp_path / "out").code == 0
    scored = boneray("evaluate", "--reference", case, "--prediction", tmp_path / "out", "--json")
    (entry,) = json.loads(scored.out)["cases"]
    assert len(entry["bones"]) == 3 and entry["mean"]["dice"] >= 0.95
