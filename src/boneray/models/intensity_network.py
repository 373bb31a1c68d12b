"""What networks that answer in intensities share: one bone, and the mean and SD that undo their z-scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boneray.core.errors import ConfigError
from boneray.models.batch import Intensities
from boneray.models.registry import Task

SURFACE_HU = -500.0  # half-way between air and water: the surface of a bone that is alone in air


class IntensityNetwork(nn.Module):
    """Remembers `scale_hu`, the mean and SD of the training volumes, in its checkpoint.

    Args:
        name: of the model, for errors.
        threshold_hu: what is above it becomes bone when labels are asked for.
    Raises:
        ConfigError: several bones are asked for; intensities do not tell them apart.
    """

    scale_hu: Tensor

    def __init__(self, name: str, task: Task, threshold_hu: float) -> None:
        super().__init__()
        if task.class_count != 1:
            raise ConfigError(
                f"{name} predicts intensities, which do not tell {task.class_count} bones apart; "
                "use cases of one bone, for example anatomy vertebra"
            )
        self.name = name
        self.task = task
        self.threshold_hu = threshold_hu
        self.register_buffer("scale_hu", torch.tensor([0.0, 1.0]))

    def set_scale(self, mean_hu: float, sd_hu: float) -> None:
        """State what undoes the z-scores, HU."""
        self.scale_hu.copy_(torch.tensor([mean_hu, sd_hu]))

    def answer(self, values: Tensor, *, edges: Tensor | None = None) -> Intensities:
        """(B, 1, I, J, K) z-scores as a prediction."""
        mean_hu, sd_hu = (
            (0.0, 1.0) if self.scale_hu.is_meta or torch.compiler.is_compiling() else self.scale_hu.tolist()
        )
        return Intensities(values, mean_hu, sd_hu, self.threshold_hu, edges=edges)
