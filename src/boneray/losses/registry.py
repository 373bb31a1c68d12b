"""Registered losses, and how one is applied to what a network answers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry
from boneray.models.batch import LabelLogits, ViewLogits

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: Registry[Loss] = Registry("loss", "boneray.losses", "boneray.losses")


def training_loss(name: str, prediction: LabelLogits, classes: Tensor) -> Tensor:
    """The loss called `name` of a prediction, with the term that only the network knows, if there is one.

    A loss registered with `per_view=True` takes the scores of every view, (B, V, C, I, J, K).

    Raises:
        ConfigError: unknown loss, or a loss between views for a network with one answer.
    """
    entry = LOSSES.get(name)
    logits = prediction.logits
    if entry.facts.get("per_view"):
        views = prediction.views if isinstance(prediction, ViewLogits) else None
        if views is None:
            raise ConfigError(f"loss {name} compares the answers of views, and this model gives one; use dice_ce")
        logits = views
    loss = entry.value(logits, classes)
    return loss if prediction.penalty is None else loss + prediction.penalty
