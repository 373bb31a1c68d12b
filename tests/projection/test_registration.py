"""2D/3D registration: a disturbed camera is found again from the radiograph it took."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.io.nifti import read_volume
from boneray.projection.differentiable import moved_pose
from boneray.projection.registration import pooled, pose_error, register
from boneray.projection.render import attenuation_per_mm, render


def disturbed(camera: Camera, centre_mm, *, turn_deg: float, shift_mm: float, seed: int) -> Camera:
    """The camera turned by `turn_deg` about a random axis and shifted by `shift_mm` in a random direction."""
    rng = np.random.default_rng(seed)
    axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    twist = torch.tensor(np.concatenate([np.deg2rad(turn_deg) * axis, shift_mm * way]))
    pose = moved_pose(torch.from_numpy(camera.pose), twist, torch.tensor(np.asarray(centre_mm, float)))
    return replace(camera, world_from_camera=tuple(pose.numpy().ravel()))


@pytest.mark.data
@pytest.mark.parametrize("angle_deg", [0.0, 35.0, 90.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_pose_10_degrees_and_20_mm_off_is_found_on_a_real_ct(test_data, angle_deg, seed):
    ct = read_volume(test_data / "ct_raw_HU_TotalSegmentator_example" / "example_ct.nii.gz", "CT")
    centre = ct.grid.centre_mm
    true = orbit_camera(angle_deg, centre_mm=centre, detector_shape=(256, 256), detector_mm=(560.0, 560.0))
    start = disturbed(true, centre, turn_deg=10.0, shift_mm=20.0, seed=seed)
    before = pose_error(start, true, centre)
    assert abs(before["rotation_deg"] - 10.0) < 1e-6
    found = register(attenuation_per_mm(ct.data), ct.grid, render(ct, true), start=start)
    after = pose_error(found.camera, true, centre)
    assert after["rotation_deg"] <= 0.5 and after["in_plane_mm"] <= 1.0
    assert after["depth_mm"] < max(2.0, before["depth_mm"])  # one picture tells little about depth
    assert found.correlation > 0.999


def test_levels_hold_the_same_body():
    grid = Grid((7, 8, 9), (1.0, 2.0, 3.0), (5.0, -3.0, 2.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    data = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    small, coarse = pooled(data, grid, 2)
    assert small.shape == coarse.shape == (4, 4, 5)
    np.testing.assert_allclose(coarse.to_world([0, 0, 0]), grid.to_world([0.5, 0.5, 0.5]))
    np.testing.assert_allclose(small[1, 1, 1], data[2:4, 2:4, 2:4].mean(), rtol=1e-6)
    assert pooled(data, grid, 1)[1] == grid


def test_a_picture_without_contrast_is_refused():
    camera = orbit_camera(0.0, detector_shape=(32, 32))
    empty = Radiograph(np.zeros((32, 32), np.float32), camera)
    with pytest.raises(DataError, match="without contrast"):
        register(np.ones((8, 8, 8)), Grid.cube(8, 64.0), empty)
