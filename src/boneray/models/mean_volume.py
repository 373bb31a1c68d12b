"""The mean volume: what a method that predicts intensities knows before it looks at the radiographs.

A baseline like any other: the mean of the training cases' z-scores at each voxel of the working grid.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task


class MeanVolumeSettings(Settings):
    """`threshold_hu`: what is above becomes bone."""

    threshold_hu: float = SURFACE_HU


class MeanVolume(IntensityNetwork):
    """Ignores the pictures; returns the mean volume for every case of the batch."""

    values: Tensor

    def __init__(self, settings: MeanVolumeSettings, task: Task) -> None:
        super().__init__("mean_volume", task, settings.threshold_hu)
        self.register_buffer("values", torch.zeros(1, *task.grid_shape))

    def forward(self, batch: Batch) -> Intensities:
        return self.answer(self.values.expand(len(batch.images), *self.values.shape))

    def fit(self, volumes: Iterable[Tensor]) -> None:
        """Learn from (I, J, K) z-scores in one pass."""
        total, count = torch.zeros_like(self.values[0], dtype=torch.float64), 0
        for volume in volumes:
            total += volume
            count += 1
        self.values.copy_((total / count)[None])


MODELS.register("mean_volume", "baseline: the average training volume", source="baseline", views="ignored")(
    ModelSpec(
        MeanVolumeSettings(), MeanVolume, Recipe(loss="intensity_l1"), learns_by_gradient=False, learns="intensities"
    )
)
