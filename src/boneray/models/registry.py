"""Registered models: name, settings, how to build the network, and the recipe it is trained by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import nn

from boneray.core.config import Settings
from boneray.core.registry import Registry


class CameraMixture(Settings):
    """Which cameras training sees; re-rendered from the case's CT, otherwise the stored views are used.

    Shares of samples: `jittered` moves every camera by up to `rotation_deg` and `shift_mm`;
    `turned` draws the second view's angle within `turn_deg` of its nominal one; the rest is exact.
    """

    jittered: float = Field(0.4, ge=0, le=1)
    turned: float = Field(0.2, ge=0, le=1)
    rotation_deg: float = Field(10.0, ge=0, le=45)
    shift_mm: float = Field(5.0, ge=0)
    turn_deg: float = Field(25.0, ge=0, le=80)


class Recipe(Settings):
    """How a model is trained. Schedules count optimiser steps.

    `ema` is the decay of the averaged weights that are validated and kept (0: the weights
    themselves); `contrast` the spread of a gamma curve, `noise` the most Gaussian noise in SDs of
    the picture, `mirror` the share of cases rendered from their mirror image.
    """

    steps: int = Field(2000, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup_fraction: float = Field(0.15, ge=0, lt=1)
    loss: str = "dice_ce"
    ema: float = Field(0.98, ge=0, lt=1)
    contrast: float = Field(0.1, ge=0, lt=1)
    noise: float = Field(0.05, ge=0)
    mirror: float = Field(0.5, ge=0, le=1)
    cameras: CameraMixture = CameraMixture()
    validations: int = Field(10, ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


@dataclass(frozen=True)
class Task:
    """What a network must be built for.

    Attributes:
        grid_shape: working grid (I, J, K).
        image_shape: pictures (H, W) as the network sees them.
        class_count: bones told apart, background not counted.
        view_count: views per case, for architectures that fix it.
    """

    grid_shape: tuple[int, int, int]
    image_shape: tuple[int, int]
    class_count: int
    view_count: int


@dataclass(frozen=True)
class ModelSpec:
    """One registered variant.

    Attributes:
        settings: default settings of this variant.
        build: (settings, task) -> network whose `forward(Batch)` gives a Prediction.
        recipe: published or recommended training.
        learns_by_gradient: False for baselines that are fitted in one pass (`network.fit`).
    """

    settings: Settings
    build: Callable[..., nn.Module]
    recipe: Recipe
    learns_by_gradient: bool = True


MODELS: Registry[ModelSpec] = Registry("model", "boneray.models", "boneray.models")
