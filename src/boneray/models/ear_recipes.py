"""The training that EAR gave to itself and to every method it compares (Tan et al. 2024, section 4.4)."""

from __future__ import annotations

from typing import Any

from boneray.models.published_recipes import AS_STORED
from boneray.models.registry import NamedRecipe, Recipe

EAR_TRAINING: dict[str, Any] = {
    **AS_STORED,
    "optimiser": "adam",
    "learning_rate": 1e-2,
    "weight_decay": 1e-5,
    "batch_size": 2,
    "epochs": 100,
    "schedule": "cosine",
    "warmup_fraction": 0.1,
}
SOURCE = "EAR, section 4.4: Adam, 0.01, weight decay 1e-5, batch 2, 100 epochs, 10 of them warm-up, cosine"


def as_in_ear(loss: str, **settings: Any) -> NamedRecipe:
    """EAR's training with a loss: `ear` for EAR itself, `intensity_l1` for the methods it compares."""
    return NamedRecipe(Recipe(**EAR_TRAINING, loss=loss), SOURCE, settings)
