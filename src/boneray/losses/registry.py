"""Registered losses, and how one is applied to what a network answers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry
from boneray.models.batch import Kind, LabelLogits, Prediction, ViewLogits

Loss = Callable[..., Tensor]

LOSSES: Registry[Loss] = Registry("loss", "boneray.losses", "boneray.losses")


def fitting_loss(name: str, learns: Kind) -> Loss:
    """The loss called `name`, for a model that learns references of this kind.

    A loss is for labels unless it was registered with another `learns`.

    Raises:
        ConfigError: unknown, or for another kind of prediction.
    """
    entry = LOSSES.get(name)
    kind = entry.facts.get("learns", "labels")
    if kind != learns:
        fit = [e.name for e in LOSSES if e.facts.get("learns", "labels") == learns]
        raise ConfigError(f"loss {name} is for {kind}, and this model learns {learns}; choose of {', '.join(fit)}")
    return entry.value


def training_loss(name: str, prediction: Prediction, reference: Tensor, *, learns: Kind = "labels") -> Tensor:
    """The loss called `name` of a prediction, with the term that only the network knows, if there is one.

    A loss for labels takes the scores; one registered with `per_view=True` those of every view,
    (B, V, C, I, J, K). One registered with `whole=True`, and any for another kind of reference,
    takes the prediction itself.

    Raises:
        ConfigError: unknown loss, one for another kind of prediction, or a loss between views for a
            network with one answer.
    """
    value = fitting_loss(name, learns)
    facts = LOSSES.get(name).facts
    if learns != "labels" or facts.get("whole"):
        loss = value(prediction, reference)
    elif facts.get("per_view"):
        views = prediction.views if isinstance(prediction, ViewLogits) else None
        if views is None:
            raise ConfigError(f"loss {name} compares the answers of views, and this model gives one; use dice_ce")
        loss = value(views, reference)
    else:
        assert isinstance(prediction, LabelLogits)
        loss = value(prediction.logits, reference)
    return loss if prediction.penalty is None else loss + prediction.penalty
