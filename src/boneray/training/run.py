"""`boneray train`: from a folder of cases to a run folder that says everything.

run.json           settings, seed, versions, data, split hash, progress, result
splits.json        which case was in which part
metrics.csv        loss and validation Dice over steps (TensorBoard events beside it)
best.safetensors   the checkpoint with the best validation Dice, last.safetensors the newest
last.ckpt          full state for --resume
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from boneray import __version__
from boneray.core.config import load_settings
from boneray.core.errors import ConfigError, InputError
from boneray.core.seeds import derived_seed
from boneray.datasets.splits import split_hash, write_splits
from boneray.io.files import prepare_output, read_json, require_free, write_json
from boneray.losses.registry import LOSSES
from boneray.models.checkpoint import CheckpointCard, build_network, save_checkpoint
from boneray.models.registry import MODELS
from boneray.training.plan import Plan, TrainSettings, plan
from boneray.training.samples import Samples, TrainingCase, collate

SCHEMA = "boneray/training/1"
Say = Callable[[str], None]
Cases = dict[str, Sequence[TrainingCase]]


def train(
    model: str,
    *,
    data: Path,
    out: Path,
    recipe: Path | None = None,
    overrides: tuple[str, ...] = (),
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Train `model` on the cases below `data`; returns what run.json says at the end.

    Everything is checked before anything is written. With `resume` the settings and the split of
    the run in `out` hold.

    Raises:
        ConfigError: unknown model or setting; DataError: cases that do not fit together;
        InputError: no data, or an output folder in the way.
    """
    accelerator = choose_accelerator(device)
    if resume:
        run, settings = _stopped_run(out, model, recipe, overrides)
        if run["finished"]:
            say("this run is finished already")
            return run
    else:
        settings = _settings(model, recipe, overrides)
        require_free(out, force=force)
    made = plan(model, data, settings, frozen=out / "splits.json" if resume else None)
    say(f"{model}: {len(made.parts['train'])} training and {len(made.parts['validation'])} validation cases")
    LOSSES.get(settings.recipe.loss)
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    network = build_network(made.card)
    if not resume and hasattr(network, "initialise"):
        for line in network.initialise():
            say(line)
    cases = {part: made.load(part) for part in ("train", "validation")}
    run = _described(model, data, settings, made)
    if not resume:
        prepare_output(out, force=force)
        _clear(out)
        write_splits(out / "splits.json", made.parts, seed=settings.seed)
        write_json(out / "run.json", run)
    if MODELS.get(model).value.learns_by_gradient:
        result = _by_gradient(network, made.card, settings, cases, out, accelerator, resume=resume, say=say)
    else:
        result = _in_one_pass(network, made.card, cases, out)
    run |= {"finished": True, "result": result}
    write_json(out / "run.json", run)
    return run


def choose_accelerator(device: str) -> str:
    """cpu, cuda or mps for auto or one of these.

    Raises:
        ConfigError: unknown, or not available here.
    """
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if found["cuda"] else "mps" if found["mps"] else "cpu"
    if device not in found:
        raise ConfigError(f"unknown device '{device}'; choose one of auto, cpu, cuda, mps")
    if not found[device]:
        raise ConfigError(f"device {device} is not available here; use --device auto or cpu")
    return device


def _settings(model: str, recipe: Path | None, overrides: tuple[str, ...]) -> TrainSettings:
    spec = MODELS.get(model).value
    base = {"recipe": spec.recipe.model_dump()}
    settings = load_settings(TrainSettings, file=recipe, overrides=overrides, base=base)
    load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings.model})
    return settings


def _stopped_run(
    out: Path, model: str, recipe: Path | None, overrides: tuple[str, ...]
) -> tuple[dict[str, Any], TrainSettings]:
    if recipe is not None or overrides:
        raise ConfigError("--resume goes on with the run's own settings; leave --set and --recipe away")
    MODELS.get(model)
    run = read_json(out / "run.json", "run to resume")
    if run.get("schema") != SCHEMA:
        raise InputError(f"{out}/run.json has schema {run.get('schema')!r}; a training run has {SCHEMA!r}")
    if run.get("model") != model:
        raise InputError(f"run {out} trained model {run.get('model')}, not {model}; resume it with its own model")
    return run, load_settings(TrainSettings, base=run["settings"])


