"""Volumes and label maps, and the way to RAS+ axes."""

from itertools import permutations, product

import numpy as np
import pytest

from boneray.core.bones import bone
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume, require_same_grid, to_canonical

ALL_48 = [(order, flip) for order in permutations(range(3)) for flip in product((False, True), repeat=3)]


def stored_otherwise(data: np.ndarray, affine: np.ndarray, order: tuple, flip: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels at the same places, with array axes permuted and reversed."""
    stored = np.transpose(data, order)
    stored_affine = affine.copy()
    stored_affine[:, :3] = affine[:, list(order)]
    for axis in range(3):
        if flip[axis]:
            stored_affine[:3, 3] += stored_affine[:3, axis] * (stored.shape[axis] - 1)
            stored_affine[:3, axis] *= -1
            stored = np.flip(stored, axis)
    return stored, stored_affine


@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
def test_all_48_axis_orders_give_the_same_voxels(tilt_deg: float) -> None:
    c, s = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), (-7.0, 11.0, 2.0), (c, -s, 0, s, c, 0, 0, 0, 1))
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    assert len(ALL_48) == 48
    for order, flip in ALL_48:
        stored, affine = stored_otherwise(data, grid.world_from_voxel, order, flip)
        turned, turned_grid = to_canonical(stored, Grid.from_affine(stored.shape, affine))
        np.testing.assert_array_equal(turned, data, err_msg=f"{order} {flip}")
        np.testing.assert_allclose(turned_grid.world_from_voxel, grid.world_from_voxel, atol=1e-9)


def test_canonical_of_an_lps_array_by_hand() -> None:
    data = np.zeros((2, 3, 4), np.uint8)
    data[0, 0, 0] = 1  # most left (-x is left in RAS+, LPS index 0 lies at +x), most anterior
    grid = Grid((2, 3, 4), (1, 1, 1), (10.0, 20.0, 0.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    turned, turned_grid = to_canonical(data, grid)
    assert turned[1, 2, 0] == 1
    assert turned_grid.origin_mm == (9.0, 18.0, 0.0)
    np.testing.assert_allclose(turned_grid.to_world([1, 2, 0]), (10.0, 20.0, 0.0))


def test_label_map_refuses_fractions() -> None:
    with pytest.raises(DataError, match="whole numbers"):
        LabelMap(np.zeros((2, 2, 2), np.float32), Grid.cube(2, 2.0))


def test_array_and_grid_must_fit() -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        Volume(np.zeros((2, 2, 3), np.float32), Grid.cube(2, 2.0))


def test_ids_leave_the_background_out() -> None:
    data = np.zeros((2, 2, 2), np.uint8)
    data[0, 0, 0], data[1, 1, 1] = 51, 3
    labels = LabelMap(data, Grid.cube(2, 2.0))
    assert labels.ids == (3, 51)
    assert labels.mask(51).sum() == 1


def test_different_grids_are_named() -> None:
    with pytest.raises(GeometryError, match=r"CT \(shape .* and labels \(shape .* different grids"):
        require_same_grid(Grid.cube(4, 8.0), Grid.cube(4, 9.0), "CT", "labels")
    require_same_grid(Grid.cube(4, 8.0), Grid.cube(4, 8.0), "CT", "labels")


def test_renumbered_labels_are_those_of_the_table_of_bones():
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    labels = LabelMap(np.array([0, 1, 2, 3, 300, 65535, 1, 0], np.uint16).reshape(2, 2, 2), grid)
    made = labels.renumbered({1: "sacrum", 2: "hip_left", 300: "C1", 7: "L5"})
    ids = [0, bone("sacrum").bone_id, bone("hip_left").bone_id, 0, bone("C1").bone_id, 0, bone("sacrum").bone_id, 0]
    assert made.data.dtype == np.uint8 and made.grid == grid
    assert made.data.ravel().tolist() == ids
