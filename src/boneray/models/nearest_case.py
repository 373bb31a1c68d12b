"""Nearest neighbour: the bone of the training case whose radiographs look most alike.

A baseline like any other: what a method could answer by memory alone. Pictures are standardised, averaged onto a
small raster and compared by their correlation, summed over the views; the answer is that training case's class map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task

SURE = 1.0  # logit of a voxel that the found case has


class NearestCaseSettings(Settings):
    """`raster`: rows and columns of the pictures that are compared."""

    raster: int = Field(16, ge=2)


class NearestCase(nn.Module):
    """Holds the pictures and class maps of all training cases.

    Attributes:
        pictures: (N, V * raster * raster) of unit length; N is 1, all zero, before training.
        maps: (N, I, J, K) uint8.
    """

    pictures: Tensor
    maps: Tensor

    def __init__(self, settings: NearestCaseSettings, task: Task) -> None:
        super().__init__()
        self.settings, self.task = settings, task
        self.register_buffer("pictures", torch.zeros(1, task.view_count * settings.raster**2))
        self.register_buffer("maps", torch.zeros(1, *task.grid_shape, dtype=torch.uint8))

    def forward(self, batch: Batch) -> LabelLogits:
        best = (self.described(batch.images) @ self.pictures.T).argmax(dim=1)
        classes = self.maps[best].long()
        if self.task.class_count == 1:
            return LabelLogits((2 * classes[:, None].float() - 1) * SURE)
        hot = functional.one_hot(classes, channels_for(self.task.class_count)).movedim(-1, 1)
        return LabelLogits(hot.float() * SURE)

    def described(self, images: Tensor) -> Tensor:
        """(B, V, 1, H, W) -> (B, V * raster * raster): each view with mean 0, all together of unit length."""
        if images.shape[1] != self.task.view_count:
            raise ConfigError(
                f"nearest_case was trained with {self.task.view_count} views, {images.shape[1]} are given"
            )
        edge = self.settings.raster
        small = functional.adaptive_avg_pool2d(images.flatten(0, 1), (edge, edge)).reshape(*images.shape[:2], -1)
        small = small - small.mean(dim=2, keepdim=True)
        return functional.normalize(small.flatten(1), dim=1)

    def fit_cases(self, cases: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learn (V, 1, H, W) standardised pictures with (I, J, K) class maps by heart."""
        pictures, maps = zip(*((self.described(shown[None])[0], classes) for shown, classes in cases), strict=True)
        self.pictures, self.maps = torch.stack(pictures), torch.stack(maps).to(torch.uint8)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A checkpoint holds as many cases as it was trained with."""
        for name in ("pictures", "maps"):
            stored, own = state.get(prefix + name), getattr(self, name)
            if stored is not None and stored.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_zeros(stored.shape))
        super()._load_from_state_dict(state, prefix, *rest)


MODELS.register(
    "nearest_case", "baseline: the training case with the most similar radiographs", source="baseline",
    views="any number, fixed at training",
)(ModelSpec(NearestCaseSettings(), NearestCase, Recipe(), learns_by_gradient=False))  # fmt: skip
