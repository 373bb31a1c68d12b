"""Keeps what a run must not lose: resumable state, the newest and the best checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from boneray.io.files import write_text
from boneray.models.checkpoint import CheckpointCard, save_checkpoint
from boneray.training.module import TrainingModule
from boneray.training.scores import SCORES, Score

LOSS_EVERY = 10
STATE_EVERY = 100


class Keeper(lightning.Callback):
    """Saves at every validation, and the full state also between them; of several processes the first one does.

    The state of a step with a validation is saved after it, so a resumed run never lacks one.

    Attributes:
        best_score, best_step: of the checkpoint in best.safetensors; score: which one it is.
        history: (step, loss, validation score or None) in order; metrics.csv shows it.
    """

    def __init__(
        self,
        out: Path,
        card: CheckpointCard,
        *,
        every: int,
        say: Callable[[str], None],
        score: Score = SCORES["labels"],
    ) -> None:
        self.out = out
        self.card = card
        self.every = every
        self.say = say
        self.score = score
        self.best_score = -math.inf
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
        step, loss, score = trainer.global_step, _loss(trainer), float(trainer.callback_metrics[self.score.key])
        facts = {**self.card.training, "steps": step, self.score.key: round(score, 4)}
        card = replace(self.card, training=facts)
        first = trainer.is_global_zero
        if first:
            save_checkpoint(self.out / "last.safetensors", module.best_network, card)
        if score > self.best_score:
            self.best_score, self.best_step = score, step
            if first:
                save_checkpoint(self.out / "best.safetensors", module.best_network, card)
        self.history.append((step, loss, score))
        self._save_state(trainer)
        self.say(f"step {step}: loss {loss:.3f}, {self.score.words} {score:.3f} (best {self.best_score:.3f})")

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_step": self.best_step, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_step = state_dict["best_step"]
        self.history = list(state_dict["history"])

    def _save_state(self, trainer: Any) -> None:
        temporary = self.out / "writing.ckpt"
        trainer.save_checkpoint(temporary)
        if not trainer.is_global_zero:
            return
        os.replace(temporary, self.out / "last.ckpt")
        rows = [f"{step},{loss:.6g},{'' if score is None else f'{score:.6g}'}" for step, loss, score in self.history]
        write_text(self.out / "metrics.csv", "\n".join([f"step,loss,{self.score.key}", *rows]) + "\n")


def _loss(trainer: Any) -> float:
    return float(trainer.callback_metrics.get("loss", float("nan")))
