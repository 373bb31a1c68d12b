"""Where a network starts: most voxels are background, and its scores should say so from the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from boneray.models.batch import channels_for

START_BIAS = -2.0  # as measured in docs/models/raylift.md; a published initialisation is 0


def foreground_prior(class_count: int, bias: float) -> Tensor:
    """(1, C, 1, 1, 1) what is added to the scores: `bias` for every bone, 0 for the background."""
    offset = torch.zeros(channels_for(class_count))
    offset[-class_count:] = bias
    return offset.reshape(1, -1, 1, 1, 1)
