"""How validation judges each kind of prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from boneray.models.batch import Intensities, Kind, LabelLogits
from boneray.models.depth_prediction import DepthPrediction, MaskPrediction


def class_dice(prediction: Tensor, reference: Tensor) -> Tensor:
    """Dice of each case and class in (B, I, J, K) class maps; NaN for a class absent in both."""
    rows = []
    for c in range(1, int(max(prediction.max(), reference.max(), torch.tensor(1))) + 1):
        p, r = prediction == c, reference == c
        both = (p & r).sum((1, 2, 3)).float()
        rows.append(2 * both / (p.sum((1, 2, 3)) + r.sum((1, 2, 3))))
    return torch.stack(rows, dim=1).flatten()


def _dice(prediction: LabelLogits, classes: Tensor) -> Tensor:
    return class_dice(prediction.class_map(), classes)


def _minus_mae(prediction: Intensities, intensities: Tensor) -> Tensor:
    return -(prediction.values[:, 0] - intensities).abs().mean((1, 2, 3))


def _own_score(prediction: DepthPrediction | MaskPrediction, depth_maps: Tensor) -> Tensor:
    return prediction.score(depth_maps)


@dataclass(frozen=True)
class Score:
    """How validation judges one kind of prediction; higher is better.

    Attributes:
        key: in run.json and in the checkpoint's card; words: for people.
        of: (prediction, reference) -> values, NaN where there is none.
    """

    key: str
    words: str
    of: Callable[..., Tensor]


SCORES: dict[Kind, Score] = {
    "labels": Score("validation_dice", "validation Dice", _dice),
    "intensities": Score("validation_minus_mae", "validation -MAE of z-scores", _minus_mae),
    "depth_maps": Score("validation_score", "validation -RMSE of centred depth in mm (masks: Dice)", _own_score),
}
