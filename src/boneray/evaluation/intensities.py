"""Predicted intensities against the CT they stand for: by value, and as a shape above a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.bones import bone
from boneray.core.case import Case
from boneray.core.errors import DataError, InputError
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.intensities import isolated_bone
from boneray.evaluation.cases import evaluate_case
from boneray.io.case_folder import case_folders, read_case
from boneray.io.files import read_json
from boneray.io.nifti import read_volume
from boneray.metrics.intensity import image_scores

FILE = "intensities.nii.gz"
TWELVE_BITS = 4096.0
SHAPE_METRICS = ("dice", "assd_mm", "hd95_mm", "nsd_2.0mm")


@dataclass(frozen=True)
class IntensityScores:
    """One case: `values` as of `metrics.intensity.image_scores` (in HU), `shape` by metric, with the threshold."""

    case_id: str
    values: dict[str, float]
    shape: dict[str, float]
    threshold_hu: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "case_id": self.case_id,
            "threshold_hu": self.threshold_hu,
            "intensities": self.values,
            "shape": self.shape,
        }


def reference_volume(case: Case) -> Volume:
    """The bone of a case alone in air, HU, on the grid of its labels.

    Raises:
        DataError: the case has no labels or no CT.
    """
    if case.labels is None:
        raise DataError(f"case {case.case_id} has no labels, which say where the bone is")
    mask = case.labels.data if not case.target else case.labels.data == bone(case.target).bone_id
    return Volume(isolated_bone(mask, case.labels.grid, case.ct, case_id=case.case_id), case.labels.grid)


def score_intensities(
    case_id: str, reference: Volume, prediction: Volume, *, threshold_hu: float, data_range_hu: float = TWELVE_BITS
) -> IntensityScores:
    """MSE, MAE, PSNR, SSIM and FD in HU, and what both volumes above the threshold have in common.

    Args:
        data_range_hu: of PSNR and SSIM; EAR takes 4096 (12 bits).
    Raises:
        GeometryError: different grids.
    """
    values = image_scores(reference, prediction, data_range=data_range_hu)
    shapes = [
        LabelMap((v.data > threshold_hu).astype(np.uint8) * bone("L1").bone_id, v.grid) for v in (reference, prediction)
    ]
    found = evaluate_case(case_id, *shapes, metrics=SHAPE_METRICS).mean()
    return IntensityScores(case_id, values, {name: float(value) for name, value in found.items()}, threshold_hu)


def score_intensity_folders(
    references: Path, predictions: Path, *, threshold_hu: float | None = None, data_range_hu: float = TWELVE_BITS
) -> list[IntensityScores]:
    """Every reconstruction below `predictions` that holds intensities, against the case of the same name.

    Args:
        threshold_hu: the one that each reconstruction states, if None.
    Raises:
        InputError: no reconstruction with intensities, or no case of its name.
    """
    known = {folder.name: folder for folder in case_folders(references)}
    found = [folder for folder in case_folders(predictions) if (folder / FILE).is_file()]
    if not found:
        raise InputError(f"{predictions} holds no reconstruction with {FILE}; use a model that predicts intensities")
    scores = []
    for folder in found:
        name = str(read_json(folder / "case.json", "case file").get("case_id"))
        if name not in known:
            raise InputError(f"no case {name} below {references} to compare {folder} with")
        stated = float(read_json(folder / "run.json", "run")["intensities"]["threshold_hu"])
        scores.append(
            score_intensities(
                name,
                reference_volume(read_case(known[name])),
                read_volume(folder / FILE, "predicted intensities"),
                threshold_hu=stated if threshold_hu is None else threshold_hu,
                data_range_hu=data_range_hu,
            )
        )
    return scores
