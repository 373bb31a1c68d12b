"""The Lightning shell: loss, optimiser, schedule in steps, averaged weights, validation score."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from boneray.losses.registry import training_loss
from boneray.models.batch import Batch, Kind
from boneray.models.registry import Recipe
from boneray.training.scores import SCORES, class_dice

__all__ = ["Averaging", "TrainingModule", "average", "class_dice", "warm_cosine"]


class TrainingModule(lightning.LightningModule):
    """Trains `network` by `recipe` on references of one kind; `averaged` holds the exponential mean of its weights."""

    def __init__(self, network: nn.Module, recipe: Recipe, learns: Kind = "labels") -> None:
        super().__init__()
        self.network = network
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.recipe = recipe
        self.learns: Kind = learns
        self.score = SCORES[learns]
        self._scores: list[Tensor] = []

    @property
    def best_network(self) -> nn.Module:
        """The weights that are validated and kept."""
        return self.averaged if self.recipe.ema > 0 else self.network

    def training_step(self, batch: Batch, _: int) -> Tensor:
        if self.recipe.stages:
            self._enter_stage()
        loss = training_loss(self.recipe.loss, self.network(batch), batch.reference(self.learns), learns=self.learns)
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.images))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        self.best_network.eval()
        self._scores.append(self.score.of(self.best_network(batch), batch.reference(self.learns)))

    def on_validation_epoch_end(self) -> None:
        self.log(self.score.key, torch.cat(self._scores).nanmean(), prog_bar=True)
        self._scores.clear()

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        recipe = self.recipe
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimiser]
        spared = [p for name, p in self.network.named_parameters() if name.endswith(recipe.undecayed)]
        decayed = [p for name, p in self.network.named_parameters() if not name.endswith(recipe.undecayed)]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
        optimiser = kind(
            [group for group in groups if group["params"]], lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warm_cosine(step, recipe))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _enter_stage(self) -> None:
        """The stage of a network that learns in several, by the share of the steps that are done."""
        stages = self.recipe.stages
        stage = stages[min(len(stages) - 1, self.global_step * len(stages) // self.recipe.steps)]
        if self.network.stage != stage:
            self.network.enter(stage)


class Averaging(lightning.Callback):
    """Moves the averaged weights after each step; comes before whatever saves them."""

    def on_train_batch_end(self, trainer: Any, pl_module: TrainingModule, *_: Any) -> None:  # type: ignore[override]
        ema = pl_module.recipe.ema
        if ema > 0:
            step = trainer.global_step
            average(pl_module.averaged, pl_module.network, decay=min(ema, (1 + step) / (10 + step)))


def warm_cosine(step: int, recipe: Recipe) -> float:
    """Share of the learning rate at a step: linear warm-up, then cosine to zero or constant."""
    warm = max(1, round(recipe.warmup_fraction * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "sgdr":
        return warm_restarts(step - warm, recipe.steps - warm, recipe.restarts)
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, recipe.steps - warm))))


def warm_restarts(step: int, steps: int, cycles: int) -> float:
    """Share of the rate at a step of so many, in `cycles` cosines that each last twice as long as the one before.

    Source: Loshchilov and Hutter 2017, SGDR, with T_mult = 2; T_0 is then steps / (2^cycles - 1).
    """
    first = steps / (2**cycles - 1)
    cycle = min(cycles - 1, int(math.log2(max(step, 0) / first + 1)))
    done = (step - first * (2**cycle - 1)) / (first * 2**cycle)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, done))))


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move the averaged weights and buffers towards the network's; counters are copied."""
    for old, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new.to(old.dtype), 1.0 - decay)
        else:
            old.copy_(new)
