"""Laws every registered metric keeps, and the empty rules of the facts."""

import math

import numpy as np
import pytest

from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.metrics.facts import case_facts, mask_facts
from boneray.metrics.registry import METRICS

SPACING = (0.8, 1.3, 2.1)
PERFECT = {"higher": 1.0, "lower": 0.0}
SYMMETRIC = [
    "dice",
    "iou",
    "hd_mm",
    "hd95_mm",
    "hd95_voxel_mm",
    "assd_mm",
    "masd_mm",
    "nsd_2.0mm",
    "localisation_error_mm",
    "cldice",
]
MIRRORED = [
    ("precision", "recall"),
    ("asd_reference_to_prediction_mm", "asd_prediction_to_reference_mm"),
    ("volume_reference_mm3", "volume_prediction_mm3"),
    ("components_reference", "components_prediction"),
    ("tunnels_reference", "tunnels_prediction"),
    ("cavities_reference", "cavities_prediction"),
]
ABOUT_OTHER_BONES = ("id_rate_verse",)
THINNED = ("cldice",)  # thinning peels the sides of a voxel in a fixed order


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
    result = values(nothing, nothing)
    for entry in METRICS:
        assert math.isnan(result[entry.name]) if entry.facts["direction"] != "none" else result[entry.name] == 0


@pytest.mark.parametrize("name", SYMMETRIC)
def test_swapping_the_sides_changes_nothing(name):
    reference, prediction = blobs(2)
    assert values(reference, prediction)[name] == pytest.approx(values(prediction, reference)[name], abs=1e-12)


@pytest.mark.parametrize(("name", "other"), MIRRORED)
def test_swapping_the_sides_swaps_one_sided_metrics(name, other):
    reference, prediction = blobs(2)
    assert values(reference, prediction)[name] == pytest.approx(values(prediction, reference)[other], abs=1e-12)


def test_permuting_axes_with_their_spacing_changes_nothing():
    reference, prediction = blobs(3)
    before = values(reference, prediction)
    for order in ((2, 0, 1), (1, 0, 2)):
        spacing = tuple(SPACING[a] for a in order)
        after = values(reference.transpose(order), prediction.transpose(order), spacing)
        for name in before.keys() - set(THINNED):
            assert after[name] == pytest.approx(before[name], abs=1e-12)


def test_mirroring_changes_nothing():
    reference, prediction = blobs(4)
    before, after = values(reference, prediction), values(reference[::-1, :, ::-1], prediction[::-1, :, ::-1])
    for name in before.keys() - set(THINNED):
        assert after[name] == pytest.approx(before[name], abs=1e-12)


def test_doubling_the_spacing_doubles_distances():
    reference = np.pad(np.ones((5, 4, 3), dtype=bool), 4)
    prediction = np.roll(reference, (2, 1), axis=(0, 2))
    once, twice = values(reference, prediction), values(reference, prediction, tuple(2 * s for s in SPACING))
    lengths = [entry.name for entry in METRICS if entry.facts["unit"] == "mm"]
    assert len(lengths) == 8
    for name in lengths:
        assert once[name] > 0
        assert twice[name] == pytest.approx(2 * once[name], abs=1e-9)
    assert twice["dice"] == once["dice"]
    assert twice["volume_reference_mm3"] == pytest.approx(8 * once["volume_reference_mm3"], abs=1e-9)


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
            if entry.name not in ABOUT_OTHER_BONES:
                assert entry.value(facts) == pytest.approx(entry.value(alone), abs=1e-12, nan_ok=True)


def test_layout_in_memory_and_type_of_the_labels_do_not_matter():
    rng = np.random.default_rng(6)
    grid = Grid((6, 7, 8), SPACING, (0, 0, 0))
    a, b = (rng.integers(0, 4, grid.shape) for _ in range(2))
    expected = scores(LabelMap(a.astype(np.uint8), grid), LabelMap(b.astype(np.uint8), grid))
    for kind in (np.int16, np.int64, np.uint32):
        assert scores(LabelMap(np.asfortranarray(a.astype(kind)), grid), LabelMap(b.astype(kind), grid)) == expected


def scores(reference, prediction):
    return {b: [e.value(f) for e in METRICS] for b, f in case_facts(reference, prediction).items()}


def test_two_empty_maps_have_no_bones():
    empty = LabelMap(np.zeros((3, 3, 3), np.uint8), Grid.cube(3, 3.0))
    assert case_facts(empty, empty) == {}


def test_other_grid_is_an_error():
    first = LabelMap(np.ones((3, 3, 3), np.uint8), Grid.cube(3, 3.0))
    second = LabelMap(np.ones((3, 3, 3), np.uint8), Grid.cube(3, 6.0))
    with pytest.raises(GeometryError, match="different grids"):
        case_facts(first, second)


@pytest.mark.parametrize(("label", "text"), [(-2, "reference holds the label -2"), (70000, "70000; labels lie in 0")])
def test_labels_out_of_range_are_an_error(label, text):
    grid = Grid.cube(3, 3.0)
    with pytest.raises(DataError, match=text):
        case_facts(LabelMap(np.full((3, 3, 3), label), grid), LabelMap(np.ones((3, 3, 3), np.uint8), grid))


def test_hundreds_of_classes_are_counted_and_thousands_refused():
    grid = Grid.cube(14, 14.0)
    many = np.arange(14**3, dtype=np.uint16).reshape(grid.shape)
    few = LabelMap(many // 4, grid)  # 686 labels of up to four voxels
    found = case_facts(few, few)
    assert len(found) == 685
    assert all(facts.n_both == facts.n_reference == 4 for facts in found.values())
    with pytest.raises(DataError, match="2048 labels or more"):
        case_facts(LabelMap(many, grid), LabelMap(many, grid))


def test_surface_dice_comes_at_any_tolerance_with_the_tolerance_in_its_name():
    reference = np.pad(np.ones((5, 4, 3), dtype=bool), 4)
    facts = mask_facts(reference, np.roll(reference, 3, axis=0), (1.0, 1.0, 1.0))
    values_mm = [METRICS.get(f"nsd_{tolerance}mm").value(facts) for tolerance in ("0.5", "1", "2.0", "3.0")]
    assert values_mm == sorted(values_mm)
    assert values_mm[0] < values_mm[-1] == 1.0
    assert METRICS.get("nsd_2.0mm").value(facts) == values_mm[2]
    assert METRICS.get("nsd_3mm").name == "nsd_3.0mm"
    assert METRICS.get("nsd_2.25mm").name == "nsd_2.25mm"
    assert METRICS.get("nsd_3.0mm").facts["direction"] == "higher"
    with pytest.raises(ConfigError, match="above 0"):
        METRICS.get("nsd_0mm")
    with pytest.raises(ConfigError, match=r"did you mean nsd_2\.0mm"):
        METRICS.get("nsd_2")
