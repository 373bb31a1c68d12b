"""What the networks on replicated views share: two pictures spread into a volume, and the levels of a 3D U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boneray.models.batch import Batch
from boneray.models.lifting import face, frontal_and_lateral
from boneray.models.registry import Task
from boneray.models.sizes import require_two_views, require_views


def two_pictures(batch: Batch, task: Task, model: str) -> tuple[Tensor, Tensor]:
    """(B, 1, I, K) and (B, 1, J, K): the views as seen on the middle planes of the grid.

    The view that looks more from the side is the lateral one; each plane is turned about the long
    axis to face its picture, so views may be any angle apart (60 to 140 degrees in EAR).
    """
    require_two_views(model, task)
    require_views(batch, task.view_count)
    views = frontal_and_lateral(batch, model, oblique=True)
    frontal, lateral = (
        face(view.images[:, 0], view.projections[:, 0], axis, task.grid_shape, view.depths[:, 0])[0]
        for view, axis in zip(views, (1, 0), strict=True)
    )
    return frontal, lateral


def spread_views(batch: Batch, task: Task, model: str) -> Tensor:
    """(B, 2, I, J, K): the frontal picture repeated along j, the lateral one along i."""
    frontal, lateral = two_pictures(batch, task, model)
    shape = (len(frontal), 1, *task.grid_shape)
    return torch.cat([frontal.unsqueeze(3).expand(shape), lateral.unsqueeze(2).expand(shape)], dim=1)


def convolved(before: int, after: int, activation: nn.Module, *, stride: int = 1) -> nn.Sequential:
    """3x3x3 convolution, batch norm, activation."""
    return nn.Sequential(nn.Conv3d(before, after, 3, stride, 1), nn.BatchNorm3d(after), activation)


def halved(before: int, after: int, activation: nn.Module, *, stride: int = 2) -> nn.Sequential:
    """A level of the way down: one convolution with stride, one without."""
    return nn.Sequential(
        *convolved(before, after, activation, stride=stride), *convolved(after, after, activation, stride=1)
    )


def doubled(before: int, after: int, activation: nn.Module) -> nn.Sequential:
    """Twice the edge: 2x2x2 transposed convolution, batch norm, activation."""
    return nn.Sequential(nn.ConvTranspose3d(before, after, 2, 2), nn.BatchNorm3d(after), activation)
