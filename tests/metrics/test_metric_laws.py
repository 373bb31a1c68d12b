"""Laws every registered metric keeps, and the empty rules of the facts."""

import math

import numpy as np
import pytest

from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.metrics.facts import case_facts, mask_facts
from boneray.metrics.registry import METRICS

SPACING = (0.8, 1.3, 2.1)
PERFECT = {"higher": 1.0, "lower": 0.0}


def blobs(seed):
    rng = np.random.default_rng(seed)
    reference = rng.random((9, 8, 7)) < 0.5
    prediction = reference ^ (rng.random((9, 8, 7)) < 0.2)
    return reference, prediction


def values(reference, prediction, spacing=SPACING):
    facts = mask_facts(reference, prediction, spacing)
    return {entry.name: entry.value(facts) for entry in METRICS}


def scored():
    return [entry for entry in METRICS if entry.facts["direction"] != "none"]


@pytest.mark.parametrize("entry", list(METRICS), ids=lambda entry: entry.name)
def test_every_metric_says_what_it_is(entry):
    assert entry.facts["direction"] in ("higher", "lower", "none")
    assert entry.facts["unit"] in ("1", "mm", "mm3")
    assert entry.facts["empty"] and entry.facts["source"] and entry.summary
    assert (entry.facts["unit"] == "1") or entry.name.endswith("_" + entry.facts["unit"])


def test_identical_masks_are_perfect():
    reference, _ = blobs(0)
    result = values(reference, reference)
    for entry in scored():
        assert result[entry.name] == PERFECT[entry.facts["direction"]]


def test_single_voxel_is_perfect():
    voxel = np.ones((1, 1, 1), dtype=bool)
    assert all(values(voxel, voxel)[e.name] == PERFECT[e.facts["direction"]] for e in scored())


def test_missed_and_spurious_take_the_worst_value():
    bone, nothing = blobs(1)[0], np.zeros((9, 8, 7), dtype=bool)
    for result in (values(bone, nothing), values(nothing, bone)):
        for entry in scored():
            assert result[entry.name] == {"higher": 0.0, "lower": math.inf}[entry.facts["direction"]]


def test_absent_in_both_is_nan():
    nothing = np.zeros((3, 3, 3), dtype=bool)
    assert all(math.isnan(values(nothing, nothing)[entry.name]) for entry in scored())


@pytest.mark.parametrize("name", ["dice", "iou", "hd_mm", "hd95_mm", "assd_mm", "masd_mm", "nsd_2.0mm"])
def test_swapping_the_sides_changes_nothing(name):
    reference, prediction = blobs(2)
    assert values(reference, prediction)[name] == pytest.approx(values(prediction, reference)[name], abs=1e-12)


def test_permuting_axes_with_their_spacing_changes_nothing():
    reference, prediction = blobs(3)
    before = values(reference, prediction)
    order = (2, 0, 1)
    after = values(reference.transpose(order), prediction.transpose(order), tuple(SPACING[a] for a in order))
    assert after == pytest.approx(before, abs=1e-9)


def test_doubling_the_spacing_doubles_distances():
    reference = np.pad(np.ones((5, 4, 3), dtype=bool), 4)
    prediction = np.roll(reference, (2, 1), axis=(0, 2))
    once, twice = values(reference, prediction), values(reference, prediction, tuple(2 * s for s in SPACING))
    for name in ("hd_mm", "hd95_mm", "assd_mm", "masd_mm"):
        assert once[name] > 0
        assert twice[name] == pytest.approx(2 * once[name], abs=1e-9)
    assert twice["dice"] == once["dice"]


def test_all_classes_in_one_pass_equal_one_class_at_a_time():
    rng = np.random.default_rng(5)
    grid = Grid((12, 11, 10), SPACING, (0, 0, 0))
    reference = LabelMap(rng.choice([0, 0, 3, 7, 900], size=grid.shape).astype(np.int16), grid)
    prediction = LabelMap(rng.choice([0, 0, 3, 900, 12], size=grid.shape).astype(np.uint16), grid)
    found = case_facts(reference, prediction)
    assert list(found) == [3, 7, 12, 900]
    assert [facts.status for facts in found.values()] == ["present", "missed", "spurious", "present"]
    for bone_id, facts in found.items():
        alone = mask_facts(reference.mask(bone_id), prediction.mask(bone_id), SPACING)
        for entry in METRICS:
            assert entry.value(facts) == pytest.approx(entry.value(alone), abs=1e-12, nan_ok=True)


def test_two_empty_maps_have_no_bones():
    empty = LabelMap(np.zeros((3, 3, 3), np.uint8), Grid.cube(3, 3.0))
    assert case_facts(empty, empty) == {}


def test_other_grid_is_an_error():
    first = LabelMap(np.ones((3, 3, 3), np.uint8), Grid.cube(3, 3.0))
    second = LabelMap(np.ones((3, 3, 3), np.uint8), Grid.cube(3, 6.0))
    with pytest.raises(GeometryError, match="different grids"):
        case_facts(first, second)
