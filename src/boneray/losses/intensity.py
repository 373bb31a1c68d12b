"""Losses of a predicted volume of intensities: by voxel, by edge, by frequency, by largest value along an axis.

All take an `Intensities` prediction and the reference's z-scores (B, I, J, K), and return a scalar.
Source of the sums and weights: EAR (Tan et al. 2024, arXiv 2407.20937), eqs. 5-10 and section 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError
from boneray.losses.registry import LOSSES
from boneray.models.batch import Intensities

EDGE_WEIGHT, FREQUENCY_WEIGHT, PROJECTION_WEIGHT = 0.1, 0.1, 0.1
NOT_CERTAIN = 1e-4
LEAST_DISTANCE = 1e-6
EAR = "Tan et al. 2024, EAR"


def volume_of(prediction: Intensities) -> Tensor:
    """(B, I, J, K) predicted z-scores, at least 32 bits."""
    return prediction.values[:, 0] if prediction.values.dtype == torch.float64 else prediction.values[:, 0].float()


@LOSSES.register("intensity_l1", "mean absolute difference", source=f"{EAR}, eq. 5", learns="intensities")
def intensity_l1(prediction: Intensities, reference: Tensor) -> Tensor:
    """Mean over voxels of |reference - prediction|."""
    return (volume_of(prediction) - reference).abs().mean()


@LOSSES.register("intensity_mse", "mean squared difference", source="standard", learns="intensities")
def intensity_mse(prediction: Intensities, reference: Tensor) -> Tensor:
    """Mean over voxels of (reference - prediction)^2."""
    return (volume_of(prediction) - reference).square().mean()


@LOSSES.register(
    "intensity_edge", "binary cross-entropy of the edges of both volumes", source=f"{EAR}, eq. 6", learns="intensities"
)
def intensity_edge(prediction: Intensities, reference: Tensor) -> Tensor:
    """Mean over voxels of the cross-entropy of E(reference) and E(prediction), see `edges`.

    Its least value, at identical volumes, is the entropy of E(reference): 0 only where every voxel
    is either an edge of full strength or none.
    """
    strength = sobel_magnitude(reference)
    most = strength.flatten(1).amax(dim=1)
    return _cross_entropy(edges(reference, most), edges(volume_of(prediction), most))


@LOSSES.register(
    "intensity_frequency", "logarithm of the distance of both spectra", source=f"{EAR}, eqs. 7, 8", learns="intensities"
)
def intensity_frequency(prediction: Intensities, reference: Tensor) -> Tensor:
    """Mean over cases of log10(mean |Re dF| + mean |Im dF|), dF the difference of the orthonormal FFTs.

    As `metrics.intensity.frequency_distance_raw`, but -6 rather than -inf for identical volumes.
    """
    spectrum = torch.fft.fftn(volume_of(prediction) - reference, dim=(1, 2, 3), norm="ortho")
    distance = spectrum.real.abs().mean(dim=(1, 2, 3)) + spectrum.imag.abs().mean(dim=(1, 2, 3))
    return torch.log10(distance + LEAST_DISTANCE).mean()


@LOSSES.register(
    "intensity_projection",
    "difference of the largest values along each axis",
    source=f"{EAR}, eq. 9",
    learns="intensities",
)
def intensity_projection(prediction: Intensities, reference: Tensor) -> Tensor:
    """Mean over the axes i, j, k of the mean absolute difference of the maximum-intensity projections."""
    volume = volume_of(prediction)
    return torch.stack([(volume.amax(dim=axis) - reference.amax(dim=axis)).abs().mean() for axis in (1, 2, 3)]).mean()


@LOSSES.register("intensity_l1_edge", "L1 + 0.1 edges", source=f"{EAR}, table 3", learns="intensities")
def intensity_l1_edge(prediction: Intensities, reference: Tensor) -> Tensor:
    """`intensity_l1` + 0.1 `intensity_edge`: the second row of EAR's ablation."""
    return intensity_l1(prediction, reference) + EDGE_WEIGHT * intensity_edge(prediction, reference)


@LOSSES.register(
    "intensity_l1_edge_frequency", "L1 + 0.1 edges + 0.1 frequencies", source=f"{EAR}, table 3", learns="intensities"
)
def intensity_l1_edge_frequency(prediction: Intensities, reference: Tensor) -> Tensor:
    """`intensity_l1_edge` + 0.1 `intensity_frequency`: the third row of EAR's ablation."""
    return intensity_l1_edge(prediction, reference) + FREQUENCY_WEIGHT * intensity_frequency(prediction, reference)


@LOSSES.register(
    "ear", "L1 + 0.1 edges + 0.1 frequencies + 0.1 projections", source=f"{EAR}, eq. 10", learns="intensities"
)
def ear(prediction: Intensities, reference: Tensor) -> Tensor:
    """`intensity_l1_edge_frequency` + 0.1 `intensity_projection`."""
    projection = intensity_projection(prediction, reference)
    return intensity_l1_edge_frequency(prediction, reference) + PROJECTION_WEIGHT * projection


@LOSSES.register(
    "ear_edge_map",
    "as `ear`, the network's own map of edges supervised too",
    source=f"{EAR}, section 3.5",
    learns="intensities",
)
def ear_edge_map(prediction: Intensities, reference: Tensor) -> Tensor:
    """`ear` + 0.1 cross-entropy of E(reference) and the map of the edge attention module.

    Raises:
        ConfigError: the network gives no such map.
    """
    if prediction.edges is None:
        raise ConfigError("loss ear_edge_map needs a map of edges, and this model gives none; use ear")
    strength = sobel_magnitude(reference)
    wanted = edges(reference, strength.flatten(1).amax(dim=1))
    mapped = _cross_entropy(wanted, torch.sigmoid(prediction.edges[:, 0]).clamp(NOT_CERTAIN, 1 - NOT_CERTAIN))
    return ear(prediction, reference) + EDGE_WEIGHT * mapped


def edges(volume: Tensor, most: Tensor) -> Tensor:
    """E: Sobel magnitude as a share of `most` (per case), between 0.0001 and 0.9999; EAR leaves E open."""
    share = sobel_magnitude(volume) / most.clamp(min=LEAST_DISTANCE)[:, None, None, None]
    return share.clamp(NOT_CERTAIN, 1 - NOT_CERTAIN)


def sobel_magnitude(volume: Tensor) -> Tensor:
    """(B, I, J, K) length of the 3D Sobel gradient, per voxel; border voxels are repeated outwards.

    Each component is a central difference along one axis, smoothed by (1, 2, 1) / 4 along the
    other two: a ramp of slope 1 has length 1.
    """
    padded = functional.pad(volume[:, None], (1,) * 6, mode="replicate")[:, 0]
    components = []
    for axis in (1, 2, 3):
        out = padded
        for along in (1, 2, 3):
            low, middle, high = (out.narrow(along, start, out.shape[along] - 2) for start in (0, 1, 2))
            out = (high - low) / 2 if along == axis else (low + 2 * middle + high) / 4
        components.append(out.square())
    return torch.sqrt(sum(components) + LEAST_DISTANCE**2) - LEAST_DISTANCE  # type: ignore[arg-type]


def _cross_entropy(wanted: Tensor, given: Tensor) -> Tensor:
    return -(wanted * given.log() + (1 - wanted) * (1 - given).log()).mean()
