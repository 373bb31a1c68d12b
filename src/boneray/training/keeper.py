"""Keeps what a run must not lose: resumable state, the newest and the best checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from boneray.models.checkpoint import CheckpointCard, save_checkpoint
from boneray.training.module import TrainingModule


class Keeper(lightning.Callback):
    """Saves at every validation, and the full state also between them.

    Attributes:
        best_dice, best_step: of the checkpoint in best.safetensors.
    """

    def __init__(self, out: Path, card: CheckpointCard, *, every: int, say: Callable[[str], None]) -> None:
        self.out = out
        self.card = card
        self.state_every = max(1, min(every, 100))
        self.say = say
        self.best_dice = -1.0
        self.best_step = 0

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step % self.state_every == 0:
            self._save_state(trainer)

    def on_validation_end(self, trainer: Any, module: TrainingModule) -> None:  # type: ignore[override]
        dice = float(trainer.callback_metrics["validation_dice"])
        loss = float(trainer.callback_metrics.get("loss", float("nan")))
        card = replace(
            self.card, training={**self.card.training, "steps": trainer.global_step, "validation_dice": round(dice, 4)}
        )
        save_checkpoint(self.out / "last.safetensors", module.best_network, card)
        if dice > self.best_dice:
            self.best_dice, self.best_step = dice, trainer.global_step
            save_checkpoint(self.out / "best.safetensors", module.best_network, card)
        self.say(f"step {trainer.global_step}: loss {loss:.3f}, validation Dice {dice:.3f} (best {self.best_dice:.3f})")

    def state_dict(self) -> dict[str, Any]:
        return {"best_dice": self.best_dice, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_dice = state_dict["best_dice"]
        self.best_step = state_dict["best_step"]

    def _save_state(self, trainer: Any) -> None:
        temporary = self.out / "writing.ckpt"
        trainer.save_checkpoint(temporary)
        os.replace(temporary, self.out / "last.ckpt")
