"""The mean shape: what a method knows of the bone before it looks at the radiographs.

A baseline like any other: the share of training cases that have a class at each voxel of the
working grid, cut at the level with the best mean Dice over the training cases.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task

LEVELS = torch.linspace(0.05, 0.95, 19)


class MeanShapeSettings(Settings):
    """Nothing to set."""


class MeanShape(nn.Module):
    """Ignores the pictures; returns the mean shape for every case of the batch."""

    logits: Tensor

    def __init__(self, settings: MeanShapeSettings, task: Task) -> None:
        super().__init__()
        self.task = task
        self.register_buffer("logits", torch.zeros(channels_for(task.class_count), *task.grid_shape))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.logits.expand(len(batch.images), *self.logits.shape))

    def fit(self, class_maps: Iterable[Tensor]) -> None:
        """Learn from (I, J, K) class maps in one pass, plus one to choose the level."""
        maps = [m.to(torch.uint8) for m in class_maps]
        counts = torch.stack([sum((m == c).float() for m in maps) for c in range(1, self.task.class_count + 1)])  # type: ignore[misc]
        share = counts / len(maps)
        score = (
            share
            - torch.stack([self._best_level(share[c - 1], c, maps) for c in range(1, len(share) + 1)])[
                :, None, None, None
            ]
        )
        if self.task.class_count == 1:
            self.logits.copy_(score)
        else:
            self.logits.copy_(torch.cat([torch.zeros_like(score[:1]), score]))

    @staticmethod
    def _best_level(share: Tensor, class_index: int, maps: list[Tensor]) -> Tensor:
        """The level at which share > level has the best mean Dice with the training maps."""
        dice = torch.zeros(len(LEVELS))
        for m in maps:
            truth = m == class_index
            bone = share[truth]
            for n, level in enumerate(LEVELS):
                cut = share > level
                dice[n] += 2 * (bone > level).sum() / (cut.sum() + truth.sum()).clamp(min=1)
        return LEVELS[dice.argmax()]


MODELS.register("mean_shape", "baseline: the average training bone", source="baseline", views="ignored")(
    ModelSpec(MeanShapeSettings(), MeanShape, Recipe(), learns_by_gradient=False)
)
