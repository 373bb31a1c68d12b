"""Losses that see how far a wrong voxel is from the surface."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from boneray.losses.overlap import indicators
from boneray.losses.registry import LOSSES


@LOSSES.register(
    "hausdorff",
    "squared error weighted by the squared distance to both surfaces",
    source="Karimi & Salcudean 2020, eq. for distance transforms",
)
def hausdorff(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over cases, bones and voxels of (p - r)^2 (d_p^2 + d_r^2), distances in voxels.

    Distances are those to the surface of the reference and of the prediction cut at 1/2; they are
    computed on the CPU and have no gradient. Slow: meant for small grids or fine-tuning.
    """
    if logits.shape[1] == 1:
        probability, truth = logits.sigmoid(), indicators(logits, classes)
    else:
        probability, truth = logits.softmax(dim=1)[:, 1:], indicators(logits, classes)[:, 1:]
    weight = surface_distance(probability.detach() > 0.5).square() + surface_distance(truth > 0.5).square()
    return ((probability - truth).square() * weight.to(probability)).mean()


def surface_distance(masks: Tensor) -> Tensor:
    """(B, C, I, J, K) distance of each voxel to the nearest of the other kind; 0 in an empty or full mask."""
    values = masks.cpu().numpy()
    out = np.zeros(values.shape, np.float64)
    for index in np.ndindex(values.shape[:2]):
        mask = values[index]
        if mask.any() and not mask.all():
            out[index] = distance_transform_edt(mask) + distance_transform_edt(~mask)
    return torch.from_numpy(out)
