"""A method that is no network takes part by the contract of a submission."""

import json

import numpy as np
import pytest
import torch

from boneray.benchmark.submission import cases_of
from boneray.benchmark.toy_optimiser import ToySettings, occupancy, reconstruct_case, shadow, submit
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.datasets.phantom import write_phantoms
from boneray.datasets.views import standard_cameras

QUICK = ToySettings(edge=16, steps=40)


def test_a_ball_is_found_from_its_own_shadows():
    """Three views of a ball alone in air: the occupancy overlaps it well, and projects to the radiographs."""
    grid = Grid.cube(16, 64.0)
    i, j, k = np.indices(grid.shape)
    ball = torch.from_numpy((np.sqrt((i - 7.5) ** 2 + (j - 7.5) ** 2 + (k - 7.5) ** 2) <= 4.5).astype(np.float32))
    cameras = standard_cameras(grid, ("ap", "lat", "45"), pixels=32)
    shown = [Radiograph(shadow(ball, grid, camera).numpy(), camera) for camera in cameras.values()]
    found = occupancy(shown, grid, QUICK) > 0.5
    dice = 2 * (found & (ball > 0)).sum() / (found.sum() + ball.sum())
    assert dice > 0.75


def test_it_takes_part_by_the_contract(boneray, tmp_path):
    """Nothing is wrong with what it writes, and it is scored as every other method, above an empty answer."""
    data = tmp_path / "data"
    write_phantoms("femur", cases=2, seed=3, out=data, voxels=16, pixels=32)
    assert submit(data, tmp_path / "theirs", QUICK) == 2
    got = boneray("submit-check", tmp_path / "theirs", "--benchmark", data, "--json")
    values = json.loads(got.out)
    assert (got.code, values["faults"]) == (0, [])
    labels = [reconstruct_case(folder, QUICK) for folder in cases_of(data)]
    assert all(len(found.ids) == 1 for found in labels)


def test_several_bones_are_refused(tmp_path):
    write_phantoms("pelvis", cases=1, seed=3, out=tmp_path, voxels=16, pixels=16)
    with pytest.raises(ConfigError, match="shows several bones"):
        submit(tmp_path, tmp_path / "out", QUICK)
