"""Pictures as channels of a 2D network that knows no geometry."""

from __future__ import annotations

import torch
from torch import Tensor

from boneray.core.errors import ConfigError
from boneray.models.batch import Batch
from boneray.models.lifting import face, main_axes
from boneray.models.registry import Task
from boneray.models.sizes import require_views
from boneray.models.volume_blocks import two_pictures


def require_pictures(model: str, task: Task) -> None:
    """Raise ConfigError unless the task has one view, or two whose pictures have the same size."""
    i, j, _ = task.grid_shape
    if task.view_count not in (1, 2):
        raise ConfigError(
            f"{model} takes one frontal view, or one frontal and one lateral; {task.view_count} are asked for"
        )
    if task.view_count == 2 and i != j:
        raise ConfigError(f"{model} stacks two pictures, so grid {i}x{j} must be as wide as deep; it takes {i}x{i}")


def stacked_pictures(batch: Batch, task: Task, model: str) -> Tensor:
    """(B, V, I, K): the views as seen on the middle planes of the grid, frontal first.

    Raises:
        ConfigError: other views than the task's, a camera is missing, or one view that is not frontal.
    """
    require_views(batch, task.view_count)
    if task.view_count == 2:
        return torch.cat(two_pictures(batch, task, model), dim=1)
    depths = batch.depths[:, 0]
    if not (depths.is_meta or torch.compiler.is_compiling()) and bool((main_axes(depths) != 1).any()):
        raise ConfigError(f"{model} with one view takes a frontal one; this one looks along another axis of the grid")
    return face(batch.images[:, 0], batch.projections[:, 0], 1, task.grid_shape, depths)[0]
