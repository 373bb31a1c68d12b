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
from boneray.io.case_folder import case_folders, read_description
from boneray.io.files import prepare_output, read_json, require_free, write_json
from boneray.losses.registry import fitting_loss
from boneray.models.checkpoint import CheckpointCard, build_network, find_checkpoint, save_checkpoint
from boneray.models.registry import MODELS, Recipe
from boneray.models.transfer import initialise_from
from boneray.training.plan import Plan, TrainSettings, plan
from boneray.training.processes import Process, this_process
from boneray.training.samples import Samples, TrainingCase, collate, learn_scale, one_reference, pictures_and_classes

SCHEMA = "boneray/training/1"
Say = Callable[[str], None]
Cases = dict[str, Sequence[TrainingCase]]


def train(
    model: str,
    *,
    data: Path,
    out: Path,
    recipe: Path | str | None = None,
    overrides: tuple[str, ...] = (),
    init_from: str | Path | None = None,
    fold: int | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Train `model` on the cases below `data`; returns what run.json says at the end.

    Everything is checked before anything is written. With `resume` the settings and the split of
    the run in `out` hold. In one of several processes (see `training.processes`) each learns from
    its share of every batch, and the first one writes.

    Args:
        recipe: name of a published recipe of the model, or a YAML file with settings that differ
            from its own.
        init_from: checkpoint whose weights are started from where their shapes agree.
        fold: which fold is tested, from 1 on.
    Raises:
        ConfigError: unknown model or setting; DataError: cases that do not fit together;
        InputError: no data, or an output folder in the way.
    """
    accelerator = choose_accelerator(device)
    model = MODELS.get(model).name
    here = this_process()
    told: list[str] = []
    if resume:
        changed = recipe is not None or overrides or init_from is not None or fold is not None
        run, settings = _stopped_run(out, model, changed=bool(changed))
        told = run.get("started_from", [])
        if run["finished"]:
            say("this run is finished already")
            return run
    else:
        settings = _settings(model, data, recipe, overrides, init_from, fold)
        if here.first:
            require_free(out, force=force)
    _require_shares(settings.recipe, here)
    made = plan(model, data, settings, frozen=out / "splits.json" if resume else None)
    settings = settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"steps": made.steps})})
    say(f"{model}: {len(made.parts['train'])} training and {len(made.parts['validation'])} validation cases")
    fitting_loss(settings.recipe.loss, MODELS.get(model).value.learns)
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    network = build_network(made.card)
    if not resume and hasattr(network, "initialise"):
        told += network.initialise()
    if not resume and settings.init_from:
        told += initialise_from(network, find_checkpoint(settings.init_from)).lines()
    for line in told if not resume else ():
        say(line)
    cases = {part: made.load(part) for part in ("train", "validation")}
    learn_scale(network, MODELS.get(model).value.learns, cases["train"])
    run = _described(model, data, settings, made, told)
    if not resume and here.first:
        prepare_output(out, force=force)
        _clear(out)
        write_splits(out / "splits.json", made.parts, seed=settings.seed)
        write_json(out / "run.json", run)
    if MODELS.get(model).value.learns_by_gradient:
        result = _by_gradient(network, made.card, settings, cases, out, accelerator, resume=resume, say=say)
    else:
        result = _in_one_pass(network, made.card, cases, out)
    run |= {"finished": True, "result": result}
    if here.first:
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


def _settings(
    model: str,
    data: Path,
    recipe: Path | str | None,
    overrides: tuple[str, ...],
    init_from: str | Path | None,
    fold: int | None,
) -> TrainSettings:
    """The model's own recipe or a published one, then a file, then overrides; `recipe.steps` outdoes epochs."""
    spec = MODELS.get(model).value
    base: dict[str, Any] = {"recipe": spec.recipe.model_dump()}
    file = None
    if recipe is not None and (Path(recipe).suffix in (".yaml", ".yml") or Path(recipe).is_file()):
        file = Path(recipe)
    elif recipe is not None:
        named = spec.named_recipe(str(recipe))
        anatomy = read_description(next(iter(case_folders(data))))["anatomy"]
        base = {"recipe": named.for_anatomy(anatomy).model_dump(), "model": dict(named.settings)}
    base |= {"init_from": str(init_from or ""), "fold": fold}
    if any(o.startswith("recipe.steps=") for o in overrides):
        overrides = ("recipe.epochs=null", *overrides)
    settings = load_settings(TrainSettings, file=file, overrides=overrides, base=base)
    load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings.model})
    return settings


def _require_shares(recipe: Recipe, here: Process) -> None:
    """Several processes: every one gets as many cases of a batch, and all parameters learn from the start."""
    if here.count > 1 and recipe.batch_size % here.count:
        raise ConfigError(
            f"a batch of {recipe.batch_size} cannot be shared by {here.count} processes; "
            f"set recipe.batch_size to a multiple of {here.count}"
        )
    if here.count > 1 and recipe.stages:
        raise ConfigError(f"a network that learns in stages ({', '.join(recipe.stages)}) is trained in one process")


