"""Line integrals against closed forms (sphere, cube) and laws (pose, mass, axis order)."""

import numpy as np
import pytest

from boneray.core.camera import jittered, orbit_camera
from boneray.core.grid import Grid
from boneray.core.volume import to_canonical
from boneray.projection.joseph import line_integrals

RADIUS_MM = 80.0


def sphere(grid: Grid, radius_mm: float, subsamples: int = 3) -> np.ndarray:
    """Fraction of each voxel inside a sphere about the world origin, by sub-voxel sampling."""
    offsets = (np.arange(subsamples) - (subsamples - 1) / 2) / subsamples
    axes = [grid.origin_mm[a] + grid.spacing_mm[a] * (np.arange(grid.shape[a])[:, None] + offsets) for a in range(3)]
    x2, y2, z2 = (axis**2 for axis in axes)
    inside = np.zeros(grid.shape, np.float32)
    for a in range(subsamples):
        for b in range(subsamples):
            plane = x2[:, a][:, None] + y2[:, b][None, :]
            for c in range(subsamples):
                inside += plane[:, :, None] + z2[:, c] <= radius_mm**2
    return inside / subsamples**3


def chord_mm(camera, radius_mm: float) -> np.ndarray:
    rows, columns = camera.detector_shape
    row, column = np.mgrid[0:rows, 0:columns]
    start, direction = camera.ray(np.stack([column, row], -1).astype(float))
    nearest = start - (start * direction).sum(-1, keepdims=True) * direction
    return 2 * np.sqrt(np.maximum(0.0, radius_mm**2 - (nearest**2).sum(-1)))


@pytest.mark.parametrize("angle_deg", [0, 37, 90])
def test_sphere_line_integral_is_the_chord(angle_deg):
    grid = Grid.cube(256, 256.0)
    camera = orbit_camera(angle_deg, detector_shape=(128, 128))
    got = line_integrals(sphere(grid, RADIUS_MM), grid, camera)
    want = chord_mm(camera, RADIUS_MM)
    assert np.sqrt(np.mean((got - want) ** 2)) / want.max() <= 0.0025
    interior = want > 0.5 * want.max()
    assert np.sqrt(np.mean((got - want)[interior] ** 2)) / want.max() <= 0.0008


@pytest.mark.parametrize("angle_deg", [0, 37])
def test_uniform_cube_that_fills_the_volume_gives_the_exact_box_chord(angle_deg):
    grid = Grid.cube(96, 96.0)
    camera = orbit_camera(angle_deg, detector_shape=(96, 96), detector_mm=(200.0, 200.0))
    got = line_integrals(np.ones(grid.shape), grid, camera)
    row, column = np.mgrid[0:96, 0:96]
    start, direction = camera.ray(np.stack([column, row], -1).astype(float))
    with np.errstate(divide="ignore"):
        a, b = (-48.0 - start) / direction, (48.0 - start) / direction
    want = np.maximum(0.0, np.maximum(a, b).min(-1) - np.minimum(a, b).max(-1))
    assert np.sqrt(np.mean((got - want) ** 2)) / want.max() <= 0.001


def test_parallel_views_see_the_same_mass():
    grid = Grid.cube(48, 96.0)
    data = np.random.default_rng(1).random(grid.shape) * (sphere(grid, 30.0) > 0)
    mass = [
        line_integrals(data, grid, orbit_camera(angle, kind="parallel", detector_mm=(120.0, 120.0))).sum()
        for angle in (0, 30, 90)
    ]
    assert np.ptp(mass) / mass[0] <= 1e-3


def test_turning_the_body_is_turning_the_camera():
    grid = Grid.cube(40, 80.0)
    data = np.random.default_rng(2).random(grid.shape).astype(np.float32)
    turned = np.rot90(data, axes=(0, 1))  # array axis 0 -> 1: the body turns by +90 degrees about S
    camera = orbit_camera(0.0, detector_shape=(32, 32), detector_mm=(150.0, 150.0))
    rotation = np.eye(4)
    rotation[:2, :2] = [[0, -1], [1, 0]]
    want = line_integrals(data, grid, camera)
    got = line_integrals(turned, grid, camera.moved(rotation))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_the_order_in_which_axes_are_stored_does_not_matter():
    grid = Grid((20, 30, 40), (2.0, 1.5, 1.0), (-20.0, -22.0, -19.0))
    data = np.random.default_rng(3).random(grid.shape).astype(np.float32)
    camera = jittered(
        orbit_camera(20.0, detector_shape=(24, 24), detector_mm=(90.0, 90.0)),
        np.random.default_rng(4),
        centre_mm=(0, 0, 0),
    )
    affine = grid.world_from_voxel[:, [2, 0, 1, 3]]
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 0] * 39
    flipped[:3, 0] *= -1
    other = np.flip(np.transpose(data, (2, 0, 1)), 0)
    got = line_integrals(other, Grid.from_affine(other.shape, flipped), camera)
    np.testing.assert_allclose(got, line_integrals(data, grid, camera), rtol=1e-4, atol=1e-3)
    again, canonical_grid = to_canonical(other, Grid.from_affine(other.shape, flipped))
    assert np.array_equal(again, data) and canonical_grid.matches(grid)


def test_matter_behind_the_source_does_not_count():
    grid = Grid.cube(16, 32.0, centre_mm=(0.0, 2000.0, 0.0))
    assert line_integrals(np.ones(grid.shape), grid, orbit_camera(0.0)).max() == 0.0
