"""Warps: undone exactly, never folded, the same for intensities and labels on any grid."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.resample import resample_labels, resample_volume
from boneray.geometry.warp import Warp, bent, similarity, warped_labels, warped_volume

TURN = Rotation.from_euler("xyz", (7, -12, 20), degrees=True).as_matrix()


def some_warp(seed=0, most_mm=9.0):
    plain = similarity(TURN, scale=1.15, shift_mm=(4, -3, 6), centre_mm=(10, 20, 30))
    region = Grid.cube(8, 150.0, (10, 20, 30))
    return bent(plain, generator(seed, "warp"), region=region, knot_mm=25.0, most_mm=most_mm)


def test_a_similarity_takes_a_point_where_it_should():
    warp = similarity(TURN, scale=2.0, shift_mm=(1, 2, 3), centre_mm=(10, 0, 0))
    np.testing.assert_allclose(warp.new_from_old((10, 0, 0)), (11, 2, 3), atol=1e-12)
    np.testing.assert_allclose(warp.new_from_old((13, 0, 0)), (11, 2, 3) + 6 * TURN[:, 0], atol=1e-12)


def test_a_warp_is_undone():
    warp = some_warp()
    old = generator(0, "points").uniform(-60, 60, (500, 3)) + np.array([10, 20, 30])
    new = warp.new_from_old(old)
    assert np.linalg.norm(new - old, axis=1).max() > 10
    np.testing.assert_allclose(warp.old_from_new(new), old, atol=1e-6)


def test_a_bend_never_folds_and_one_that_could_is_refused():
    for seed in range(5):
        warp = some_warp(seed, most_mm=10.0)  # 25 / 2.48 = 10.08 is the limit
        points = generator(seed, "points").uniform(-70, 70, (4000, 3)) + np.array([10, 20, 30])
        step = 1e-4
        columns = [
            (warp.old_from_new(points + step * np.eye(3)[a]) - warp.old_from_new(points)) / step for a in range(3)
        ]
        assert np.linalg.det(np.stack(columns, -1)).min() > 0
    with pytest.raises(GeometryError, match=r"may fold the body; keep it below 10\.1 mm"):
        some_warp(most_mm=12.0)
    with pytest.raises(GeometryError, match="must not mirror"):
        Warp(np.diag([-1.0, 1, 1]), np.zeros(3))


def smooth(grid):
    """HU-like values that vary smoothly, of world points."""

    def value(points):
        return 100 * np.sin(points[..., 0] / 18) + 80 * np.cos(points[..., 1] / 23) + points[..., 2]

    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return value, index


def test_the_volume_holds_at_every_point_what_was_at_its_old_place():
    grid = Grid.cube(60, 180.0, (10, 20, 30))
    value, index = smooth(grid)
    volume = Volume(value(grid.to_world(index)).astype(np.float32), grid)
    warp = some_warp()
    out = warped_volume(volume, warp)
    inner = (slice(15, 45),) * 3
    wanted = value(warp.old_from_new(grid.to_world(index)))[inner]
    # linear interpolation of 100 sin(x / 18) every 3 mm is off by 100 (3 / 18)^2 / 8 = 0.35 at most
    assert np.abs(out.data[inner] - wanted).max() < 0.7
    assert warped_volume(Volume(volume.data.astype(np.int16), grid), warp).data.dtype == np.int16


@pytest.mark.parametrize("turned", [False, True])
def test_any_grid_gives_the_same_bend(turned):
    """The fast way for grids along the axes, and the general one for others."""
    source = Grid.cube(40, 320.0, (10, 20, 30))  # the bend ends within it
    data = generator(1, "data").uniform(-1000, 1000, source.shape).astype(np.float32)
    warp = some_warp()
    straight = warped_volume(Volume(data, source), warp).data
    permuted = Grid((40, 40, 40), source.spacing_mm, source.origin_mm, (0, 0, 1, 1, 0, 0, 0, 1, 0))
    other = warped_volume(Volume(data, source), warp, permuted).data if turned else straight
    np.testing.assert_allclose(other.transpose(2, 0, 1) if turned else other, straight, atol=2e-2)


def test_without_a_change_nothing_changes():
    grid = Grid((9, 10, 11), (1.0, 2.0, 1.5), (3.0, -4.0, 5.0))
    data = generator(2, "data").integers(-1000, 2000, grid.shape).astype(np.int16)
    ids = generator(2, "ids").integers(0, 4, grid.shape).astype(np.uint8)
    still = similarity(np.eye(3))
    assert np.array_equal(warped_volume(Volume(data, grid), still).data, data)
    assert np.array_equal(warped_labels(LabelMap(ids, grid), still).data, ids)


def test_warping_agrees_with_resampling_onto_the_moved_grid():
    grid = Grid.cube(32, 64.0)
    ids = np.zeros(grid.shape, np.uint8)
    x, y, z = np.moveaxis(grid.to_world(np.stack(np.meshgrid(*(np.arange(32),) * 3, indexing="ij"), -1)), -1, 0)
    ids[(x**2 + y**2 + z**2) < 15**2] = 1
    ids[((x - 12) ** 2 + y**2 + z**2) < 9**2] = 2
    hu = np.array([-1000, 700, 1400], np.int16)[ids]
    warp = similarity(TURN, shift_mm=(2, 1, -3))
    moved = Grid(grid.shape, grid.spacing_mm, tuple(warp.old_from_new(grid.origin_mm)), tuple((TURN.T).ravel()))
    labels = warped_labels(LabelMap(ids, grid), warp)
    assert np.array_equal(labels.data, resample_labels(LabelMap(ids, grid), moved).data)
    volume = warped_volume(Volume(hu, grid), warp)
    assert np.abs(volume.data - resample_volume(Volume(hu, grid), moved, fill=-1000).data.astype(int)).max() <= 1


@pytest.mark.parametrize("scale", [0.85, 1.2])
def test_a_scaled_ball_has_the_volume_of_the_scaled_ball(scale):
    grid = Grid.cube(80, 80.0)
    x, y, z = np.moveaxis(grid.to_world(np.stack(np.meshgrid(*(np.arange(80),) * 3, indexing="ij"), -1)), -1, 0)
    ball = LabelMap(((x**2 + y**2 + z**2) < 24**2).astype(np.uint8), grid)
    made = warped_labels(ball, similarity(TURN, scale=scale, shift_mm=(3, -2, 1)))
    assert made.data.sum() == pytest.approx(4 / 3 * np.pi * (24 * scale) ** 3, rel=0.01)
    centre = grid.to_world(np.argwhere(made.data).mean(0))
    np.testing.assert_allclose(centre, (3, -2, 1), atol=0.05)


def test_a_body_cut_by_a_face_goes_on_beyond_it():
    grid = Grid.cube(20, 20.0)
    column = np.zeros(grid.shape, np.uint8)
    column[8:12, 8:12, :] = 7
    made = warped_labels(LabelMap(column, grid), similarity(np.eye(3), shift_mm=(0, 0, 5)))
    assert np.array_equal(made.data, column)
