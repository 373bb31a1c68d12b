"""Centroids, identification and labels that are one off, on cases worked by hand."""

import math

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.metrics.facts import case_facts
from boneray.metrics.labelling import SEQUENCES, LabelShift, label_shift, label_shifts
from boneray.metrics.registry import METRICS

GRID = Grid((8, 8, 120), (1.0, 2.0, 1.0), (0, 0, 0))


def stack(places):
    """Boxes of 4 x 4 x 4 voxels that start at a height: {label: k}."""
    data = np.zeros(GRID.shape, np.uint8)
    for label, k in places.items():
        data[2:6, 2:6, k : k + 4] = label
    return LabelMap(data, GRID)


def rate(name, reference, prediction):
    """Mean over the bones of the reference."""
    found = case_facts(reference, prediction).values()
    hits = [METRICS.get(name).value(facts) for facts in found if facts.n_reference]
    return sum(hits) / len(hits)


def test_localisation_error_is_the_distance_of_the_centroids():
    data = np.zeros(GRID.shape, np.uint8)
    data[2:6, 4:8, 13:17] = 5
    facts = case_facts(stack({5: 10}), LabelMap(data, GRID))[5]
    assert METRICS.get("localisation_error_mm").value(facts) == pytest.approx(math.hypot(2 * 2.0, 3 * 1.0), abs=1e-12)


def test_centroid_is_that_of_the_whole_grid_for_every_class():
    found = case_facts(stack({5: 10, 9: 30}), stack({9: 33, 5: 10}))
    counts = found[9].case.counts
    assert counts.ids.tolist() == [0, 5, 9]
    np.testing.assert_allclose(counts.centroids[0, 2], (3.5, 3.5, 31.5))
    np.testing.assert_allclose(counts.centroids[1, 2], (3.5, 3.5, 34.5))
    assert counts.voxels[0].tolist() == [8 * 8 * 120 - 128, 64, 64]
    assert counts.confusion.sum() == 8 * 8 * 120
    assert counts.boxes[0, 1].tolist() == [[2, 2, 10], [5, 5, 13]]


def test_a_bone_at_its_neighbours_place_is_not_identified():
    # The second is predicted 15 mm off, 10 mm from the third.
    reference, prediction = stack({1: 0, 2: 30, 3: 55}), stack({1: 0, 2: 45, 3: 55})
    assert rate("id_rate_swin_x2s", reference, prediction) == 1.0
    assert rate("id_rate_verse", reference, prediction) == pytest.approx(2 / 3, abs=1e-15)


def test_missed_bones_count_in_the_identification_rate():
    reference, prediction = stack({1: 0, 2: 20, 3: 40, 4: 60}), stack({1: 0, 3: 40})
    assert rate("id_rate_swin_x2s", reference, prediction) == 0.5
    assert rate("id_rate_verse", reference, prediction) == 0.5


def test_twenty_millimetres_are_too_far():
    assert rate("id_rate_verse", stack({1: 0}), stack({1: 19})) == 1.0
    assert rate("id_rate_verse", stack({1: 0}), stack({1: 20})) == 0.0


@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 3])
def test_shifted_labels_are_found_with_the_dice_after_it(shift):
    places = {10: 0, 11: 10, 12: 20, 13: 30}
    facts = case_facts(stack(places), stack({label + shift: k + 1 for label, k in places.items()}))
    found = label_shift(facts, SEQUENCES["vertebrae"])
    assert (found.shift, found.n_reference) == (shift, 4)
    assert found.dice_after == pytest.approx(0.75)  # one voxel of four aside
    assert found.dice == pytest.approx(0.75 if shift == 0 else 0.0)


def test_a_shift_is_not_claimed_for_one_wrong_bone():
    facts = case_facts(stack({10: 0, 11: 10, 12: 20}), stack({10: 0, 11: 10, 13: 20}))
    assert label_shift(facts, SEQUENCES["vertebrae"]) == LabelShift(0, pytest.approx(2 / 3), pytest.approx(2 / 3), 3)


def test_shifts_are_found_for_vertebrae_and_each_side_of_ribs():
    left, right, spine = BONES["rib_left_3"].bone_id, BONES["rib_right_7"].bone_id, BONES["T9"].bone_id
    reference = stack({left: 0, left + 1: 10, right: 20, right + 1: 30, spine: 40})
    prediction = stack({left + 1: 0, left + 2: 10, right: 20, right + 1: 30, spine - 1: 40})
    found = label_shifts(case_facts(reference, prediction))
    assert {name: shift.shift for name, shift in found.items()} == {"vertebrae": -1, "ribs_left": 1, "ribs_right": 0}
    assert found["ribs_left"].dice_after == 1.0


def test_labels_beyond_the_end_of_a_sequence_are_no_match():
    facts = case_facts(stack({12: 0}), stack({13: 0}))
    assert label_shift(facts, (10, 11, 12)) == LabelShift(0, 0.0, 0.0, 1)
    assert label_shift(facts, (20, 21)).n_reference == 0
    assert math.isnan(label_shift(facts, (20, 21)).dice)
