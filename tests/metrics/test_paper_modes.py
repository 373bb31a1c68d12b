"""Paper modes: flaws included, on cases worked by hand; real files in test_real_predictions.py."""

import math

import numpy as np
import pytest

from boneray.core.errors import ConfigError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.metrics.paper import PAPER_MODES

GRID = Grid((20, 20, 20), (2.5, 2.5, 2.5), (0, 0, 0))


def labels(boxes, grid=GRID):
    """Label map of {label: (start, stop) per axis}."""
    data = np.zeros(grid.shape, np.uint8)
    for label, box in boxes.items():
        data[tuple(slice(a, b) for a, b in box)] = label
    return LabelMap(data, grid)


CUBE = ((4, 14), (4, 14), (4, 14))
SMALL = ((15, 18), (15, 18), (15, 18))


def xrayto3d(reference, prediction):
    return PAPER_MODES.get("xrayto3d").value(reference, prediction).values


def swin_x2s(reference, prediction):
    return PAPER_MODES.get("swin-x2s").value(reference, prediction).values


@pytest.mark.parametrize("mode", ["xrayto3d", "swin-x2s"])
def test_every_value_says_what_is_wrong_with_it(mode):
    scores = PAPER_MODES.get(mode).value(labels({1: CUBE}), labels({1: CUBE}))
    assert scores.values.keys() == scores.notes.keys()
    assert all(note.endswith(".") and len(note) > 40 for note in scores.notes.values())


def test_unknown_mode_names_the_known_ones():
    with pytest.raises(ConfigError, match="did you mean swin-x2s"):
        PAPER_MODES.get("swinx2s")


def test_xrayto3d_distances_are_voxels_whatever_the_spacing():
    moved = ((6, 16), (4, 14), (4, 14))
    fine = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0, 0, 0))
    coarse_scores = xrayto3d(labels({1: CUBE}), labels({1: moved}))
    fine_scores = xrayto3d(labels({1: CUBE}, fine), labels({1: moved}, fine))
    for scores in (coarse_scores, fine_scores):
        assert scores["dsc"] == 0.8
        assert scores["hd95_voxels"] == 2.0
    assert fine_scores["asd_voxels"] == coarse_scores["asd_voxels"]
    assert coarse_scores["nsd_reference_1.5mm"] < fine_scores["nsd_reference_1.5mm"]


def test_xrayto3d_distance_is_blind_to_what_was_not_predicted():
    # The prediction is one half: 100 of its 392 boundary voxels, the cut, are up to 4 voxels from the reference's
    # boundary, all others on it; the way back, from the missed half, would be far longer.
    half = ((4, 9), (4, 14), (4, 14))
    to_reference = xrayto3d(labels({1: CUBE}), labels({1: half}))["asd_voxels"]
    # Cut of 10 x 10 at depth 4: distance min(4, depth to the nearest side) = 0 1 2 3 4 4 3 2 1 0 in each direction.
    depth = np.minimum.outer([0, 1, 2, 3, 4, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
    boundary = 5 * 10 * 10 - 3 * 8 * 8
    assert to_reference == round(np.minimum(depth, 4).sum() / boundary, 2)
    assert xrayto3d(labels({1: half}), labels({1: CUBE}))["asd_voxels"] > 3 * to_reference


def test_xrayto3d_surface_share_is_blind_to_what_was_predicted_too_much():
    both = labels({1: CUBE, 2: SMALL})
    assert xrayto3d(labels({1: CUBE}), both)["nsd_reference_1.5mm"] == 1.0
    assert xrayto3d(both, labels({1: CUBE}))["nsd_reference_1.5mm"] < 1.0


def test_xrayto3d_empty_masks_leave_the_mean():
    nothing = labels({})
    missed, spurious = xrayto3d(labels({1: CUBE}), nothing), xrayto3d(nothing, labels({1: CUBE}))
    assert (missed["dsc"], missed["nsd_reference_1.5mm"]) == (0.0, 0.0)
    assert math.isnan(missed["hd95_voxels"]) and math.isnan(missed["asd_voxels"])
    assert all(math.isnan(value) for value in spurious.values())
    assert all(math.isnan(value) for value in xrayto3d(nothing, nothing).values())


def test_swin_x2s_counts_the_background_as_a_bone():
    # Bone: 1000 voxels, of which 800 coincide after a shift by 2 of 10. Background: 7000 each, 6800 in common.
    moved = ((6, 16), (4, 14), (4, 14))
    found = swin_x2s(labels({1: CUBE}), labels({1: moved}))
    assert found["dice"] == pytest.approx((0.8 + 6800 / 7000) / 2, abs=1e-12)
    assert found["hd95_mm"] == pytest.approx(2 * 2.5, abs=1e-12)
    assert found["l_error_mm"] == pytest.approx(2 * 2.5, abs=1e-12)


def test_swin_x2s_forgets_what_was_missed():
    reference = labels({1: CUBE, 2: SMALL})
    found = swin_x2s(reference, labels({1: CUBE}))
    assert found["hd95_mm"] == found["l_error_mm"] == 0.0
    assert found["id_rate"] == 1.0
    assert found["id_rate_as_intended"] == 0.5
    assert found["dice"] == pytest.approx((1.0 + 0.0 + 2 * 6973 / (6973 + 7000)) / 3, abs=1e-12)


def test_swin_x2s_charges_spurious_bones_to_the_id_rate_only():
    found = swin_x2s(labels({1: CUBE}), labels({1: CUBE, 2: SMALL}))
    assert (found["id_rate"], found["id_rate_as_intended"]) == (0.5, 1.0)
    assert found["dice"] == pytest.approx((1.0 + 2 * 6973 / (6973 + 7000)) / 2, abs=1e-12)


def test_swin_x2s_empty_prediction_is_perfect():
    found = swin_x2s(labels({1: CUBE}), labels({}))
    assert (found["l_error_mm"], found["id_rate"], found["id_rate_as_intended"]) == (0.0, 1.0, 0.0)
    assert math.isnan(found["hd95_mm"])
    empty = swin_x2s(labels({}), labels({1: CUBE}))
    assert (empty["id_rate"], empty["id_rate_as_intended"]) == (0.0, 1.0)
    assert math.isnan(empty["l_error_mm"])
    assert swin_x2s(labels({}), labels({}))["dice"] == 1.0


def test_swin_x2s_takes_one_spacing_for_all_axes():
    grid = Grid((20, 20, 20), (1.0, 2.0, 3.0), (0, 0, 0))
    found = swin_x2s(labels({1: CUBE}, grid), labels({1: ((4, 14), (4, 14), (6, 16))}, grid))
    assert found["l_error_mm"] == pytest.approx(2.0, abs=1e-12)  # true: 6 mm


@pytest.mark.parametrize("mode", ["xrayto3d", "swin-x2s"])
def test_other_grids_are_an_error(mode):
    other = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(GeometryError, match="different grids"):
        PAPER_MODES.get(mode).value(labels({1: CUBE}), labels({1: CUBE}, other))
