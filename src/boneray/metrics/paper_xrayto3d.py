"""What the metric logger of the X-ray to 3D benchmark computed (Shakya and Khanal).

The two maps are compared as masks: every label above 0 is bone.
"""

from __future__ import annotations

import math

import numpy as np

from boneray.core.volume import LabelMap, require_same_grid
from boneray.metrics.facts import mask_facts
from boneray.metrics.overlap import dice
from boneray.metrics.paper import PAPER_MODES, PaperScores
from boneray.metrics.surface import boundary_distances, voxel_hausdorff95

TOLERANCE_MM = 1.5

NOTES = {
    "dsc": "Printed as DSC (%). Correct, but rounded to two decimals before averaging and ranking.",
    "hd95_voxels": (
        "Printed as HD95 (mm). It is in voxels: no spacing was passed. The true value is this times the voxel edge "
        "(femur 1.0, hip 2.25, rib 2.5, vertebra 1.5 mm), and a case with an empty mask left the mean."
    ),
    "asd_voxels": (
        "Printed as ASD (mm). It is in voxels, and one-sided: from the prediction to the reference only, so bone that "
        "was not predicted costs nothing; a case with an empty mask left the mean."
    ),
    "nsd_reference_1.5mm": (
        "Printed as NSD. It is the share of the reference surface alone that was reached, so predicting too much costs "
        "nothing; 1.5 mm is less than a voxel for hip and rib."
    ),
}


@PAPER_MODES.register("xrayto3d", "the X-ray to 3D benchmark: voxels for mm, one-sided distances", source="its logger")
def xrayto3d(reference: LabelMap, prediction: LabelMap) -> PaperScores:
    """The four columns of the benchmark's table for one case, each rounded to two decimals."""
    require_same_grid(reference.grid, prediction.grid, "reference", "prediction")
    facts = mask_facts(reference.data > 0, prediction.data > 0, reference.grid.spacing_mm)
    to_prediction, to_reference = boundary_distances(facts.reference, facts.prediction, (1.0, 1.0, 1.0))
    present = facts.status == "present"
    surface = facts.surface.reference_to_prediction
    values = {
        "dsc": dice(facts) if facts.n_reference else math.nan,
        "hd95_voxels": voxel_hausdorff95(to_prediction, to_reference) if present else math.nan,
        "asd_voxels": float(np.mean(to_reference)) if present else math.nan,
        "nsd_reference_1.5mm": surface.area_within_mm2(TOLERANCE_MM) / surface.area_mm2
        if facts.n_reference
        else math.nan,
    }
    return PaperScores({name: round(value, 2) for name, value in values.items()}, NOTES)
