"""Losses of a network that answers once per view: each answer against the reference, and the answers among each other.

The paper of Swin-X2S writes the difference of two views as a sum over voxels (its eq. 9); its scripts
take the mean over voxels and classes, which is millions of times smaller. Both are here by name.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.losses.overlap import dice_ce_published
from boneray.losses.registry import LOSSES


@LOSSES.register(
    "dice_ce_kl_mean",
    "per view Dice and cross-entropy, plus the views' mean divergence per voxel and class",
    source="Swin-X2S, eq. 7, as in its scripts",
    per_view=True,
)
def dice_ce_kl_mean(views: Tensor, classes: Tensor) -> Tensor:
    """(B, V, C, I, J, K) scores by view -> `dice_ce_published`, mean over views, plus the mean divergence."""
    return _supervised(views, classes) + divergence(views).mean()


@LOSSES.register(
    "dice_ce_kl_sum",
    "per view Dice and cross-entropy, plus the views' divergence summed over voxels",
    source="Swin-X2S, eq. 7 and 9",
    per_view=True,
)
def dice_ce_kl_sum(views: Tensor, classes: Tensor) -> Tensor:
    """As `dice_ce_kl_mean`, the divergence summed over voxels and classes; mean over cases and pairs."""
    return _supervised(views, classes) + divergence(views).flatten(2).sum(dim=2).mean()


def divergence(views: Tensor) -> Tensor:
    """(B, pairs, C, I, J, K) terms q log(q / p) for every ordered pair of views; one channel counts as two classes."""
    if views.shape[2] == 1:
        logs = torch.cat([functional.logsigmoid(-views), functional.logsigmoid(views)], dim=2)
    else:
        logs = views.log_softmax(dim=2)
    count = views.shape[1]
    pairs = [(p, q) for p in range(count) for q in range(count) if p != q]
    return torch.stack([logs[:, q].exp() * (logs[:, q] - logs[:, p]) for p, q in pairs], dim=1)


def _supervised(views: Tensor, classes: Tensor) -> Tensor:
    return torch.stack([dice_ce_published(view, classes) for view in views.unbind(dim=1)]).mean()