def _described(model: str, data: Path, settings: TrainSettings, made: Plan) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": "train",
        "model": model,
        "settings": settings.model_dump(),
        "data": str(data),
        "cases": {part: len(ids) for part, ids in made.parts.items()},
        "split_sha256": split_hash(made.parts),
        "validation_is_training": settings.overfit,
        "versions": {"boneray": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "finished": False,
    }


def _in_one_pass(network: nn.Module, card: CheckpointCard, cases: Cases, out: Path) -> dict[str, Any]:
    network.fit(torch.from_numpy(case.classes) for case in cases["train"])  # type: ignore[operator]
    save_checkpoint(out / "best.safetensors", network, card)
    return {"steps": 0, "checkpoint": "best.safetensors"}


def _by_gradient(
    network: nn.Module,
    card: CheckpointCard,
    settings: TrainSettings,
    cases: Cases,
    out: Path,
    accelerator: str,
    *,
    resume: bool,
    say: Say,
) -> dict[str, Any]:
    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    from boneray.training.keeper import Keeper
    from boneray.training.module import Averaging, TrainingModule

    recipe = settings.recipe
    state = _saved_state(out, say) if resume else None
    shared = {"image_shape": card.image_shape, "class_names": card.classes, "recipe": recipe, "seed": settings.seed}
    training = Samples(cases["train"], count=recipe.steps * recipe.batch_size, augment=True, **shared)  # type: ignore[arg-type]
    validation = Samples(cases["validation"], count=len(cases["validation"]), augment=False, **shared)  # type: ignore[arg-type]
    every = max(1, recipe.steps // recipe.validations)
    keeper = Keeper(out, card, every=every, say=say)
    _quiet_lightning()
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(accelerator, accelerator),
        devices="auto" if accelerator == "cuda" else 1,
        max_steps=recipe.steps,
        precision=recipe.precision,
        gradient_clip_val=recipe.gradient_clip or None,
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[Averaging(), keeper],
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        use_distributed_sampler=False,
    )
    shell = TrainingModule(network, recipe)
    workers = 0 if accelerator == "cpu" else min(8, (os.cpu_count() or 2) - 1)
    loaders = (
        DataLoader(
            training,
            batch_sampler=StepSampler(recipe.steps, recipe.batch_size, lambda: trainer.global_step),
            collate_fn=collate,
            num_workers=workers,
        ),
        DataLoader(validation, batch_size=recipe.batch_size, collate_fn=collate),
    )
    trainer.fit(shell, *loaders, ckpt_path=state, weights_only=True)
    return {
        "steps": trainer.global_step,
        "checkpoint": "best.safetensors",
        "validation_dice": keeper.best_dice,
        "best_step": keeper.best_step,
    }


class StepSampler(Sampler[list[int]]):
    """Sample numbers of each optimiser step, starting where the run stands (so a resume continues)."""

    def __init__(self, steps: int, batch_size: int, step_now: Callable[[], int]) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.step_now = step_now

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.step_now(), self.steps):
            yield [step * self.batch_size + i for i in range(self.batch_size)]


def _saved_state(out: Path, say: Say) -> Path | None:
    """The state to resume from; None if the run was stopped before it saved one."""
    state = out / "last.ckpt"
    if not state.is_file():
        say("nothing was saved yet: starting at step 0")
        return None
    if not zipfile.is_zipfile(state):
        raise InputError(f"{state} is damaged; start anew with --force")
    return state


def _clear(out: Path) -> None:
    """With --force: take away what an earlier run left, and nothing else."""
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    for name in ("last.ckpt", "best.safetensors", "best.json", "last.safetensors", "last.json", "metrics.csv"):
        (out / name).unlink(missing_ok=True)


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
