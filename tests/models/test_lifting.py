"""Lifting reads the picture exactly where the true camera sees a voxel."""

import numpy as np
import pytest
import torch

from boneray.core.camera import jittered, orbit_camera
from boneray.core.grid import Grid
from boneray.models.batch import camera_matrices, standardised
from boneray.models.lifting import depth_codes, face, lift, replicate
from boneray.models.raylift import pixel_shuffle_3d

GRID = Grid((8, 12, 16), (4.0, 3.0, 2.0), (-20.0, 4.0, 7.0))


def pictures_of_pixel_positions(camera):
    rows, columns = camera.detector_shape
    row, column = np.mgrid[0:rows, 0:columns].astype(np.float32)
    return torch.from_numpy(np.stack([column, row]))[None]


@pytest.mark.parametrize("kind", ["perspective", "parallel"])
def test_each_voxel_reads_the_pixel_it_projects_to(kind):
    camera = orbit_camera(
        25.0, centre_mm=GRID.centre_mm, detector_shape=(40, 48), detector_mm=(120.0, 120.0), kind=kind
    )
    camera = jittered(camera, np.random.default_rng(0), centre_mm=GRID.centre_mm)
    projection, depth = (torch.from_numpy(m)[None] for m in camera_matrices(camera, GRID))
    values, seen = lift(pictures_of_pixel_positions(camera), projection, GRID.shape)
    index = np.moveaxis(np.mgrid[:8, :12, :16], 0, -1)
    want = camera.project(GRID.to_world(index))
    assert seen.all()
    np.testing.assert_allclose(np.moveaxis(values[0].numpy(), 0, -1), want, atol=2e-2)
    half_edge = np.mean(GRID.size_mm) / 2
    depth_mm = (GRID.to_world(index) - GRID.centre_mm) @ camera.central_ray
    np.testing.assert_allclose(depth_codes(depth, GRID.shape)[0, 0].numpy(), depth_mm / half_edge, atol=1e-4)


def test_what_is_outside_the_picture_is_marked_and_zero():
    camera = orbit_camera(0.0, centre_mm=GRID.centre_mm, detector_shape=(16, 16), detector_mm=(20.0, 20.0))
    projection = torch.from_numpy(camera_matrices(camera, GRID)[0])[None]
    values, seen = lift(torch.ones(1, 1, 16, 16), projection, GRID.shape)
    assert 0 < seen.mean() < 1
    torch.testing.assert_close(values, seen)


def test_replication_spreads_along_the_main_axis_only():
    camera = orbit_camera(0.0, centre_mm=GRID.centre_mm, detector_shape=(40, 48), detector_mm=(120.0, 120.0))
    projection, depth = (torch.from_numpy(m)[None] for m in camera_matrices(camera, GRID))
    values, _ = replicate(pictures_of_pixel_positions(camera), projection, depth, GRID.shape)
    torch.testing.assert_close(values, values[:, :, :, :1].expand_as(values))  # AP: along j
    assert values[0, 0, 0, 0, 0] > values[0, 0, -1, 0, 0]  # patient's right (high i) is at the picture's left


def test_pixel_shuffle_puts_eight_channels_into_eight_half_voxels():
    x = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
    assert pixel_shuffle_3d(x, 1).flatten().tolist() == list(range(8))


def test_scale_and_offset_of_a_picture_do_not_matter():
    picture = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    np.testing.assert_allclose(standardised(picture * 70 + 9), standardised(picture), atol=1e-4)


def test_a_replicated_picture_reads_where_the_foot_of_each_voxel_is_seen():
    """Sampling the middle plane and spreading it is the same as sampling at every voxel."""
    cameras = [
        jittered(
            orbit_camera(a, centre_mm=GRID.centre_mm, detector_shape=(40, 48), detector_mm=(120.0, 120.0)),
            np.random.default_rng(1),
            centre_mm=GRID.centre_mm,
        )
        for a in (0.0, 90.0)
    ]
    projections, depths = (
        torch.from_numpy(np.stack(m)) for m in zip(*(camera_matrices(c, GRID) for c in cameras), strict=True)
    )
    pictures = torch.cat([pictures_of_pixel_positions(c) for c in cameras])
    values, seen = replicate(pictures, projections, depths, GRID.shape)
    index = np.moveaxis(np.mgrid[:8, :12, :16], 0, -1)
    for n, (camera, axis) in enumerate(zip(cameras, (1, 0), strict=True)):
        world = GRID.to_world(index)
        world[..., axis] = GRID.centre_mm[axis]
        want = camera.project(world)
        assert seen[n].all()
        np.testing.assert_allclose(np.moveaxis(values[n].numpy(), 0, -1), want, atol=2e-2)


def test_an_oblique_picture_is_read_on_a_plane_that_faces_it():
    """The plane's edge keeps its length, so 45 degrees do not narrow the picture, and its direction."""
    cube = Grid.cube(16, 64.0)
    for angle, axis in ((0.0, 1), (45.0, 1), (90.0, 0), (135.0, 0)):
        camera = orbit_camera(
            angle,
            centre_mm=cube.centre_mm,
            detector_shape=(40, 40),
            detector_mm=(120.0, 120.0),
            kind="parallel",
        )
        projection, depth = (torch.from_numpy(m)[None] for m in camera_matrices(camera, cube))
        pixels = pictures_of_pixel_positions(camera)
        facing, _ = face(pixels, projection, axis, cube.shape, depths=depth)
        columns = facing[0, 0, :, 8].numpy()
        # 15 voxels of 4 mm are 60 mm: half of the detector's 40 columns
        assert abs(columns[-1] - columns[0]) == pytest.approx(15 * 4 / 3, abs=1e-2)
        flat, _ = face(pixels, projection, axis, cube.shape)
        assert np.sign(columns[-1] - columns[0]) == np.sign((flat[0, 0, -1, 8] - flat[0, 0, 0, 8]).item())
        narrowed = abs((flat[0, 0, -1, 8] - flat[0, 0, 0, 8]).item()) / (15 * 4 / 3)
        assert narrowed == pytest.approx(abs(np.cos(np.deg2rad(angle if axis == 1 else angle - 90))), abs=1e-2)
