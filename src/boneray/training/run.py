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
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.utils.data import DataLoader, Sampler

from boneray import __version__
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.config import Settings, load_settings
from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.seeds import derived_seed
from boneray.datasets.splits import read_splits, split_by_patient, split_hash, write_splits
from boneray.io.case_folder import case_folders
from boneray.io.files import prepare_output, read_json, write_json
from boneray.models.checkpoint import TARGET, CheckpointCard, build_network, save_checkpoint
from boneray.models.registry import MODELS, Recipe
from boneray.training.samples import Samples, TrainingCase, collate, load_training_case

Say = Callable[[str], None]


class TrainSettings(Settings):
    """Everything that decides a training run besides its data.

    `model`: settings of the network; `views`: names in order, empty for those of the data;
    `image_shape`: pictures as the network sees them, empty for twice the grid; `overfit`:
    validate on the training cases, for proofs of capacity only.
    """

    model: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe = Recipe()
    seed: int = 0
    views: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    validation_share: float = Field(0.1, gt=0, lt=1)
    overfit: bool = False


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

    Raises:
        ConfigError: unknown model or setting; DataError: cases that do not fit together;
        InputError: no data, or an output folder in the way.
    """
    spec = MODELS.get(model).value
    base = {"recipe": spec.recipe.model_dump()}
    settings = load_settings(TrainSettings, file=recipe, overrides=overrides, base=base)
    load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings.model})
    accelerator = _accelerator(device)
    folders = case_folders(data)
    if resume:
        settings = _resumed_settings(out, model)
    else:
        prepare_output(out, force=force)
    parts = _parts(data, folders, settings)
    card = _card(model, settings, folders, parts)
    run = {
        "schema": "boneray/run/1",
        "command": "train",
        "model": model,
        "settings": settings.model_dump(),
        "data": str(data),
        "cases": {part: len(ids) for part, ids in parts.items()},
        "split_sha256": split_hash(parts),
        "validation_is_training": settings.overfit,
        "versions": {"boneray": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "finished": False,
    }
    say(f"{model}: {len(parts['train'])} training and {len(parts['validation'])} validation cases")
    by_id = {folder.name: folder for folder in folders}
    cases = {
        part: [load_training_case(by_id[c], card.classes, card.views) for c in parts[part]]
        for part in ("train", "validation")
    }
    _require_one_grid([*cases["train"], *cases["validation"]], card)
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    network = build_network(card)
    card = replace(
        card,
        training={
            "recipe": settings.recipe.model_dump(),
            "seed": settings.seed,
            "data": data.name,
            "split_sha256": split_hash(parts),
        },
    )
    if not resume:
        _clear(out)
        write_json(out / "run.json", run)
        write_splits(out / "splits.json", parts, seed=settings.seed)
    if spec.learns_by_gradient:
        result = _by_gradient(network, card, settings, cases, out, accelerator, resume=resume, say=say)
    else:
        result = _in_one_pass(network, card, cases, out)
    run |= {"finished": True, "result": result}
    write_json(out / "run.json", run)
    return run


def _accelerator(device: str) -> str:
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if found["cuda"] else "mps" if found["mps"] else "cpu"
    if device not in found:
        raise ConfigError(f"unknown device '{device}'; choose one of auto, cpu, cuda, mps")
    if not found[device]:
        raise ConfigError(f"device {device} is not available here; use --device auto or cpu")
    return device


def _resumed_settings(out: Path, model: str) -> TrainSettings:
    run = read_json(out / "run.json", "run to resume")
    if run.get("model") != model:
        raise InputError(f"run {out} trained model {run.get('model')}, not {model}; resume it with its own model")
    return TrainSettings.model_validate(run["settings"])


def _parts(data: Path, folders: list[Path], settings: TrainSettings) -> dict[str, list[str]]:
    """The data set's own frozen split, or a new one by patient."""
    if settings.overfit:
        ids = [folder.name for folder in folders]
        return {"train": ids, "validation": ids, "test": []}
    frozen = data / "splits.json"
    if frozen.is_file():
        parts = read_splits(frozen)
        unknown = sorted({c for ids in parts.values() for c in ids} - {f.name for f in folders})
        if unknown:
            raise DataError(f"split file {frozen} names case {unknown[0]}, which is not in {data}")
        if parts["train"] and parts["validation"]:
            return parts
        raise DataError(f"split file {frozen} has no training or no validation cases; write it anew")
    patients = {f.name: str(read_json(f / "case.json", "case file").get("patient_id", f.name)) for f in folders}
    return split_by_patient(patients, seed=settings.seed, validation=settings.validation_share)


