"""Keeps what a run must not lose: resumable state, the newest and the best checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from boneray.io.files import write_text
from boneray.models.checkpoint import CheckpointCard, save_checkpoint
from boneray.training.module import TrainingModule

LOSS_EVERY = 10
STATE_EVERY = 100


class Keeper(lightning.Callback):
    """Saves at every validation, and the full state also between them.

    The state of a step with a validation is saved after it, so a resumed run never lacks one.

    Attributes:
        best_dice, best_step: of the checkpoint in best.safetensors.
        history: (step, loss, validation Dice or None) in order; metrics.csv shows it.
    """

    def __init__(self, out: Path, card: CheckpointCard, *, every: int, say: Callable[[str], None]) -> None:
        self.out = out
        self.card = card
        self.every = every
        self.say = say
        self.best_dice = -1.0
        self.best_step = 0
        self.history: list[tuple[int, float, float | None]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0:
            return
        if step % LOSS_EVERY == 0:
            self.history.append((step, _loss(trainer), None))
        if step % STATE_EVERY == 0:
            self._save_state(trainer)

    def on_validation_end(self, trainer: Any, module: TrainingModule) -> None:  # type: ignore[override]
        step, loss, dice = trainer.global_step, _loss(trainer), float(trainer.callback_metrics["validation_dice"])
        facts = {**self.card.training, "steps": step, "validation_dice": round(dice, 4)}
        card = replace(self.card, training=facts)
        save_checkpoint(self.out / "last.safetensors", module.best_network, card)
        if dice > self.best_dice:
            self.best_dice, self.best_step = dice, step
            save_checkpoint(self.out / "best.safetensors", module.best_network, card)
        self.history.append((step, loss, dice))
        self._save_state(trainer)
        self.say(f"step {step}: loss {loss:.3f}, validation Dice {dice:.3f} (best {self.best_dice:.3f})")

    def state_dict(self) -> dict[str, Any]:
        return {"best_dice": self.best_dice, "best_step": self.best_step, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_dice = state_dict["best_dice"]
        self.best_step = state_dict["best_step"]
        self.history = list(state_dict["history"])

    def _save_state(self, trainer: Any) -> None:
        temporary = self.out / "writing.ckpt"
        trainer.save_checkpoint(temporary)
        os.replace(temporary, self.out / "last.ckpt")
        rows = [f"{step},{loss:.6g},{'' if dice is None else f'{dice:.6g}'}" for step, loss, dice in self.history]
        write_text(self.out / "metrics.csv", "\n".join(["step,loss,validation_dice", *rows]) + "\n")


def _loss(trainer: Any) -> float:
    return float(trainer.callback_metrics.get("loss", float("nan")))
