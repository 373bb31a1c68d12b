"""Moves within the picture that the camera follows, changes of grey, and RandAugment."""

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.projection.depth import depth_maps
from boneray.projection.in_plane import GREYS, RandAugment, augmented, changed_grey, in_plane, resampled

CAMERA = orbit_camera(
    25.0,
    cranial_deg=8.0,
    roll_deg=12.0,
    principal_offset_mm=(9.0, -14.0),
    detector_shape=(96, 80),
    detector_mm=(240, 200),
)
POINTS = np.random.default_rng(0).uniform(-40, 40, (50, 3))


def seen(camera, points=POINTS):
    return camera.project(points)


@pytest.mark.parametrize("camera", [CAMERA, orbit_camera(0.0, kind="parallel", detector_shape=(96, 80))])
def test_the_camera_follows_each_move_exactly(camera):
    column, row = seen(camera).T
    middle = np.array([(80 - 1) / 2, (96 - 1) / 2])
    shifted = seen(in_plane(camera, shift_px=(5.0, -3.0)))
    np.testing.assert_allclose(shifted, np.stack([column - 3.0, row + 5.0], 1), atol=1e-9)
    zoomed = seen(in_plane(camera, zoom=1.25))
    np.testing.assert_allclose(zoomed, middle + 1.25 * (np.stack([column, row], 1) - middle), atol=1e-9)
    # counter-clockwise in a picture whose rows count downwards: (1, 0) goes to (0, -1)
    pixel_mm = np.array(camera.pixel_mm[::-1])
    turned = (seen(in_plane(camera, roll_deg=90.0)) - middle) * pixel_mm
    before = (np.stack([column, row], 1) - middle) * pixel_mm
    np.testing.assert_allclose(turned, np.stack([before[:, 1], -before[:, 0]], 1), atol=1e-9)
    np.testing.assert_allclose(in_plane(camera, roll_deg=33.0).source_mm, camera.source_mm)
    with pytest.raises(ConfigError, match="above 0"):
        in_plane(camera, zoom=0.0)


def test_depth_maps_of_the_moved_camera_are_the_moved_depth_maps():
    """The rays stay what they are, so depth, mask and camera move together."""
    grid = Grid.cube(60, 120.0)
    world = grid.to_world(np.moveaxis(np.mgrid[:60, :60, :60], 0, -1))
    labels = LabelMap(((world / (40, 30, 25)) ** 2).sum(-1).__le__(1).astype(np.uint8), grid)
    other = in_plane(CAMERA, roll_deg=14.0, shift_px=(4.0, -6.0), zoom=1.1)
    here, there = depth_maps(labels, CAMERA), depth_maps(labels, other)
    filled = np.where(here.valid[0], here.front_mm[0], 0.0)
    moved = resampled(filled, CAMERA, other)
    inner = resampled(here.valid[0].astype(float), CAMERA, other) > 0.999
    assert inner.sum() > 500
    difference = np.abs(moved - there.front_mm[0])[inner]
    assert np.median(difference) < 0.2 and np.percentile(difference, 95) < 1.5
    mask = resampled(here.valid[0].astype(float), CAMERA, other, order=0) > 0.5
    assert (mask != there.valid[0]).mean() < 0.02


@pytest.mark.parametrize("name", GREYS)
def test_greys_change_and_nothing_moves(name):
    picture = np.random.default_rng(1).random((96, 80)).astype(np.float32)
    same = changed_grey(picture, name, 0.0, generator(0, "a"))
    np.testing.assert_allclose(same, picture, atol=1e-6)
    other = changed_grey(picture, name, 0.8, generator(0, "a"))
    assert other.dtype == np.float32 and np.isfinite(other).all() and np.abs(other - picture).max() > 0.01
    assert np.corrcoef(other.ravel(), picture.ravel())[0, 1] > 0.3
    with pytest.raises(ConfigError, match="unknown change"):
        changed_grey(picture, "solarise", 0.5, generator(0, "a"))


def test_randaugment_is_repeatable_and_keeps_to_its_limits():
    radiograph = Radiograph(np.random.default_rng(1).random((96, 80)).astype(np.float32), CAMERA)
    assert augmented(radiograph, RandAugment(), generator(0, "n")) is radiograph
    first, again = (augmented(radiograph, RandAugment(operations=3), generator(0, "n", 4)) for _ in range(2))
    np.testing.assert_array_equal(first.line_integrals, again.line_integrals)
    assert first.camera == again.camera
    still = [augmented(radiograph, RandAugment(operations=3, moves=False), generator(0, n)) for n in range(10)]
    assert all(one.camera == CAMERA for one in still)
    many = [augmented(radiograph, RandAugment(operations=1, strength=1.0), generator(0, n)) for n in range(60)]
    moved = np.array([seen(one.camera) - seen(CAMERA) for one in many])
    size = np.linalg.norm(moved, axis=2).max(axis=1)
    assert (size == 0).any() and (size > 1).any() and size.max() < 0.3 * 96
    # a mirror image is no camera's: what is at the left stays left of what is at the right
    for one in many:
        u = seen(one.camera, np.array([[-40.0, 0, 0], [40.0, 0, 0]]) @ CAMERA.pose[:3, :3].T)
        assert u[0, 0] < u[1, 0]
