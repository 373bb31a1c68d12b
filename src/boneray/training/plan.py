"""What a run is going to do, found out from its data before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.config import Settings
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.datasets.augmentation import copies_in, with_copies
from boneray.datasets.splits import k_fold, read_splits, split_by_patient, split_hash
from boneray.io.case_folder import case_folders, read_description
from boneray.models.checkpoint import TARGET, CheckpointCard
from boneray.models.registry import Recipe
from boneray.training.cache import cached_cases
from boneray.training.samples import TrainingCase, load_training_case

FOLDS = 5


class TrainSettings(Settings):
    """Everything that decides a training run besides its data.

    `model`: settings of the network; `views`: names in order, empty for those of the data;
    `image_shape`: pictures as the network sees them, null for twice the grid; `overfit`:
    validate on the training cases, for proofs of capacity only; `cache`: folder for a copy of the
    cases that is mapped into memory, for data sets that do not fit into it or load slowly; `fold`:
    which of the data set's folds is tested, from 1 on (see `fold_of`); `init_from`: checkpoint
    whose weights are started from.
    """

    model: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe = Recipe()
    seed: int = 0
    views: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)
    overfit: bool = False
    cache: Path | None = None
    fold: int | None = Field(None, ge=1)
    init_from: str = ""


@dataclass(frozen=True)
class Plan:
    """Case folders by id, their parts, the card of the checkpoint to be, and where cases are cached.

    `steps`: optimiser steps, which a recipe may state in epochs.
    """

    folders: dict[str, Path]
    parts: dict[str, list[str]]
    card: CheckpointCard
    cache: Path | None = None
    steps: int = 0

    def load(self, part: str) -> Sequence[TrainingCase]:
        """The cases of a part, all on the working grid: in memory, or mapped from the cache."""
        classes, views = self.card.classes, self.card.views
        if self.cache is not None:
            mapped = cached_cases(self.folders, self.parts[part], classes=classes, views=views, cache=self.cache)
            for case_id, grid in mapped.grids():
                _require_grid(case_id, grid, self.card)
            return mapped
        cases = [load_training_case(self.folders[c], classes, views) for c in self.parts[part]]
        for case in cases:
            _require_grid(case.case_id, case.grid, self.card)
        return cases


def plan(model: str, data: Path, settings: TrainSettings, *, frozen: Path | None = None) -> Plan:
    """Look at the cases below `data` and decide.

    Args:
        frozen: split file to keep to (that of a run which is resumed); otherwise the data set's
            own, otherwise a new one by patient.
    Raises:
        InputError, DataError: no cases, or cases that do not fit together.
    """
    folders = {folder.name: folder for folder in case_folders(data)}
    described = {name: read_description(folder) for name, folder in folders.items()}
    parts = _parts(data, described, settings, frozen)
    card = _card(model, settings, [described[c] for part in ("train", "validation") for c in parts[part]])
    steps = settings.recipe.steps_for(len(parts["train"]))
    facts = {
        "recipe": {**settings.recipe.model_dump(), "steps": steps},
        "seed": settings.seed,
        "data": data.name,
        "split_sha256": split_hash(parts),
    }
    return Plan(folders, parts, replace(card, training=facts), settings.cache, steps)


def fold_of(data: Path, patients: dict[str, str], fold: int) -> dict[str, list[str]]:
    """The parts of one fold: those frozen in `data`/folds, otherwise of five made from the patients alone.

    The second are the same for every seed of a run, so that runs of one fold can be compared.

    Raises:
        DataError: no such fold, or too few patients.
    """
    files = data / "folds"
    if files.is_dir():
        file = files / f"{fold}.json"
        if not file.is_file():
            known = ", ".join(sorted(found.stem for found in files.glob("*.json")))
            raise DataError(f"{files} has no fold {fold}; it holds {known}")
        return read_splits(file)
    if fold > FOLDS:
        raise DataError(f"fold {fold} does not exist: {data} has no folds of its own, and {FOLDS} are made then")
    return k_fold(patients, folds=FOLDS, seed=0)[fold - 1]


def _parts(
    data: Path, described: dict[str, dict[str, Any]], settings: TrainSettings, frozen: Path | None
) -> dict[str, list[str]]:
    if frozen is None and settings.overfit:
        return {"train": list(described), "validation": list(described), "test": []}
    file = frozen or data / "splits.json"
    copy_of = copies_in(described.values())
    patients = {name: str(values["patient_id"]) for name, values in described.items() if name not in copy_of}
    if frozen is None and settings.fold is not None:
        file, parts = data / "folds", fold_of(data, patients, settings.fold)
        if not file.is_dir():
            return with_copies(parts, copy_of)
    elif not file.is_file():
        made = split_by_patient(patients, seed=settings.seed, validation=settings.validation_share)
        return with_copies(made, copy_of)
    else:
        parts = read_splits(file, shared=settings.overfit)
    lost = sorted({c for ids in parts.values() for c in ids} - set(described))
    if lost:
        raise DataError(f"split file {file} names case {lost[0]}, which is not in {data}")
    if not (parts["train"] and parts["validation"]):
        raise DataError(f"split file {file} has no training or no validation cases; write it anew")
    return parts


def _card(model: str, settings: TrainSettings, values: list[dict[str, Any]]) -> CheckpointCard:
    """What the checkpoint will say, from the cases' own descriptions."""
    anatomies = sorted({v["anatomy"] for v in values})
    if len(anatomies) > 1:
        raise DataError(f"the cases are of several anatomies ({', '.join(anatomies)}); train on one at a time")
    kind = find_anatomy(anatomies[0])
    bare = [v["case_id"] for v in values if not v["has_labels"] or not v["grid"]]
    if bare:
        raise DataError(f"case {bare[0]} has no labels; training needs a reference for every case")
    present = {name for v in values for name in v["bones"].values()}
    classes = (TARGET,) if kind.one_bone else tuple(name for name in kind.bones if name in present)
    if not classes:
        raise DataError(f"no case holds a bone of anatomy {kind.name} ({', '.join(kind.bones[:4])} ...)")
    grid = Grid.from_dict(values[0]["grid"])
    return CheckpointCard(
        model=model,
        settings=settings.model,
        anatomy=kind.name,
        classes=classes,
        grid_shape=grid.shape,
        grid_size_mm=tuple(grid.size_mm),
        image_shape=settings.image_shape or (2 * max(grid.shape), 2 * max(grid.shape)),
        views=settings.views or tuple(view["name"] for view in values[0]["views"]),
        data_licence="; ".join(sorted({v["licence"] or "unstated" for v in values})),
    )


def _require_grid(case_id: str, grid: Grid, card: CheckpointCard) -> None:
    """All cases lie on a grid of the same shape and size, along the axes of the body."""
    sizes_agree = np.allclose(grid.size_mm, card.grid_size_mm, atol=0.1)
    if grid.shape != card.grid_shape or not sizes_agree:
        raise DataError(
            f"case {case_id} has a grid of {grid.shape} voxels and {grid.size_mm[0]:.1f} mm, the first "
            f"has {card.grid_shape} and {card.grid_size_mm[0]:.1f} mm; prepare all with the same --voxels and --size-mm"
        )
    if not np.allclose(grid.direction_matrix, np.eye(3), atol=1e-4):
        raise DataError(f"case {case_id} has an oblique grid; prepare it with `boneray prepare`")
