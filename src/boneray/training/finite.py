"""Stops a run whose loss is no number: nothing that follows could mend it."""

from __future__ import annotations

from typing import Any

import lightning
import torch

from boneray.core.errors import DataError


class Finite(lightning.Callback):
    """Raises DataError at the first step whose loss is NaN or infinite."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # type: ignore[override]
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise DataError(f"the loss is {float(loss)} at step {trainer.global_step}; lower recipe.learning_rate")
