"""Resampling: exact on linear fields, honest about labels."""

import numpy as np
import pytest
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.resample import nearest_labels, resample_labels, resample_volume

TILT = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def positions(grid):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return grid.to_world(index)


def ramp(grid):
    return (positions(grid) @ [1.0, -2.0, 0.5] + 3.0).astype(np.float32)


@pytest.mark.parametrize("spacing", [0.7, 1.0, 1.4])
def test_linear_field_is_exact(spacing):
    source = Grid((30, 28, 26), (1.0, 1.1, 1.2), (-15, -15, -15), TILT)
    target = Grid((8, 7, 6), (spacing,) * 3, tuple(source.centre_mm - 3))
    assert resample_volume(Volume(ramp(source), source), target, fill=0).data == pytest.approx(ramp(target), abs=1e-3)


def test_outside_is_fill_and_type_is_kept():
    volume = Volume(np.full((4, 4, 4), 100, dtype=np.int16), Grid.cube(4, 4.0))
    result = resample_volume(volume, Grid.cube(8, 8.0), fill=-1024)
    assert result.data.dtype == np.int16
    assert (result.data == 100).sum() == 4**3
    assert (result.data == -1024).sum() == 8**3 - 4**3


def test_coarser_grid_averages_noise():
    # Linear interpolation alone would keep up to the whole variance of the voxels it hits.
    noise = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    result = resample_volume(Volume(noise, Grid.cube(64, 64.0)), Grid.cube(16, 64.0), fill=0)
    assert result.data.std() < 0.15


@pytest.mark.parametrize("edge_mm", [0.5, 1.0, 2.0, 3.0])
def test_volume_of_a_bone_is_kept(edge_mm):
    source = Grid.cube(48, 48.0)
    radius = np.linalg.norm(positions(source), axis=-1)
    labels = LabelMap(np.where(radius < 18, 5, 0).astype(np.uint8), source)
    result = resample_labels(labels, Grid.cube(round(48 / edge_mm), 48.0))
    assert result.data.dtype == np.uint8
    assert (result.data == 5).sum() * edge_mm**3 == pytest.approx(4 / 3 * np.pi * 18**3, rel=0.03)


def test_touching_bones_stay_in_touch_and_ids_do_not_mix():
    source = Grid.cube(40, 40.0)
    data = np.zeros(source.shape, dtype=np.int16)
    data[5:20, 5:35, 5:35] = 2
    data[20:35, 5:35, 5:35] = 900
    result = resample_labels(LabelMap(data, source), Grid.cube(17, 40.0))
    assert set(np.unique(result.data)) == {0, 2, 900}
    inner = result.data[4:-4, 4:-4, 4:-4]
    assert np.all(inner != 0)


def test_nothing_outside_the_field_of_view():
    full = LabelMap(np.ones((4, 4, 4), dtype=np.uint8), Grid.cube(4, 4.0))
    result = resample_labels(full, Grid.cube(12, 12.0))
    assert result.data.sum() == 4**3
    assert nearest_labels(full, Grid.cube(12, 12.0)).data.sum() == 4**3


def test_far_away_grid_is_empty():
    full = LabelMap(np.ones((4, 4, 4), dtype=np.uint8), Grid.cube(4, 4.0))
    far = Grid.cube(4, 4.0, (500, 0, 0))
    assert resample_labels(full, far).data.sum() == 0
    assert np.all(resample_volume(Volume(full.data, full.grid), far, fill=9).data == 9)


def test_nearest_is_exact_for_the_same_voxels_in_another_order():
    source = Grid((4, 5, 6), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    data = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    affine = source.world_from_voxel
    affine[:3, 3] = source.to_world((0, 4, 0))
    affine[:3, 1] *= -1
    target = Grid.from_affine((4, 5, 6), affine)
    assert np.array_equal(nearest_labels(LabelMap(data, source), target).data, data[:, ::-1])


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize(("count", "size_mm"), [(20, 90.0), (70, 60.0), (48, 96.0)])
def test_axis_by_axis_gives_what_smoothing_and_sampling_the_whole_give(kind, count, size_mm):
    """Oracle: scipy's Gaussian over every voxel, then its linear sampling."""
    source = Grid((48, 41, 37), (2.0, 2.5, 3.0), (-40.0, -45.0, -50.0))
    target = Grid.cube(count, size_mm, (5.0, 3.0, 2.0))
    data = generator(0, "resample").integers(-1000, 2000, source.shape).astype(kind)
    got = resample_volume(Volume(data, source), target, fill=-1000).data
    affine = source.voxel_from_world @ target.world_from_voxel
    step = np.diag(affine[:3, :3])
    sigma = np.where(step > 1.5, (step - 1) / 2, 0.0)
    smooth = ndimage.gaussian_filter(data.astype(np.float32), sigma, mode="nearest")
    wanted = ndimage.affine_transform(
        smooth, affine[:3, :3], affine[:3, 3], output_shape=target.shape, order=1, mode="nearest"
    )
    index = np.moveaxis(source.to_index(target.to_world(np.moveaxis(np.indices(target.shape), 0, -1))), -1, 0)
    seen = np.all([(i >= -0.5) & (i <= n - 0.5) for i, n in zip(index, source.shape, strict=True)], axis=0)
    assert seen.any() and np.all(got[~seen] == -1000)
    assert np.abs(got[seen].astype(float) - wanted[seen]).max() <= (0.501 if kind == np.int16 else 1e-3)


def test_a_grid_that_is_turned_a_little_is_not_taken_for_a_straight_one():
    angle = np.deg2rad(0.5)
    turn = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    target = Grid((40, 40, 40), (2.0, 2.0, 2.0), (-39.0, -39.0, -39.0), turn)
    source = Grid.cube(60, 120.0)
    ramp = source.to_world(np.moveaxis(np.indices(source.shape), 0, -1))[..., 0].astype(np.float32)
    got = resample_volume(Volume(ramp, source), target, fill=-1000).data
    wanted = target.to_world(np.moveaxis(np.indices(target.shape), 0, -1))[..., 0]
    np.testing.assert_allclose(got, wanted, atol=1e-3)
