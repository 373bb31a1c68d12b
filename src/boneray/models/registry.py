"""Registered models: name, settings, how to build the network, and the recipe it is trained by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field
from torch import nn

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.core.registry import Registry, unknown_name
from boneray.datasets.augmentation import Limits
from boneray.models.batch import Kind
from boneray.projection.in_plane import RandAugment


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


class StoredPairs(Settings):
    """How stored pictures and their labels are changed together, for cases without a CT to render from.

    Pictures and volume move alike, as if the rays were parallel. All values 0: nothing is changed.
    `copies`: changed copies of each case, made once per run; 0 draws anew for every sample.
    `zoom`: factor drawn from 1 - zoom to 1 + zoom. `tilt_deg`: SD of a turn within each picture,
    the same for all. `shift`: SD along i, j, k as a share of the grid's edge. `intensity`: most
    that grey values are scaled by and shifted. `half_turn`: share of cases turned by 180 degrees
    about the patient's long axis.
    """

    copies: int = Field(0, ge=0)
    zoom: float = Field(0.0, ge=0, lt=1)
    tilt_deg: float = Field(0.0, ge=0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    intensity: float = Field(0.0, ge=0)
    half_turn: float = Field(0.0, ge=0, le=1)


class Recipe(Settings):
    """How a model is trained. Schedules count optimiser steps.

    `epochs`, where given, sets the number of steps by the number of cases (see `steps_for`).
    `warmup_fraction` is the share of the steps with a linear warm-up, before a cosine to zero or a
    constant rate; `sgdr` starts a cosine anew `restarts` times, each twice as long as the one before.
    `undecayed`: parameters whose name ends so are spared the weight decay.
    `gradient_clip` is the greatest norm of the gradient (0: any). `stages`: names of the stages of
    a network that learns in several (`network.enter(stage)`), each with its share of the steps.
    `ema` is the decay of the averaged weights that are validated and kept (0: the weights
    themselves); `contrast` the spread of a gamma curve, `noise` the most Gaussian noise in SDs of
    the picture, `mirror` the share of cases rendered from their mirror image; `body`, where given,
    changes the body itself before it is rendered, and its beam; `stored_pairs` is the
    augmentation of published methods, which have no CT at hand.
    """

    steps: int = Field(2000, ge=1)
    epochs: int | None = Field(None, ge=1)
    batch_size: int = Field(4, ge=1)
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    undecayed: tuple[str, ...] = ()
    schedule: Literal["cosine", "constant", "sgdr"] = "cosine"
    restarts: int = Field(6, ge=1)
    warmup_fraction: float = Field(0.15, ge=0, lt=1)
    gradient_clip: float = Field(0.0, ge=0)
    stages: tuple[str, ...] = ()
    loss: str = "dice_ce"
    ema: float = Field(0.98, ge=0, lt=1)
    contrast: float = Field(0.1, ge=0, lt=1)
    noise: float = Field(0.05, ge=0)
    mirror: float = Field(0.5, ge=0, le=1)
    cameras: CameraMixture = CameraMixture()
    body: Limits | None = None
    stored_pairs: StoredPairs = StoredPairs()
    randaugment: RandAugment = RandAugment()
    validations: int = Field(10, ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"

    def steps_for(self, case_count: int) -> int:
        """Optimiser steps with so many training cases: `steps`, or `epochs` times the batches of all cases."""
        if self.epochs is None:
            return self.steps
        return self.epochs * max(1, math.ceil(case_count * max(1, self.stored_pairs.copies) / self.batch_size))


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that was published, under a name.

    Attributes:
        recipe: what holds for every anatomy.
        source: where it is stated, and what there contradicts another source.
        settings: settings of the network that belong to it (its initialisation, its dropout).
        by_anatomy: values of `recipe` that differ for an anatomy.
    """

    recipe: Recipe
    source: str
    settings: dict[str, Any] = field(default_factory=dict)
    by_anatomy: dict[str, dict[str, Any]] = field(default_factory=dict)

    def for_anatomy(self, anatomy: str) -> Recipe:
        """The recipe with the values of one anatomy."""
        return Recipe(**{**self.recipe.model_dump(), **self.by_anatomy.get(anatomy, {})})


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
        recipe: recommended training, used when none is named.
        learns: the kind of reference it is trained on, and so of its prediction.
        learns_by_gradient: False for baselines that are fitted in one pass (`network.fit`).
        recipes: published training by name; where sources disagree, one name for each.
        published: what a paper states of its size, as text; "" where nothing is.
        narrow: settings of a network of the same structure with few channels, for large ones.
        smallest: edge in voxels of the smallest cube that it can be trained on.
        channels_last: whether its 3D layers are quicker with channels last (measured on a CPU).
    """

    settings: Settings
    build: Callable[..., nn.Module]
    recipe: Recipe
    learns_by_gradient: bool = True
    learns: Kind = "labels"
    recipes: dict[str, NamedRecipe] = field(default_factory=dict)
    published: str = ""
    narrow: Settings | None = None
    smallest: int = 32
    channels_last: bool = False

    def named_recipe(self, name: str) -> NamedRecipe:
        """The published recipe called `name`.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.recipes:
            if not self.recipes:
                raise ConfigError(f"no recipe '{name}': this model has only its own; leave --recipe away")
            raise ConfigError(unknown_name("recipe", name, list(self.recipes)))
        return self.recipes[name]


MODELS: Registry[ModelSpec] = Registry("model", "boneray.models", "boneray.models")
