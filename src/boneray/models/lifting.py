"""From pictures to volumes: reading 2D features where each voxel is seen by the true camera."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def voxel_centres(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Cube coordinates of the voxel centres of a grid, (4, I*J*K) homogeneous."""
    axes = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / n) - 1.0 for n in shape]
    i, j, k = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([i, j, k, torch.ones_like(i)]).reshape(4, -1)


def lift(features: Tensor, projections: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Back-project 2D features into a volume along true camera rays.

    Args:
        features: (N, C, h, w), one picture per row.
        projections: (N, 3, 4), see `Batch.projections`.
        shape: voxels of the volume.
    Returns:
        (N, C, I, J, K) bilinear samples and (N, 1, I, J, K) 1 where the voxel is in the picture
        and in front of the source, else 0 (there the features are 0 too).
    """
    return _sample(features, projections, voxel_centres(shape, features), shape)


def replicate(
    features: Tensor, projections: Tensor, depths: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Spread 2D features along the grid axis nearest to the central ray, as uncalibrated methods do.

    Each voxel reads the picture where its foot on the middle plane is seen, so the picture's
    orientation and its magnification at the centre are right, and nothing else of the camera is
    used. Returns as `lift`.
    """
    axis = depths[:, :3].abs().argmax(dim=1)
    keep = torch.ones(len(features), 4, 1, device=features.device, dtype=features.dtype)
    keep[torch.arange(len(features)), axis] = 0.0
    return _sample(features, projections, voxel_centres(shape, features) * keep, shape)


def depth_codes(depths: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, 1, I, J, K) depth of each voxel along the central ray from (N, 4) depth rows."""
    return (depths @ voxel_centres(shape, depths)).reshape(len(depths), 1, *shape)


def _sample(
    features: Tensor, projections: Tensor, points: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    image = projections @ points  # (N, 3, voxels)
    weight = image[:, 2].clamp(min=1e-3)
    uv = (image[:, :2] / weight[:, None]).transpose(1, 2)
    seen = ((uv.abs() <= 1.0).all(dim=2) & (image[:, 2] > 1e-3)).to(features.dtype)
    values = functional.grid_sample(features, uv[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    seen = seen.reshape(len(features), 1, *shape)
    return values.reshape(len(features), features.shape[1], *shape) * seen, seen
