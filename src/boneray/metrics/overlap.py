"""Overlap and volume of a bone: from the voxel counts alone."""

from __future__ import annotations

import math

from boneray.metrics.facts import PairFacts
from boneray.metrics.registry import metric

EMPTY = "missed or spurious 0; absent in both NaN"


@metric(
    "dice",
    "share of the voxels of both bones that coincide",
    unit="1",
    direction="higher",
    empty=EMPTY,
    source="Dice 1945; 2 |A and B| / (|A| + |B|)",
)
def dice(facts: PairFacts) -> float:
    """Dice coefficient, 0..1."""
    return _ratio(2 * facts.n_both, facts.n_reference + facts.n_prediction)


@metric(
    "iou",
    "intersection over union",
    unit="1",
    direction="higher",
    empty=EMPTY,
    source="Jaccard 1912; |A and B| / |A or B|",
)
def iou(facts: PairFacts) -> float:
    """Jaccard index, 0..1; equals dice / (2 - dice)."""
    return _ratio(facts.n_both, facts.n_reference + facts.n_prediction - facts.n_both)


@metric(
    "precision",
    "share of the predicted bone that is right",
    unit="1",
    direction="higher",
    empty=EMPTY,
    source="|A and B| / |B|, B the prediction",
    reported=False,
)
def precision(facts: PairFacts) -> float:
    """Precision, 0..1; 0 for a missed bone, so that missing never pays."""
    return 0.0 if facts.status == "missed" else _ratio(facts.n_both, facts.n_prediction)


@metric(
    "recall",
    "share of the reference bone that was found",
    unit="1",
    direction="higher",
    empty=EMPTY,
    source="|A and B| / |A|, A the reference",
    reported=False,
)
def recall(facts: PairFacts) -> float:
    """Recall (sensitivity), 0..1; 0 for a spurious bone."""
    return 0.0 if facts.status == "spurious" else _ratio(facts.n_both, facts.n_reference)


@metric(
    "volume_reference_mm3",
    "volume of the reference bone",
    unit="mm3",
    direction="none",
    empty="0 where the bone is absent",
    source="voxels times voxel volume",
)
def volume_reference_mm3(facts: PairFacts) -> float:
    """Volume of the bone in the reference."""
    return facts.n_reference * facts.voxel_volume_mm3


@metric(
    "volume_prediction_mm3",
    "volume of the predicted bone",
    unit="mm3",
    direction="none",
    empty="0 where the bone is absent",
    source="voxels times voxel volume",
)
def volume_prediction_mm3(facts: PairFacts) -> float:
    """Volume of the bone in the prediction."""
    return facts.n_prediction * facts.voxel_volume_mm3


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
