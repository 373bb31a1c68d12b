"""Siddon, maximum, depth and material projections against closed forms and each other."""

import numpy as np
import pytest

from boneray.core.camera import jittered, orbit_camera
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.projection.depth import depth_maps
from boneray.projection.joseph import line_integrals
from boneray.projection.material_integrals import material_integrals
from boneray.projection.maximum import ray_maxima
from boneray.projection.siddon import siddon_line_integrals

SIZE = {"detector_shape": (48, 40), "detector_mm": (300.0, 260.0)}


def tilted(angle_deg: float):
    return jittered(orbit_camera(angle_deg, **SIZE), np.random.default_rng(1), centre_mm=(0, 0, 0))


def rays(camera):
    rows, columns = camera.detector_shape
    row, column = np.mgrid[0:rows, 0:columns]
    return camera.ray(np.stack([column, row], -1).astype(float))


@pytest.mark.parametrize("angle_deg", [0.0, 37.0, 90.0, 161.0])
def test_siddon_is_exact_for_boxes_of_voxels(angle_deg):
    grid = Grid((20, 24, 30), (4.0, 3.0, 5.0), (-38.0, -34.5, -72.5))
    data = np.zeros(grid.shape)
    data[4:9, 5:20, 10:22] = 2.0
    low, high = grid.to_world([3.5, 4.5, 9.5]), grid.to_world([8.5, 19.5, 21.5])
    for camera in (orbit_camera(angle_deg, **SIZE), tilted(angle_deg)):
        start, direction = rays(camera)
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (low - start) / direction, (high - start) / direction
        want = 2.0 * np.maximum(0.0, np.maximum(a, b).min(-1) - np.minimum(a, b).max(-1))
        np.testing.assert_allclose(siddon_line_integrals(data, grid, camera), want, atol=1e-9)


def test_siddon_and_joseph_agree_on_what_is_smooth():
    grid = Grid.cube(64, 160.0)
    world = grid.to_world(np.moveaxis(np.mgrid[:64, :64, :64], 0, -1))
    data = np.exp(-(world**2).sum(-1) / (2 * 25.0**2))
    a, b = siddon_line_integrals(data, grid, tilted(30.0)), line_integrals(data, grid, tilted(30.0))
    assert np.abs(a - b).max() <= 0.01 * b.max()


def test_maximum_projection_meets_the_brightest_voxel():
    grid = Grid.cube(32, 64.0)
    data = np.random.default_rng(2).random(grid.shape).astype(np.float32) * 0.5
    data[20, 11, 16] = 3.0
    camera = orbit_camera(0.0, kind="parallel", detector_shape=(32, 32), detector_mm=(64.0, 64.0))
    got = ray_maxima(data, grid, camera)
    np.testing.assert_allclose(got, brightest(data, camera, grid), rtol=1e-6)


def brightest(data, camera, grid):
    """Largest value of each line of voxels along y, put where the camera sees the line."""
    out = np.zeros(camera.detector_shape, np.float32)
    for i in range(grid.shape[0]):
        for k in range(grid.shape[2]):
            column, row = camera.project(grid.to_world([i, 0, k]))
            out[round(row), round(column)] = data[i, :, k].max()
    return out


@pytest.mark.parametrize("angle_deg", [0.0, 50.0])
def test_depth_maps_find_both_faces_of_a_ball(angle_deg):
    grid, centre, radius = Grid.cube(100, 200.0), np.array([10.0, 0.0, 5.0]), 60.0
    world = grid.to_world(np.moveaxis(np.mgrid[:100, :100, :100], 0, -1))
    labels = np.where(((world - centre) ** 2).sum(-1) <= radius**2, 7, 0).astype(np.uint8)
    camera = tilted(angle_deg)
    maps = depth_maps(LabelMap(labels, grid), camera)
    assert maps.bone_ids == (7,)
    start, direction = rays(camera)
    middle = ((centre - start) * direction).sum(-1)
    half2 = radius**2 - (((centre - start) ** 2).sum(-1) - middle**2)
    disputed = maps.valid[0] != (half2 > 0)
    assert np.all(np.abs(np.sqrt(radius**2 - half2) - radius)[disputed] <= 2.0)  # only rays that graze, within a voxel
    inner = half2 > (0.5 * radius) ** 2
    half = np.sqrt(np.maximum(half2, 0))
    for got, want in ((maps.front_mm[0], middle - half), (maps.back_mm[0], middle + half)):
        across = (np.abs(got - want) * half / radius)[inner]  # across the surface, not along the slanting ray
        assert np.median(across) <= 0.2 * 2.0 and across.max() <= 1.0 * 2.0  # of a voxel of 2 mm
    np.testing.assert_array_equal(maps.thickness_mm, maps.back_mm - maps.front_mm)
    off = np.abs(np.linalg.norm(maps.points(camera)[0] - centre, axis=1) - radius)
    assert np.median(off) <= 0.2 * 2.0


def test_depth_keeps_bones_apart_and_names_unknown_ones():
    grid = Grid.cube(20, 40.0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[8:12, 14:17, 8:12] = 1  # anterior
    labels[8:12, 3:6, 8:12] = 2  # posterior
    camera = orbit_camera(0.0, kind="parallel", detector_shape=(20, 20), detector_mm=(40.0, 40.0))
    maps = depth_maps(LabelMap(labels, grid), camera, (2, 1, 9))
    posterior, anterior = maps.front_mm[0], maps.front_mm[1]
    both = np.isfinite(posterior) & np.isfinite(anterior)
    assert both.sum() == 16 and np.all(posterior[both] > anterior[both])
    # faces lie between voxel centres: the front of the anterior block at y = 14, so 1000 - 14 from the source plane
    np.testing.assert_allclose(anterior[both], 1000.0 - 14.0, atol=1e-3)
    np.testing.assert_allclose(maps.thickness_mm[:2, both], 6.0, atol=1e-3)
    assert not maps.valid[2].any()
    with pytest.raises(DataError, match="different whole numbers"):
        depth_maps(LabelMap(labels, grid), camera, (1, 1))


def test_materials_are_kept_apart_and_add_up():
    grid = Grid.cube(30, 90.0)
    rng = np.random.default_rng(3)
    density, material = rng.random(grid.shape).astype(np.float32), rng.integers(0, 3, grid.shape)
    parts = material_integrals(density, material, 3, grid, tilted(15.0))
    whole = line_integrals(density, grid, tilted(15.0))
    np.testing.assert_allclose(parts.sum(0), whole, atol=1e-5 * whole.max())
    for number in range(3):
        alone = line_integrals(density * (material == number), grid, tilted(15.0))
        np.testing.assert_allclose(parts[number], alone, atol=1e-5 * whole.max())
    with pytest.raises(GeometryError, match="0 to 1"):
        material_integrals(density, material, 2, grid, tilted(15.0))
