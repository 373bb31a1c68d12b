"""What a study asks: which models, on which cases, with which seeds and folds; and the cells that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.config import Settings, load_settings
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.datasets.phantom import write_phantoms
from boneray.datasets.splits import split_by_patient, write_splits
from boneray.io.case_folder import case_folders, read_description
from boneray.io.files import json_text, safe_name
from boneray.models.registry import MODELS, ModelSpec, Task
from boneray.training.plan import TrainSettings


class Phantoms(Settings):
    """Patients that are made for the study: see `boneray phantom`."""

    anatomy: str
    cases: int = Field(ge=3)
    seed: int = 0
    voxels: int | None = None
    pixels: int = 256
    deformity: str = "none"


class DataSet(Settings):
    """Cases under a name: a folder of case folders with its own split, or phantoms.

    `validation` and `test`: patients of phantoms that are held out.
    """

    name: str
    folder: Path | None = None
    phantom: Phantoms | None = None
    validation: int = Field(4, ge=1)
    test: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataSet:
        if (self.folder is None) == (self.phantom is None):
            raise ValueError("a data set is either a folder or a phantom")
        safe_name(self.name, "data set")
        return self


class Study(Settings):
    """A grid of data sets x models x folds x seeds.

    `models`: names, empty for every registered one that gives labels; `published`: name of the
    published recipe to train by where a model has it; `recipe`: values that hold for every model;
    `settings`: those of single networks, by model; `cases_seen`, `batch_size`: the same for every
    model, null for those of its recipe; `most_step_s`: models whose training step takes longer on
    the CPU are listed and not run; `threads`: of torch; `folds`: empty for the data set's one
    split; `note`: words under the table, for what a reader must know of the study.
    """

    name: str
    data: tuple[DataSet, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    folds: tuple[int, ...] = ()
    published: str = ""
    recipe: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    cases_seen: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    most_step_s: float | None = Field(1.0, gt=0)
    threads: int = Field(1, ge=1)
    device: str = "auto"
    tolerance_mm: float = Field(2.0, gt=0)
    note: str = ""

    def names(self) -> list[str]:
        """The models by their registered names; those that give no labels are refused or left out."""
        if self.models:
            return [_gives_labels(name) for name in self.models]
        return [entry.name for entry in MODELS if entry.value.learns == "labels"]

    def cells(self) -> list[Cell]:
        """All cells in the order of the tables. What is not learnt by gradient needs one seed."""
        names = self.names()
        return [
            Cell(data.name, model, seed, fold)
            for data in self.data
            for model in names
            for fold in self.folds or (None,)
            for seed in (self.seeds if spec_of(model).learns_by_gradient else self.seeds[:1])
        ]

    def training(self, model: str, anatomy: str, seed: int) -> TrainSettings:
        """How a model is trained.

        Raises:
            ConfigError: a setting that a recipe or the network does not have.
        """
        spec = spec_of(model)
        recipe, settings = spec.recipe.model_dump(), dict(self.settings.get(model, {}))
        if self.published and self.published in spec.recipes:
            named = spec.named_recipe(self.published)
            recipe, settings = named.for_anatomy(anatomy).model_dump(), {**named.settings, **settings}
        recipe |= self.recipe
        if self.batch_size is not None:
            recipe["batch_size"] = self.batch_size
        if self.cases_seen is not None:
            recipe |= {"steps": max(1, self.cases_seen // recipe["batch_size"]), "epochs": None}
        load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings})
        return load_settings(TrainSettings, base={"recipe": recipe, "model": settings, "seed": seed})


@dataclass(frozen=True)
class Cell:
    """One training and what comes of it; `fold` is None for the data set's one split."""

    data: str
    model: str
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{self.data}-{self.model}{fold}-seed{self.seed}"


def read_study(file: Path, overrides: tuple[str, ...] = ()) -> Study:
    """A study from YAML; an unknown setting, model or recipe value is an error of one line."""
    study = load_settings(Study, file=file, overrides=overrides)
    names = [data.name for data in study.data]
    if len(set(names)) < len(names):
        raise ConfigError(f"study {study.name}: two data sets are called {max(names, key=names.count)}")
    for model in (*study.names(), *study.settings):
        for data in study.data:
            study.training(MODELS.get(model).name, anatomy_of(data), study.seeds[0])
    return study


def spec_of(model: str) -> ModelSpec:
    """The registered model."""
    return MODELS.get(model).value


def anatomy_of(data: DataSet) -> str:
    """What the cases show."""
    if data.phantom is not None:
        return find_anatomy(data.phantom.anatomy).name
    return str(read_description(_first_case(data))["anatomy"])


def made_data(data: DataSet, root: Path) -> Path:
    """The folder of the cases; phantoms are made below `root` once and split by patient.

    Raises:
        DataError: too few phantoms for the parts, or the folder has others.
    """
    if data.folder is not None:
        return data.folder
    assert data.phantom is not None
    made, folder = data.phantom, root / data.name
    write_phantoms(
        made.anatomy, cases=made.cases, seed=made.seed, out=folder, voxels=made.voxels, pixels=made.pixels,
        deformity=made.deformity,
    )  # fmt: skip
    patients = {case.name: case.name for case in sorted(case_folders(folder))}
    if len(patients) != made.cases:
        raise DataError(f"{folder} holds {len(patients)} cases, the study asks for {made.cases}; take another --out")
    share = 1 / len(patients)
    parts = split_by_patient(patients, seed=0, validation=data.validation * share, test=data.test * share)
    write_splits(folder / "splits.json", parts, seed=0)
    return folder


def task_of(data: DataSet) -> Task:
    """What a network is built for on these cases, also before phantoms are made."""
    if data.phantom is not None:
        kind = find_anatomy(data.phantom.anatomy)
        edge = data.phantom.voxels or kind.grid_voxels
        return Task((edge,) * 3, (2 * edge,) * 2, 1 if kind.one_bone else len(kind.bones), len(kind.views))
    values = read_description(_first_case(data))
    kind, shape = find_anatomy(values["anatomy"]), Grid.from_dict(values["grid"]).shape
    return Task(shape, (2 * max(shape),) * 2, 1 if kind.one_bone else len(kind.bones), len(values["views"]))


def data_key(folder: Path) -> str:
    """SHA-256 of the cases: every case.json, the names and sizes of the files beside it, and the splits."""
    digest = hashlib.sha256()
    for case in sorted(case_folders(folder)):
        files = sorted((file.name, file.stat().st_size) for file in case.iterdir() if file.is_file())
        digest.update(json_text([case.name, files]).encode())
        digest.update((case / "case.json").read_bytes())
    for file in _split_files(folder):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _split_files(folder: Path) -> Iterator[Path]:
    yield from (file for file in (folder / "splits.json",) if file.is_file())
    yield from sorted((folder / "folds").glob("*.json"))


def _first_case(data: DataSet) -> Path:
    assert data.folder is not None
    return case_folders(data.folder)[0]


def _gives_labels(name: str) -> str:
    entry = MODELS.get(name)
    if entry.value.learns != "labels":
        raise ConfigError(f"model {entry.name} learns {entry.value.learns}; a study compares models that learn labels")
    return entry.name
