"""Cross-entropy of a network with a class for the edge of each bone, weighed by the distance to the surface.

BX2S-Net (Chen et al. 2023) states an edge within 1.8 voxels and the numbers 1.8, 1, 0 for its weights:
taken here as 1 more for voxels within 1.8 voxels of a surface, inside and outside, and 0 more elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError
from boneray.losses.boundary import surface_distance
from boneray.losses.registry import LOSSES
from boneray.models.batch import LabelLogits, SurfaceLogits

REACH_VOXELS, NEAR, FAR = 1.8, 1.0, 0.0
SOURCE = "Chen et al. 2023, BX2S-Net"


@LOSSES.register("surface_ce", "cross-entropy of inside and edge, double near a surface", source=SOURCE, whole=True)
def surface_ce(prediction: LabelLogits, classes: Tensor) -> Tensor:
    """Mean over voxels of (1 + weight) times the cross-entropy; weight 1 up to 1.8 voxels from a surface, else 0."""
    distance = _distance_to_surface(classes).to(classes.device)
    return (_per_voxel(prediction, classes) * (1 + torch.where(distance <= REACH_VOXELS, NEAR, FAR))).mean()


@LOSSES.register("surface_ce_plain", "cross-entropy of inside and edge", source=SOURCE, whole=True)
def surface_ce_plain(prediction: LabelLogits, classes: Tensor) -> Tensor:
    """Mean over voxels of the cross-entropy."""
    return _per_voxel(prediction, classes).mean()


def with_edges(classes: Tensor, bone_count: int) -> Tensor:
    """(B, I, J, K) classes, where the voxels of bone c up to 1.8 voxels from its outside become `bone_count` + c."""
    masks = torch.stack([classes == c for c in range(1, bone_count + 1)], dim=1)
    depth = surface_distance(masks).to(classes.device)
    shell = ((depth <= REACH_VOXELS) & (depth > 0) & masks).any(dim=1)
    return torch.where(shell, classes + bone_count, classes)


def _per_voxel(prediction: LabelLogits, classes: Tensor) -> Tensor:
    if not isinstance(prediction, SurfaceLogits):
        raise ConfigError("this loss is for models with scores of inside and edge (bx2s); use cross_entropy")
    wanted = with_edges(classes, prediction.bone_count) if prediction.has_edges else classes
    return functional.cross_entropy(prediction.parts, wanted, reduction="none")


def _distance_to_surface(classes: Tensor) -> Tensor:
    """(B, I, J, K) voxels to the nearest voxel of another class; infinite without a bone."""
    masks = (classes > 0)[:, None]
    distance = surface_distance(masks)[:, 0]
    return torch.where(distance > 0, distance, torch.inf)
