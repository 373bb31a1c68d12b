"""How well the line of a thin bone was found; centrelines are (n, 3) RAS mm in even steps.

Overlap says little about a rib: one voxel aside, most of it is gone. Sources: Shit et al., CVPR
2021 (clDice); Liu et al., Swin-X2S (nlDice and LSCDError, there in voxels, here in mm).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from boneray.core.errors import ConfigError
from boneray.metrics.facts import PairFacts
from boneray.metrics.points import nearest_distances, point_assd_mm
from boneray.metrics.registry import metric

LINE_TOLERANCE_MM = 5.0


def normalised_line_dice(
    reference_mm: NDArray, prediction_mm: NDArray, *, tolerance_mm: float = LINE_TOLERANCE_MM
) -> float:
    """nlDice: share of the points of both lines within `tolerance_mm` of the other line, 0..1.

    0 if one line is empty, NaN if both are. Say the tolerance beside the value: at 11 mm a rib
    that overlaps by 2 % gets 0.96, at 5 mm 0.
    """
    if not tolerance_mm > 0:
        raise ConfigError(f"line tolerance is {tolerance_mm} mm; it must be above 0")
    if not len(reference_mm) and not len(prediction_mm):
        return math.nan
    distances = np.concatenate(nearest_distances(reference_mm, prediction_mm))
    return float(np.mean(distances <= tolerance_mm))


def line_chamfer_error(reference_mm: NDArray, prediction_mm: NDArray, bone_mm: NDArray) -> float:
    """LSCDError: relative change of the distance between line and bone if the predicted line is taken.

    |CD(prediction, bone) - CD(reference, bone)| / CD(reference, bone), CD the mean distance of
    the line's points to the bone's plus that of the bone's to the line's.

    Args:
        bone_mm: voxel centres of the reference bone, (n, 3) RAS mm.
    Returns:
        0 or more; inf for an empty prediction, NaN for an empty reference.
    """
    if not len(reference_mm) or not len(bone_mm):
        return math.nan
    if not len(prediction_mm):
        return math.inf
    wanted, found = (
        sum(float(d.mean()) for d in nearest_distances(line, bone_mm)) for line in (reference_mm, prediction_mm)
    )
    return abs(found - wanted) / wanted if wanted else math.nan


def line_assd_mm(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """Mean distance between two lines, both directions pooled, mm; inf if one is empty, NaN if both are."""
    if not len(reference_mm) and not len(prediction_mm):
        return math.nan
    return point_assd_mm(reference_mm, prediction_mm)


@metric(
    "cldice",
    "overlap of each skeleton with the other bone, for thin bones",
    unit="1",
    direction="higher",
    empty="missed or spurious 0; absent in both NaN",
    source="Shit et al., CVPR 2021; skeleton: Lee et al. 1994",
    reported=False,
)
def centreline_dice(facts: PairFacts) -> float:
    """clDice: harmonic mean of the share of the predicted skeleton in the reference and the other way, 0..1."""
    if facts.status != "present":
        return math.nan if facts.status == "absent" else 0.0
    precision = _share_inside(facts.prediction, facts.reference)
    sensitivity = _share_inside(facts.reference, facts.prediction)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _share_inside(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Share of the skeleton of `mask` that lies in `other`."""
    skeleton = skeletonize(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    if not skeleton.any():  # a body so small that thinning leaves nothing is its own skeleton
        skeleton = mask
    return float(other[skeleton].mean())
