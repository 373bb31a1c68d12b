"""Outlines and resized pictures against closed forms."""

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume
from boneray.projection.outline import projected_outline
from boneray.projection.render import WATER_PER_MM, attenuation_per_mm, render
from boneray.projection.resize import resized


def test_the_outline_of_a_ball_is_a_circle_of_the_magnified_radius():
    grid = Grid.cube(64, 128.0)
    centre = np.array([10.0, -6.0, 8.0])
    distance = np.linalg.norm(grid.to_world(np.moveaxis(np.mgrid[:64, :64, :64], 0, -1)) - centre, axis=-1)
    labels = LabelMap((distance < 30.0).astype(np.uint8), grid)
    camera = orbit_camera(0.0, detector_shape=(256, 256), detector_mm=(256.0, 256.0))
    outline = np.concatenate(projected_outline(labels, 1, camera))
    radius_px = np.linalg.norm(outline - camera.project(centre), axis=1)
    tangent_mm = 1500.0 * 30.0 / np.sqrt((1000.0 - centre[1]) ** 2 - 30.0**2)
    assert radius_px.mean() == pytest.approx(tangent_mm, abs=0.6)
    assert projected_outline(labels, 2, camera) == []


def test_water_attenuates_as_the_tables_say_and_air_not_at_all():
    np.testing.assert_allclose(
        attenuation_per_mm(np.array([0, -1000, -3000, 1000])), [0.02059, 0, 0, 0.04118], rtol=1e-5
    )
    water = Volume(np.zeros((10, 10, 10), np.int16), Grid.cube(10, 100.0))
    centre = render(water, orbit_camera(0.0, detector_shape=(9, 9))).line_integrals[4, 4]
    assert centre == pytest.approx(100 * WATER_PER_MM, rel=1e-4)


@pytest.mark.parametrize("shape", [(32, 32), (48, 40)])
def test_a_resized_picture_shows_points_in_the_same_place(shape):
    camera = orbit_camera(0.0, detector_shape=(96, 96), detector_mm=(300.0, 300.0))
    point = np.array([20.0, 5.0, -30.0])
    column, row = camera.project(point)
    rows, columns = np.mgrid[0:96, 0:96]
    picture = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 6.0**2)).astype(np.float32)
    small = resized(Radiograph(picture, camera), shape)
    weights = small.line_integrals / small.line_integrals.sum()
    seen = (weights * np.mgrid[0 : shape[0], 0 : shape[1]]).sum((1, 2))[::-1]
    np.testing.assert_allclose(seen, small.camera.project(point), atol=0.15)
