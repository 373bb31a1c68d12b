"""Dice, cross-entropy and their sums on label logits.

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


@LOSSES.register("dice_published", "soft Dice as the published comparisons trained with it", source="MONAI's DiceLoss")
def dice_published(logits: Tensor, classes: Tensor) -> Tensor:
    """1 - mean soft Dice over cases and channels, the background among them (smoothing 1e-5)."""
    probability = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
    truth = indicators(logits, classes)
    space = (2, 3, 4)
    overlap = (probability * truth).sum(space)
    return (1.0 - (2 * overlap + 1e-5) / (probability.sum(space) + truth.sum(space) + 1e-5)).mean()


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


@LOSSES.register(
    "dice_ce_published", "`dice_published` plus cross-entropy", source="MONAI's DiceCELoss; Swin-X2S, eq. 8"
)
def dice_ce_published(logits: Tensor, classes: Tensor) -> Tensor:
    """Sum of `dice_published` and `cross_entropy`."""
    return dice_published(logits, classes) + cross_entropy(logits, classes)


@LOSSES.register("bce", "binary cross-entropy of every channel against the rest", source="standard")
def bce(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over voxels and channels, each with a sigmoid of its own; for one bone the same as `cross_entropy`."""
    return functional.binary_cross_entropy_with_logits(logits, indicators(logits, classes))


@LOSSES.register("dice_bce", "soft Dice plus binary cross-entropy", source="standard")
def dice_bce(logits: Tensor, classes: Tensor) -> Tensor:
    """Sum of `dice` and `bce`."""
    return dice(logits, classes) + bce(logits, classes)


@LOSSES.register("focal", "cross-entropy that weighs hard voxels more", source="Lin et al. 2017, focal loss")
def focal(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over voxels of (1 - p)^2 times the cross-entropy, p the probability of the true class."""
    if logits.shape[1] == 1:
        score = torch.where(classes[:, None] > 0, logits, -logits)
        log_true = functional.logsigmoid(score)
    else:
        log_true = logits.log_softmax(dim=1).gather(1, classes[:, None])
    return -((1.0 - log_true.exp()).square() * log_true).mean()


def indicators(logits: Tensor, classes: Tensor) -> Tensor:
    """1 where a voxel is of a channel's class, else 0: the shape of `logits`."""
    first = 1 if logits.shape[1] == 1 else 0
    names = torch.arange(first, first + logits.shape[1], device=classes.device)
    return (classes[:, None] == names[None, :, None, None, None]).to(logits.dtype)
