"""Boxes of bones, whatever the ids are."""

import numpy as np
import pytest
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.geometry.boxes import bone_boxes


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
def test_boxes_are_those_of_scipy(kind):
    """Oracle: scipy.ndimage.find_objects."""
    data = (generator(0, "boxes").random((30, 20, 25)) ** 40 * 60).astype(kind)
    found = {i: box for i, box in enumerate(ndimage.find_objects(data), start=1) if box is not None}
    assert bone_boxes(LabelMap(data, Grid((30, 20, 25), (1, 1, 1), (0, 0, 0)))) == found
    assert len(found) > 5


def test_a_bone_at_every_face_and_one_of_a_single_voxel():
    data = np.zeros((4, 5, 6), np.uint8)
    data[0, 0, 0] = data[3, 4, 5] = 2
    data[1, 2, 3] = 9
    boxes = bone_boxes(LabelMap(data, Grid((4, 5, 6), (1, 1, 1), (0, 0, 0))))
    assert boxes == {2: (slice(0, 4), slice(0, 5), slice(0, 6)), 9: (slice(1, 2), slice(2, 3), slice(3, 4))}


def test_other_memory_orders_and_wild_ids():
    data = np.zeros((4, 5, 6), np.int64, order="F")
    data[1:3, 2, 3:5] = 123456789
    data[0, 0, 0] = -7
    boxes = bone_boxes(LabelMap(data, Grid((4, 5, 6), (1, 1, 1), (0, 0, 0))))
    assert boxes == {
        -7: (slice(0, 1), slice(0, 1), slice(0, 1)),
        123456789: (slice(1, 3), slice(2, 3), slice(3, 5)),
    }


def test_nothing_has_no_box():
    assert bone_boxes(LabelMap(np.zeros((3, 3, 3), np.uint8), Grid.cube(3, 3.0))) == {}
