"""Is the right bone at the right place? Centroids, identification, and labels that are off by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import BONES, RIBS, VERTEBRAE
from boneray.metrics.facts import PREDICTION, REFERENCE, PairFacts
from boneray.metrics.registry import metric

IDENTIFIED_MM = 20.0
SOURCE = "Sekuboyina et al. 2021 (VerSe), doi:10.1016/j.media.2021.102166"
SEQUENCES = {
    "vertebrae": tuple(BONES[name].bone_id for name in VERTEBRAE),
    "ribs_left": tuple(BONES[name].bone_id for name in RIBS if "left" in name),
    "ribs_right": tuple(BONES[name].bone_id for name in RIBS if "right" in name),
}


@metric(
    "localisation_error_mm",
    "distance of the centroids of reference and prediction",
    unit="mm",
    direction="lower",
    empty="missed or spurious inf, left out of the plain mean; absent in both NaN",
    source=SOURCE + "; d_mean",
)
def localisation_error_mm(facts: PairFacts) -> float:
    """Distance of the centroids (mean voxel index times spacing)."""
    if facts.status != "present":
        return math.nan if facts.status == "absent" else math.inf
    return float(np.linalg.norm(_centroid_mm(facts, REFERENCE) - _centroid_mm(facts, PREDICTION)))


@metric(
    "id_rate_verse",
    "the predicted centroid lies nearest to its own reference and within 20 mm of it",
    unit="1",
    direction="higher",
    empty="missed or spurious 0; absent in both NaN",
    source=SOURCE + "; nearest among all reference bones, divided by the bones of the reference",
)
def identified_verse(facts: PairFacts) -> float:
    """1 if the bone is identified, else 0; the mean over the bones of the reference is the identification rate."""
    if facts.status != "present":
        return math.nan if facts.status == "absent" else 0.0
    centroids = facts.case.counts.centroids[REFERENCE] * facts.spacing_mm
    distances = np.linalg.norm(centroids - _centroid_mm(facts, PREDICTION), axis=1)  # NaN where there is no bone
    own = distances[facts.case.counts.rank(facts.bone_id)]
    return float(own < IDENTIFIED_MM and own <= np.nanmin(distances))


@metric(
    "id_rate_swin_x2s",
    "the predicted centroid lies within 20 mm of its own reference",
    unit="1",
    direction="higher",
    empty="missed or spurious 0; absent in both NaN",
    source="Liu et al. (Swin-X2S), as described: distance alone, divided by the bones of the reference",
    reported=False,
)
def identified_swin_x2s(facts: PairFacts) -> float:
    """1 or 0; without the condition that the own reference is the nearest, a neighbour's place can count as right."""
    if facts.status != "present":
        return math.nan if facts.status == "absent" else 0.0
    return float(localisation_error_mm(facts) < IDENTIFIED_MM)


@dataclass(frozen=True)
class LabelShift:
    """How far the labels of a sequence are off.

    Attributes:
        shift: 1 if every bone carries the label of the next one of the sequence (a true L1 is
            called L2), -1 the other way; 0 if no shift makes the labels fit better.
        dice: mean Dice over the reference bones of the sequence, missed ones 0, labels as they are.
        dice_after: the same once the labels are moved back by `shift`.
        n_reference: bones of the sequence in the reference; without any both means are NaN.
    """

    shift: int
    dice: float
    dice_after: float
    n_reference: int


def label_shift(facts: Mapping[int, PairFacts], sequence: Sequence[int], *, largest: int = 3) -> LabelShift:
    """Whether the labels of a case are right but moved along `sequence` (ids from head to foot).

    Of all shifts up to `largest` the one with the highest mean Dice is taken, the smallest of equals.
    """
    bones = [n for n, bone_id in enumerate(sequence) if bone_id in facts and facts[bone_id].n_reference]
    if not bones:
        return LabelShift(0, math.nan, math.nan, 0)

    def mean_dice(shift: int) -> float:
        return sum(_cross_dice(facts, sequence, n, n + shift) for n in bones) / len(bones)

    as_is = mean_dice(0)
    best, after = 0, as_is
    for shift in sorted(range(-largest, largest + 1), key=abs):
        moved = mean_dice(shift)
        if moved > after:
            best, after = shift, moved
    return LabelShift(best, as_is, after, len(bones))


def label_shifts(facts: Mapping[int, PairFacts]) -> dict[str, LabelShift]:
    """`label_shift` of the vertebrae and of the ribs of each side, as far as the reference has them.

    The ids must be those of the table of bones.
    """
    shifts = {name: label_shift(facts, sequence) for name, sequence in SEQUENCES.items()}
    return {name: shift for name, shift in shifts.items() if shift.n_reference}


def _cross_dice(facts: Mapping[int, PairFacts], sequence: Sequence[int], true: int, called: int) -> float:
    """Dice of one bone of the reference with what the prediction calls another; 0 if it has none of that name."""
    if not 0 <= called < len(sequence) or sequence[called] not in facts:
        return 0.0
    first, second = facts[sequence[true]], facts[sequence[called]]
    counts = first.case.counts
    both = counts.confusion[counts.rank(first.bone_id), counts.rank(second.bone_id)]
    return float(2 * both / (first.n_reference + second.n_prediction))


def _centroid_mm(facts: PairFacts, side: int) -> NDArray[np.float64]:
    return facts.case.counts.centroids[side, facts.case.counts.rank(facts.bone_id)] * facts.spacing_mm
