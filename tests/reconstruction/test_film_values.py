"""What the values of a film mean, and which part of it counts; numbers from the law of Beer and Lambert."""

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.reconstruction.film_values import (
    cropped,
    cut_to_grid,
    exposed_field,
    field_of_grid,
    line_integrals_of_counts,
    pooled,
    shown_share,
)

CAMERA = orbit_camera(0.0, detector_shape=(300, 400), detector_mm=(600.0, 800.0))  # 2 mm pixels, magnified 1.5


def film(camera=CAMERA):
    rows, columns = np.indices(camera.detector_shape)
    return Radiograph((rows + 1000.0 * columns).astype(np.float32), camera)


def test_counts_with_open_beam_give_true_line_integrals():
    true = np.tile(np.linspace(0.0, 5.0, 200), (100, 1))
    true[:, :20] = 0.0
    counts = generator(1, "counts").poisson(40_000 * np.exp(-true))
    values, is_open = line_integrals_of_counts(counts)
    assert is_open
    error = values - true
    # Poisson: the logarithm of n counts has a standard deviation of 1 / sqrt(n), here at most 1 / sqrt(270) = 0.061
    assert abs(error.mean()) < 0.005 and error.std() < 0.04
    shifted, _ = line_integrals_of_counts(counts * 3.7)  # the gain of the detector does not matter
    np.testing.assert_allclose(shifted, values, atol=2e-3)


def test_counts_without_open_beam_lack_an_offset_only():
    true = np.tile(np.linspace(2.0, 5.0, 200), (100, 1))
    values, is_open = line_integrals_of_counts(40_000 * np.exp(-true))
    assert not is_open
    assert np.ptp(values - true) < 1e-4 and float((true - values).mean()) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("border", [0.0, 1.0], ids=["painted black", "behind the blades"])
def test_collimated_borders_are_cut(border):
    picture = np.full((200, 260), border, np.float32)
    picture[30:180, 25:240] = 0.25 + 0.5 * generator(2, "film").random((150, 215))
    rows, columns = exposed_field(picture)
    assert (rows, columns) == (slice(30, 180), slice(25, 240))
    assert exposed_field(picture[30:180, 25:240]) == (slice(0, 150), slice(0, 215))


def test_air_and_dense_bodies_are_no_border():
    columns = np.indices((100, 120))[1]
    body = np.clip(2.0 - ((columns - 60) / 40.0) ** 2, 0.0, None)  # air at both sides, without a step
    assert exposed_field(body) == (slice(0, 100), slice(0, 120))
    wedge = columns / 120.0
    assert exposed_field(wedge) == (slice(0, 100), slice(0, 120))
    assert exposed_field(np.full((50, 60), 3.0)) == (slice(0, 50), slice(0, 60))


def test_a_cut_keeps_every_ray():
    part = cropped(film(), slice(40, 260), slice(100, 330))
    assert part.line_integrals[0, 0] == film().line_integrals[40, 100]
    np.testing.assert_allclose(part.camera.pixel_to_world((7.0, 5.0)), CAMERA.pixel_to_world((107.0, 45.0)))
    small = pooled(film(), 150)
    assert small.line_integrals.shape == (100, 133)
    # the middle of the first block of 3 x 3 pixels is pixel (1, 1)
    np.testing.assert_allclose(small.camera.pixel_to_world((0.0, 0.0)), CAMERA.pixel_to_world((1.0, 1.0)))
    assert small.line_integrals[0, 0] == pytest.approx(film().line_integrals[1, 1])


def test_the_field_of_the_grid_is_that_of_training():
    grid = Grid.cube(64, 100.0)
    # 100 mm, a tenth more, magnified 1.5, 2 mm pixels: 82.5 pixels about the middle of the detector
    assert field_of_grid(CAMERA, grid) == pytest.approx((150 - 41.25, 150 + 41.25, 200 - 41.25, 200 + 41.25))
    cut = cut_to_grid(film(), grid)
    assert cut.line_integrals.shape == (82, 82)
    assert cut.line_integrals[0, 0] == film().line_integrals[109, 159]
    assert shown_share(CAMERA, grid) == pytest.approx(1.0)
    near = Grid.cube(64, 480.0)  # its field of 396 pixels is larger than the rows, about that of the columns
    assert cut_to_grid(film(), near).line_integrals.shape == (300, 400)
    assert shown_share(CAMERA, near) == pytest.approx(300 / 396)
    aside = Grid.cube(64, 100.0, (-400 / 1.5, 0.0, 0.0))  # the patient's left is at the right: half of it is off
    assert shown_share(CAMERA, aside) == pytest.approx(0.5)