def _card(model: str, settings: TrainSettings, folders: list[Path], parts: dict[str, list[str]]) -> CheckpointCard:
    """What the checkpoint will say, from the training cases' own descriptions."""
    used = {c for part in ("train", "validation") for c in parts[part]}
    values = [read_json(f / "case.json", "case file") for f in folders if f.name in used]
    anatomies = sorted({v["anatomy"] for v in values})
    if len(anatomies) > 1:
        raise DataError(f"the cases are of several anatomies ({', '.join(anatomies)}); train on one at a time")
    kind = find_anatomy(anatomies[0])
    if any(v["grid"] is None for v in values):
        raise DataError("a case has no labels; training needs a reference for every case")
    grid = values[0]["grid"]
    shape = tuple(grid["shape"])
    present = {name for v in values for name in v["bones"].values()}
    classes = (TARGET,) if kind.one_bone else tuple(name for name in kind.bones if name in present)
    if not classes:
        raise DataError(f"no case holds a bone of anatomy {kind.name} ({', '.join(kind.bones[:4])} ...)")
    views = settings.views or tuple(view["name"] for view in values[0]["views"])
    image = settings.image_shape or (2 * max(shape),) * 2
    return CheckpointCard(
        model=model,
        settings=settings.model,
        anatomy=kind.name,
        classes=classes,
        grid_shape=shape,
        grid_size_mm=tuple(n * s for n, s in zip(shape, grid["spacing_mm"], strict=True)),
        image_shape=tuple(image),
        views=views,
        data_licence="; ".join(sorted({v.get("licence") or "unstated" for v in values})),
    )


def _require_one_grid(cases: list[TrainingCase], card: CheckpointCard) -> None:
    for case in cases:
        size = tuple(case.grid.size_mm)
        if (
            case.grid.shape != card.grid_shape
            or max(abs(a - b) for a, b in zip(size, card.grid_size_mm, strict=True)) > 0.1
        ):
            raise DataError(
                f"case {case.case_id} has a grid of {case.grid.shape} voxels and {size[0]:.1f} mm, the first has "
                f"{card.grid_shape} and {card.grid_size_mm[0]:.1f} mm; prepare all with the same --voxels and --size-mm"
            )


def _in_one_pass(
    network: nn.Module, card: CheckpointCard, cases: dict[str, list[TrainingCase]], out: Path
) -> dict[str, Any]:
    network.fit(torch.from_numpy(case.classes) for case in cases["train"])  # type: ignore[operator]
    save_checkpoint(out / "best.safetensors", network, card)
    return {"steps": 0, "checkpoint": "best.safetensors"}


def _by_gradient(
    network: nn.Module,
    card: CheckpointCard,
    settings: TrainSettings,
    cases: dict[str, list[TrainingCase]],
    out: Path,
    accelerator: str,
    *,
    resume: bool,
    say: Say,
) -> dict[str, Any]:
    import lightning
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from boneray.training.keeper import Keeper
    from boneray.training.module import Averaging, TrainingModule

    recipe = settings.recipe
    last = out / "last.ckpt"
    if resume and not last.is_file():
        say("nothing to resume from yet: starting at step 0")
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
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[Averaging(), keeper],
        logger=[CSVLogger(out, name="", version=""), TensorBoardLogger(out, name="tensorboard", version="")],
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
    trainer.fit(shell, *loaders, ckpt_path=last if resume and last.is_file() else None, weights_only=True)
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


def _clear(out: Path) -> None:
    """With --force: take away what an earlier run left, and nothing else."""
    for name in ("last.ckpt", "best.safetensors", "best.json", "last.safetensors", "last.json", "metrics.csv"):
        (out / name).unlink(missing_ok=True)


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
