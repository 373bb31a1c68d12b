"""Grids: where voxels lie in the world."""

import numpy as np
import pytest

from boneray.core.errors import GeometryError
from boneray.core.grid import Grid


def oblique_grid() -> Grid:
    """Anisotropic, left-handed in no axis, 30 degrees about z."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    return Grid((7, 5, 9), (0.5, 1.5, 3.0), (-10.0, 20.0, 5.0), (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))


def test_voxel_to_world_by_hand() -> None:
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    # two steps of 0.5 mm along i = (c, s, 0) and one of 3 mm along k = (0, 0, 1)
    np.testing.assert_allclose(oblique_grid().to_world([2, 0, 1]), [-10 + c, 20 + s, 8.0])


def test_world_to_voxel_to_world() -> None:
    points = np.random.default_rng(0).uniform(-100, 100, (50, 3))
    grid = oblique_grid()
    np.testing.assert_allclose(grid.to_world(grid.to_index(points)), points, atol=1e-9)
    np.testing.assert_allclose(grid.to_index(grid.to_world(points)), points, atol=1e-9)


def test_cube_is_centred_and_has_the_asked_size() -> None:
    grid = Grid.cube(4, 8.0, (1.0, 2.0, 3.0))
    assert grid.spacing_mm == (2.0, 2.0, 2.0)
    assert grid.origin_mm == (-2.0, -1.0, 0.0)
    np.testing.assert_allclose(grid.centre_mm, (1.0, 2.0, 3.0))
    np.testing.assert_allclose(grid.size_mm, 8.0)
    assert grid.voxel_volume_mm3 == 8.0


def test_affine_and_json_keep_the_grid() -> None:
    grid = oblique_grid()
    assert Grid.from_affine(grid.shape, grid.world_from_voxel).matches(grid, 1e-9)
    assert Grid.from_dict(grid.to_dict()) == grid


def test_matches_sees_shape_shift_and_flip() -> None:
    grid = Grid.cube(4, 8.0)
    assert grid.matches(Grid.cube(4, 8.0, (0.005, 0.0, 0.0)))
    assert not grid.matches(Grid.cube(4, 8.0, (0.5, 0.0, 0.0)))
    assert not grid.matches(Grid.cube(5, 10.0))
    flipped = Grid(grid.shape, grid.spacing_mm, grid.origin_mm, (-1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    assert not grid.matches(flipped)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (((0, 4, 4), (1, 1, 1), (0, 0, 0)), "shape"),
        (((4, 4), (1, 1, 1), (0, 0, 0)), "shape"),
        (((4, 4, 4), (1, 0, 1), (0, 0, 0)), "spacing"),
        (((4, 4, 4), (1, 1, 1), (0, np.nan, 0)), "origin"),
        (((4, 4, 4), (1, 1, 1), (0, 0, 0), (1, 0.5, 0, 0, 1, 0, 0, 0, 1)), "orthonormal"),
    ],
)
def test_impossible_grids_are_refused(values: tuple, complaint: str) -> None:
    with pytest.raises(GeometryError, match=complaint):
        Grid(*values)


def test_affine_without_spacing_is_refused() -> None:
    with pytest.raises(GeometryError, match="no valid spacing"):
        Grid.from_affine((2, 2, 2), np.diag([1.0, 0.0, 1.0, 1.0]))
