"""The Lightning shell: loss, optimiser, schedule in steps, averaged weights, validation Dice."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from boneray.losses.registry import training_loss
from boneray.models.batch import Batch
from boneray.models.registry import Recipe


class TrainingModule(lightning.LightningModule):
    """Trains `network` by `recipe`; `averaged` holds the exponential mean of its weights."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.recipe = recipe
        self._dice: list[Tensor] = []

    @property
    def best_network(self) -> nn.Module:
        """The weights that are validated and kept."""
        return self.averaged if self.recipe.ema > 0 else self.network

    def training_step(self, batch: Batch, _: int) -> Tensor:
        assert batch.classes is not None
        if self.recipe.stages:
            self._enter_stage()
        loss = training_loss(self.recipe.loss, self.network(batch), batch.classes)
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.images))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        assert batch.classes is not None
        self.best_network.eval()
        self._dice.append(class_dice(self.best_network(batch).class_map(), batch.classes))

    def on_validation_epoch_end(self) -> None:
        self.log("validation_dice", torch.cat(self._dice).nanmean(), prog_bar=True)
        self._dice.clear()

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
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, recipe.steps - warm))))


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move the averaged weights and buffers towards the network's; counters are copied."""
    for old, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new.to(old.dtype), 1.0 - decay)
        else:
            old.copy_(new)


def class_dice(prediction: Tensor, reference: Tensor) -> Tensor:
    """Dice of each case and class in (B, I, J, K) class maps; NaN for a class absent in both."""
    rows = []
    for c in range(1, int(max(prediction.max(), reference.max(), torch.tensor(1))) + 1):
        p, r = prediction == c, reference == c
        both = (p & r).sum((1, 2, 3)).float()
        rows.append(2 * both / (p.sum((1, 2, 3)) + r.sum((1, 2, 3))))
    return torch.stack(rows, dim=1).flatten()
