"""What the test script of Swin-X2S computed (Liu et al.)."""

from __future__ import annotations

import math

import numpy as np

from boneray.core.volume import LabelMap
from boneray.metrics.facts import PREDICTION, REFERENCE, PairFacts, case_facts
from boneray.metrics.labelling import IDENTIFIED_MM
from boneray.metrics.paper import PAPER_MODES, PaperScores
from boneray.metrics.surface import boundary_distances, voxel_hausdorff95

NOTES = {
    "dice": (
        "Printed as Dice (%). The background counts as a class and is nearly perfect, which adds up to a third of what "
        "is missing to 100 % for one or two bones; bones that are predicted but not there cost nothing."
    ),
    "hd95_mm": (
        "Printed as HD (mm). It is the 95th percentile, unweighted between voxel centres; bones that were missed are "
        "left out of the mean, so a method looks better the more bones it misses; the spacing is the first entry of "
        "the affine, which is wrong for anisotropic and 0 for permuted axes."
    ),
    "l_error_mm": (
        "Printed as L-error (mm). Bones that were missed are left out, an empty prediction scores a perfect 0, and the "
        "spacing is the first entry of the affine."
    ),
    "id_rate": (
        "Printed as ID-rate (%). Reference and prediction are exchanged in the call, so it is divided by the number of "
        "predicted bones: missed bones cost nothing and an empty prediction scores a perfect 1; a bone at its "
        "neighbour's place counts as identified if that is within 20 mm."
    ),
    "id_rate_as_intended": (
        "Not printed. The ID-rate with reference and prediction in the order the function was written for, divided by "
        "the bones of the reference; it lacks VerSe's condition that the own reference is the nearest, and an empty "
        "reference scores 1."
    ),
}


@PAPER_MODES.register(
    "swin-x2s", "Swin-X2S: background in Dice, missed bones dropped, ID-rate over the prediction", source="its test.py"
)
def swin_x2s(reference: LabelMap, prediction: LabelMap) -> PaperScores:
    """The four columns of the paper's tables for one case, and the ID-rate as it was meant."""
    facts = case_facts(reference, prediction)
    scale_mm = abs(float(reference.grid.world_from_voxel[0, 0]))
    present = [bone for bone in facts.values() if bone.status == "present"]
    errors = [_centroid_distance(bone) * scale_mm for bone in present]
    hits = sum(error < IDENTIFIED_MM for error in errors)
    n_reference = sum(bone.n_reference > 0 for bone in facts.values())
    n_predicted = sum(bone.n_prediction > 0 for bone in facts.values())
    values = {
        "dice": _dice_with_background(reference, facts),
        "hd95_mm": _mean([_hd95_voxels(bone) for bone in present]) * scale_mm,
        "l_error_mm": _mean(errors) if n_predicted else 0.0,
        "id_rate": hits / n_predicted if n_predicted else 1.0,
        "id_rate_as_intended": hits / n_reference if n_reference else 1.0,
    }
    return PaperScores(values, NOTES)


def _dice_with_background(reference: LabelMap, facts: dict[int, PairFacts]) -> float:
    """Mean Dice of the background and of the bones of the reference."""
    scores = [2 * b.n_both / (b.n_reference + b.n_prediction) for b in facts.values() if b.n_reference]
    if not facts:
        return 1.0
    counts = next(iter(facts.values())).case.counts
    background = counts.voxels[:, 0]
    if background[REFERENCE]:
        scores.append(2 * int(counts.confusion[0, 0]) / int(background.sum()))
    return _mean(scores)


def _centroid_distance(facts: PairFacts) -> float:
    """Distance of the centroids in voxels."""
    counts = facts.case.counts
    centroids = counts.centroids[:, counts.rank(facts.bone_id)]
    return float(np.linalg.norm(centroids[PREDICTION] - centroids[REFERENCE]))


def _hd95_voxels(facts: PairFacts) -> float:
    return voxel_hausdorff95(*boundary_distances(facts.reference, facts.prediction, (1.0, 1.0, 1.0)))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