def _stopped_run(out: Path, model: str, *, changed: bool) -> tuple[dict[str, Any], TrainSettings]:
    if changed:
        raise ConfigError("--resume goes on with the run's own settings; leave the options that change them away")
    MODELS.get(model)
    run = read_json(out / "run.json", "run to resume")
    if run.get("schema") != SCHEMA:
        raise InputError(f"{out}/run.json has schema {run.get('schema')!r}; a training run has {SCHEMA!r}")
    if run.get("model") != model:
        raise InputError(f"run {out} trained model {run.get('model')}, not {model}; resume it with its own model")
    return run, load_settings(TrainSettings, base=run["settings"])


def _described(model: str, data: Path, settings: TrainSettings, made: Plan, told: list[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": "train",
        "model": model,
        "settings": settings.model_dump(),
        "started_from": told,
        "data": str(data),
        "cases": {part: len(ids) for part, ids in made.parts.items()},
        "split_sha256": split_hash(made.parts),
        "validation_is_training": settings.overfit,
        "versions": {"boneray": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "finished": False,
    }


def _in_one_pass(network: nn.Module, card: CheckpointCard, cases: Cases, out: Path) -> dict[str, Any]:
    learns = MODELS.get(card.model).value.learns
    if hasattr(network, "fit_cases"):
        network.fit_cases(pictures_and_classes(case, card.image_shape) for case in cases["train"])  # type: ignore[operator]
    else:
        network.fit(one_reference(case, learns) for case in cases["train"])  # type: ignore[operator]
    if this_process().first:
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

    from boneray.training.finite import Finite
    from boneray.training.keeper import Keeper
    from boneray.training.module import Averaging, TrainingModule
    from boneray.training.scores import SCORES

    recipe = settings.recipe
    learns = MODELS.get(card.model).value.learns
    state = _saved_state(out, say) if resume else None
    shared = {"image_shape": card.image_shape, "class_names": card.classes, "recipe": recipe, "seed": settings.seed}
    training = Samples(cases["train"], count=recipe.steps * recipe.batch_size, augment=True, learns=learns, **shared)  # type: ignore[arg-type]
    validation = Samples(cases["validation"], count=len(cases["validation"]), augment=False, learns=learns, **shared)  # type: ignore[arg-type]
    every = max(1, recipe.steps // recipe.validations)
    keeper = Keeper(out, card, every=every, say=say, score=SCORES[learns])
    here = this_process()
    precision = recipe.precision
    if accelerator == "cpu" and precision == "16-mixed":
        say("this recipe is of 16 bits; on the CPU it is trained with 32")
        precision = "32-true"
    _quiet_lightning()
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(accelerator, accelerator),
        devices=here.count_on_node,
        num_nodes=here.count // here.count_on_node,
        strategy="ddp" if here.count > 1 else "auto",
        max_steps=recipe.steps,
        precision=precision,
        gradient_clip_val=recipe.gradient_clip or None,
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[Finite(), Averaging(), keeper],
        logger=TensorBoardLogger(out, name="tensorboard", version="") if here.first else False,
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty() and here.first,
        use_distributed_sampler=False,
    )
    if here.rank:  # what falls out of a network differs by process; its weights are those of the first one
        torch.manual_seed(derived_seed(settings.seed, "process", here.rank))
    shell = TrainingModule(network, recipe, learns)
    workers = 0 if accelerator == "cpu" else min(8, (os.cpu_count() or 2) - 1)
    loaders = (
        DataLoader(
            training,
            batch_sampler=StepSampler(recipe.steps, recipe.batch_size, lambda: trainer.global_step, here),
            collate_fn=collate,
            num_workers=workers,
        ),
        DataLoader(validation, batch_size=recipe.batch_size, collate_fn=collate),
    )
    trainer.fit(shell, *loaders, ckpt_path=state, weights_only=True)
    return {
        "steps": trainer.global_step,
        "checkpoint": "best.safetensors",
        keeper.score.key: keeper.best_score,
        "best_step": keeper.best_step,
    }


class StepSampler(Sampler[list[int]]):
    """Sample numbers of each optimiser step, starting where the run stands (so a resume continues).

    Of several processes each draws its own share of a step's numbers, so that together they see
    what one alone would.
    """

    def __init__(
        self, steps: int, batch_size: int, step_now: Callable[[], int], process: Process | None = None
    ) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.step_now = step_now
        self.process = process or Process()

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.step_now(), self.steps):
            numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
            yield list(numbers[self.process.rank :: self.process.count])


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
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
