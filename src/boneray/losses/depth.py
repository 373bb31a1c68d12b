"""Losses of depth maps: scale invariant (SI) and centre-aligned scale invariant (CASI), as in 3DDX.

With g = log prediction - log reference at a valid pixel, one set of pixels costs

    alpha * sqrt( mean(g^2) - lambda * mean(g)^2 )          alpha = 10, lambda = 0.85

`indep` takes every map for itself and averages over the maps, `dep` throws all maps of a picture
together. CASI first moves the prediction so that the mean of all valid pixels of all maps of the
picture is that of the reference, cuts at zero and adds 1e-6 mm before the logarithm: it supervises
the shape and leaves the common depth open.

Source: Gu et al. 2024, 3DDX, MICCAI, eq. 1 to 4. Its eq. for CASI indep divides by N, which it has
used for the number of pixels; eq. 2 divides by the number of maps, and so does this.

All take predicted depths (B, P, H, W) in mm, positive, and the reference with NaN where a pixel has no
bone, and return the mean over the pictures. A network with fronts only is compared with the first P maps.
A map without a valid pixel is left out of the mean; a picture without any costs 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError
from boneray.losses.registry import LOSSES
from boneray.models.depth_prediction import DepthPrediction, MaskPrediction

ALPHA = 10.0
LAMBDA = 0.85
EPSILON_MM = 1e-6
SMOOTHING = 0.1
TINY = 1e-16  # under the root: a perfect prediction has a gradient too
SOURCE = "Gu et al. 2024, 3DDX"


@LOSSES.register("si_indep", "scale-invariant depth, map by map", source=f"{SOURCE}, eq. 2", learns="depth_maps")
def si_indep(prediction: DepthPrediction, reference: Tensor) -> Tensor:
    """SI of every map, mean over the maps that hold bone, mean over pictures."""
    depths, reference = _depths(prediction, reference)
    return _mean_over_maps(_log_error(depths, reference), torch.isfinite(reference))


@LOSSES.register("si_dep", "scale-invariant depth, all maps together", source=f"{SOURCE}, eq. 3", learns="depth_maps")
def si_dep(prediction: DepthPrediction, reference: Tensor) -> Tensor:
    """SI over the pixels of all maps of a picture, mean over pictures."""
    depths, reference = _depths(prediction, reference)
    return _all_maps(_log_error(depths, reference), torch.isfinite(reference))


@LOSSES.register(
    "casi_indep", "depth but for a common shift, map by map", source=f"{SOURCE}, eq. 4 and 2", learns="depth_maps"
)
def casi_indep(prediction: DepthPrediction, reference: Tensor) -> Tensor:
    """SI of every map after the prediction got the mean depth of the reference."""
    depths, reference = _depths(prediction, reference)
    return _mean_over_maps(_aligned_log_error(depths, reference), torch.isfinite(reference))


@LOSSES.register(
    "casi_dep", "depth but for a common shift, all maps together", source=f"{SOURCE}, eq. 4 and 3", learns="depth_maps"
)
def casi_dep(prediction: DepthPrediction, reference: Tensor) -> Tensor:
    """SI over all maps after the prediction got the mean depth of the reference."""
    depths, reference = _depths(prediction, reference)
    return _all_maps(_aligned_log_error(depths, reference), torch.isfinite(reference))


@LOSSES.register(
    "masks_dice_ce",
    "Dice semimetric plus cross-entropy with smoothed labels, bones may overlap",
    source="Wang et al. 2023, Dice semimetric losses; Mueller et al. 2019; as in 3DDX",
    learns="depth_maps",
)
def masks_dice_ce(prediction: MaskPrediction, reference: Tensor) -> Tensor:
    """For masks (B, C, H, W): 1 - (|p| + |r| - |p - r|) / (|p| + |r|), mean over cases and bones, plus binary CE.

    |.| is the sum over pixels; labels are smoothed to 0.05 and 0.95 for the cross-entropy only.
    """
    if not isinstance(prediction, MaskPrediction):
        raise ConfigError("loss masks_dice_ce compares masks, and this model predicts depths; use casi_indep")
    true = torch.isfinite(reference[:, : prediction.logits.shape[1]]).to(prediction.logits.dtype)
    probability = prediction.logits.sigmoid()
    sizes = probability.sum((2, 3)) + true.sum((2, 3))
    dice = (sizes - (probability - true).abs().sum((2, 3)) + 1.0) / (sizes + 1.0)
    smoothed = true * (1 - SMOOTHING) + SMOOTHING / 2
    entropy = functional.binary_cross_entropy_with_logits(prediction.logits, smoothed)
    return (1.0 - dice).mean() + entropy


def _depths(prediction: DepthPrediction, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Depths and those maps of the reference that the network predicts."""
    if not isinstance(prediction, DepthPrediction):
        raise ConfigError("this loss compares depths, and this model predicts masks; use masks_dice_ce")
    return prediction.maps_mm, reference[:, : prediction.maps_mm.shape[1]]


def _log_error(depths: Tensor, reference: Tensor) -> Tensor:
    """(B, P, H, W), 0 at invalid pixels; there the logarithm of 1 stands in, so that no NaN has a gradient."""
    valid = torch.isfinite(reference)
    return torch.where(valid, depths, 1.0).log() - torch.where(valid, reference, 1.0).log()


def _aligned_log_error(depths: Tensor, reference: Tensor) -> Tensor:
    valid = torch.isfinite(reference)
    true = torch.where(valid, reference, 0.0)
    count = valid.sum((1, 2, 3), keepdim=True).clamp_min(1)
    shift = (true - torch.where(valid, depths, 0.0)).sum((1, 2, 3), keepdim=True) / count
    moved = torch.where(valid, depths + shift, 1.0).relu()
    return torch.where(valid, (moved + EPSILON_MM).log() - (true + EPSILON_MM).log(), 0.0)


def _mean_over_maps(error: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum((2, 3))
    cost = _cost(error.sum((2, 3)), error.square().sum((2, 3)), count)
    held = count > 0
    return (torch.where(held, cost, 0.0).sum(1) / held.sum(1).clamp_min(1)).mean()


def _all_maps(error: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum((1, 2, 3))
    cost = _cost(error.sum((1, 2, 3)), error.square().sum((1, 2, 3)), count)
    return torch.where(count > 0, cost, 0.0).mean()


def _cost(total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    n = count.clamp_min(1)
    spread = squares / n - LAMBDA * (total / n).square()
    return ALPHA * spread.clamp_min(TINY).sqrt()
