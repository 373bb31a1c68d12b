"""Dice and cross-entropy on label logits.

All take logits (B, 1, I, J, K) for one class or (B, C + 1, I, J, K) with background first, and the
class of each voxel (B, I, J, K), and return a scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.losses.registry import LOSSES


@LOSSES.register("dice", "soft Dice of the classes, background left out", source="Milletari et al. 2016, V-Net")
def dice(logits: Tensor, classes: Tensor) -> Tensor:
    """1 - mean soft Dice over cases and classes (smoothing 1 voxel); a class absent in a case still counts."""
    if logits.shape[1] == 1:
        probability = logits.sigmoid()
        truth = classes[:, None].to(logits.dtype)
    else:
        probability = logits.softmax(dim=1)[:, 1:]
        truth = torch.stack([classes == c for c in range(1, logits.shape[1])], dim=1).to(logits.dtype)
    space = (2, 3, 4)
    overlap = (probability * truth).sum(space)
    return 1.0 - ((2 * overlap + 1.0) / (probability.sum(space) + truth.sum(space) + 1.0)).mean()


@LOSSES.register("cross_entropy", "cross-entropy over voxels", source="standard")
def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy per voxel; binary for one class."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], classes.to(logits.dtype))
    return functional.cross_entropy(logits, classes)


@LOSSES.register("dice_ce", "soft Dice plus cross-entropy", source="Isensee et al. 2021, nnU-Net")
def dice_ce(logits: Tensor, classes: Tensor) -> Tensor:
    """Sum of `dice` and `cross_entropy`."""
    return dice(logits, classes) + cross_entropy(logits, classes)
