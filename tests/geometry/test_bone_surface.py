"""Bone surfaces: a digitised ball on awkward grids."""

import numpy as np
import pytest

from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.surface import bone_mesh, largest_component, simplified, smoothed, smoothing_mm

RADIUS_MM = 20.0
TILT = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRIDS = {
    "plain": Grid((50, 50, 50), (1.0, 1.0, 1.0), (-24.5, -24.5, -24.5)),
    "anisotropic": Grid((50, 50, 25), (1.0, 1.0, 2.0), (-24.5, -24.5, -24.0)),
    "left-handed": Grid((50, 50, 50), (1.0, 1.0, 1.0), (24.5, -24.5, -24.5), (-1, 0, 0, 0, 1, 0, 0, 0, 1)),
    "oblique": Grid((50, 50, 50), (1.0, 1.0, 1.0), tuple(TILT @ [-24.5, -24.5, -24.5]), tuple(TILT.ravel())),
}


def ball(grid, centre_mm=(0.0, 0.0, 0.0), radius_mm=RADIUS_MM, bone_id=7):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    inside = np.linalg.norm(grid.to_world(index) - centre_mm, axis=-1) <= radius_mm
    return LabelMap((inside * bone_id).astype(np.uint8), grid)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_ball_in_the_world(grid):
    mesh = bone_mesh(ball(grid), 7)
    distance = np.linalg.norm(mesh.vertices_mm, axis=1)
    shrunk = RADIUS_MM - smoothing_mm(grid, 0.8) ** 2 / RADIUS_MM
    assert distance.mean() == pytest.approx(shrunk, abs=0.08)
    assert np.ptp(distance) < 1.5
    assert mesh.vertices_mm.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.05)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_faces_point_outwards(grid):
    mesh = bone_mesh(ball(grid), 7)
    assert mesh.volume_mm3 == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3, rel=0.03)
    outward = np.einsum("ij,ij->i", mesh.face_normals, mesh.face_centres_mm) / RADIUS_MM
    assert outward.min() > 0.5


def test_bone_cut_by_the_border_is_closed():
    mesh = bone_mesh(ball(GRIDS["plain"], centre_mm=(0, 0, 24.5)), 7)
    assert mesh.volume_mm3 == pytest.approx(2 / 3 * np.pi * RADIUS_MM**3, rel=0.05)
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert np.all(np.unique(edges, axis=0, return_counts=True)[1] == 2)


def test_single_voxel_has_a_surface():
    labels = LabelMap(np.zeros((5, 5, 5), np.uint8), Grid.cube(5, 5.0))
    labels.data[2, 2, 2] = 1
    # without smoothing: an octahedron with half axes of half a voxel, volume 4/3 * (1/2)^3
    assert bone_mesh(labels, 1).volume_mm3 == pytest.approx(1 / 6, abs=1e-5)


def test_absent_bone_is_an_error():
    with pytest.raises(DataError, match="C1"):
        bone_mesh(ball(GRIDS["plain"]), 1)
    with pytest.raises(ConfigError, match="background"):
        bone_mesh(ball(GRIDS["plain"]), 0)


def test_largest_component_joins_over_corners():
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[5, 5, 5] = True
    part, kept = largest_component(mask)
    assert kept == pytest.approx(3 / 4)
    assert part.sum() == 3 and not part[5, 5, 5]
    assert largest_component(np.zeros((2, 2, 2), dtype=bool))[1] == 0.0


def test_simplified_keeps_the_ball():
    mesh = bone_mesh(ball(GRIDS["plain"]), 7)
    small = simplified(mesh, 1000)
    assert len(small.faces) <= 1000
    assert small.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.01)
    assert simplified(small, 5000) is small


def test_smoothed_keeps_the_volume_and_rounds():
    mesh = bone_mesh(ball(GRIDS["plain"]), 7, smooth_voxels=0)
    round_mesh = smoothed(mesh, 10)
    assert round_mesh.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.01)
    spread = [np.linalg.norm(m.vertices_mm, axis=1).std() for m in (mesh, round_mesh)]
    assert spread[1] < 0.8 * spread[0]
