"""What a study asks: which models, on which cases, under which conditions; and the cells that follow from it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.benchmark.published import published
from boneray.benchmark.real_cases import join_real
from boneray.core.config import Settings, load_settings
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.registry import unknown_name
from boneray.datasets.phantom import write_phantoms
from boneray.datasets.splits import split_by_patient, write_splits
from boneray.io.case_folder import case_folders, read_description
from boneray.io.files import json_text, safe_name
from boneray.models.card import read_card
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
    views: tuple[str, ...] = ()


class DataSet(Settings):
    """Cases under a name: a folder of case folders with its own split, or phantoms.

    `anatomy`, `views`: what a folder shows, for a plan before the folder is there. `validation` and
    `test`: patients of phantoms that are held out. `printed_as`: name of the data set in the table
    of published numbers, `printed_condition` what its row says beside.
    `optional`: a folder that is not there is left out with a line, not an error.
    `real`: folders of real cases that join the phantoms, each trained on in every fold but the one
    of `real_folds` that tests its patient (see `join_real`); those that are not there are left out
    with a line.
    `only_tested`: nothing is trained on it, it is there for `Study.tested_on`.
    """

    name: str
    folder: Path | None = None
    phantom: Phantoms | None = None
    anatomy: str = ""
    views: tuple[str, ...] = ()
    printed_as: str = ""
    printed_condition: str = ""
    optional: bool = False
    only_tested: bool = False
    real: tuple[Path, ...] = ()
    real_folds: int = Field(2, ge=2)
    validation: int = Field(4, ge=1)
    test: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataSet:
        if (self.folder is None) == (self.phantom is None):
            raise ValueError("a data set is either a folder or a phantom")
        if self.real and self.phantom is None:
            raise ValueError("real cases join phantoms; a folder of cases has its own")
        safe_name(self.name, "data set")
        return self


class Variant(Settings):
    """One change of an ablation: settings of the network and values of the recipe under a name.

    `models`: those it is made for, empty for all of the study; `printed_as`: the condition that
    the paper's row has.
    """

    name: str
    models: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    published: str | None = None
    printed_as: str = ""


class Condition(Settings):
    """How the radiographs of the test cases are taken, when not as they were stored.

    `turn_deg`: by how much view `view` is turned about the patient's long axis; `told`: whether
    the network gets the camera that took the picture, or the one it should have been; `views`:
    other views than the stored ones, for networks that take any. What a condition changes is
    rendered anew from the CT, so cases without one cannot be tested under it.
    """

    name: str
    turn_deg: float = 0.0
    view: str = "lat"
    told: bool = True
    views: tuple[str, ...] = ()


class Printed(Settings):
    """Which published rows stand beside the study's: those of a paper's table (see `boneray published`).

    `metrics`: by name of ours the published value; `same_protocol`: whether the two may be
    compared; if not, `why` says what differs beside what the paper's row says itself.
    """

    paper: str
    table: str
    metrics: dict[str, str] = Field(default_factory=lambda: {"dice": "dice"})
    same_protocol: bool = False
    why: str = ""


class Study(Settings):
    """A grid of data sets x models (and their variants) x folds x seeds.

    `models`: names, empty for every registered one that gives labels; `published`: name of the
    published recipe to train by where a model has it; `recipe`: values that hold for every model;
    `settings`: those of single networks, by model; `cases_seen`, `batch_size`: the same for every
    model, null for those of its recipe; `most_step_s`: models whose training step takes longer on
    the CPU are listed and not run; `threads`: of torch; `folds`: empty for the data set's one
    split; `note`: words under the table, for what a reader must know of the study.
    `variants`: an ablation: each is a model of its own in the tables, beside the plain one unless
    `plain` is false. `checkpoints`: by name a checkpoint that is tested as it is, on the data sets
    of its anatomy. `conditions`: see `Condition`, tested beside the stored radiographs.
    `tested_on`: by name of a data set the others that its models are tested on as well.
    `groups`: entries of the cases (level, deformity, side, bone ...) by which scores are parted.
    `measure`: clinical measurements of predictions and references. `keep`: whether predictions
    stay in the folder of the study, for its pictures.
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
    variants: tuple[Variant, ...] = ()
    plain: bool = True
    checkpoints: dict[str, str] = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    tested_on: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    groups: tuple[str, ...] = ()
    measure: bool = False
    keep: bool = True
    printed: tuple[Printed, ...] = ()

    def names(self) -> list[str]:
        """The models by their registered names; without a list those that learn labels."""
        if self.models:
            return [_gives_bones(name) for name in self.models]
        return [entry.name for entry in MODELS if entry.value.learns == "labels"]

    def methods(self) -> list[Method]:
        """What is compared, in the order of the tables: models, their variants, given checkpoints."""
        found = []
        for model in [] if self.only_checkpoints else self.names():
            if self.plain or not self.variants:
                found.append(Method(model, model))
            found += [
                Method(f"{model}-{variant.name}", model, variant)
                for variant in self.variants
                if not variant.models or model in [MODELS.get(name).name for name in variant.models]
            ]
        return found + [Method(name, read_card(file).model, None, file) for name, file in self.checkpoints.items()]

    @property
    def only_checkpoints(self) -> bool:
        """Whether nothing is trained: checkpoints are given and no model is named."""
        return bool(self.checkpoints) and not self.models

    def method(self, name: str) -> Method:
        """The method that the tables call so."""
        return next(method for method in self.methods() if method.name == name)

    def trained_on(self) -> list[DataSet]:
        """The data sets that models are trained on."""
        return [data for data in self.data if not data.only_tested]

    def cells(self) -> list[Cell]:
        """All cells in the order of the tables. What is not learnt by gradient needs one seed."""
        methods = self.methods()
        return [
            Cell(data.name, method.name, seed, fold)
            for data in self.trained_on()
            for method in methods
            if not method.checkpoint or read_card(method.checkpoint).anatomy == anatomy_of(data)
            for fold in (self.folds or (None,) if not method.checkpoint else (None,))
            for seed in (self.seeds if method.needs_seeds else self.seeds[:1])
        ]

    def training(self, name: str, anatomy: str, seed: int) -> TrainSettings:
        """How a method is trained; a checkpoint's are not asked for.

        Raises:
            ConfigError: a setting that a recipe or the network does not have.
        """
        method = self.method(name)
        model, variant = method.model, method.variant or Variant(name="")
        spec = spec_of(model)
        recipe, settings = spec.recipe.model_dump(), dict(self.settings.get(model, {}))
        published = self.published if variant.published is None else variant.published
        if published and published in spec.recipes:
            named = spec.named_recipe(published)
            recipe, settings = named.for_anatomy(anatomy).model_dump(), {**named.settings, **settings}
        recipe |= self.recipe | variant.recipe
        if self.batch_size is not None:
            recipe["batch_size"] = self.batch_size
        if self.cases_seen is not None:
            recipe |= {"steps": max(1, self.cases_seen // recipe["batch_size"]), "epochs": None}
        settings |= variant.settings
        load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings})
        return load_settings(TrainSettings, base={"recipe": recipe, "model": settings, "seed": seed})


@dataclass(frozen=True)
class Method:
    """One line of the tables.

    Attributes:
        name: what the tables call it.
        model: the registered model.
        variant: what is changed, None for the model as it is.
        checkpoint: name or file of what is tested as it is; empty for what is trained.
    """

    name: str
    model: str
    variant: Variant | None = None
    checkpoint: str = ""

    @property
    def needs_seeds(self) -> bool:
        """Whether another seed gives another result."""
        return not self.checkpoint and spec_of(self.model).learns_by_gradient


@dataclass(frozen=True)
class Cell:
    """One training and what comes of it; `model` is a method's name, `fold` None for the data set's one split."""

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
    for source, others in study.tested_on.items():
        for name in (source, *others):
            if name not in names:
                raise ConfigError(f"study {study.name}: {unknown_name('data set', name, names)}")
    methods = [method.name for method in study.methods()]
    for name in methods:
        safe_name(name, "method")
        if methods.count(name) > 1:
            raise ConfigError(f"study {study.name}: two methods are called {name}")
    for model, settings in study.settings.items():
        spec = spec_of(model)
        load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings})
    for method in study.methods():
        for data in study.trained_on() if not method.checkpoint else ():
            study.training(method.name, anatomy_of(data), study.seeds[0])
    _published_rows_exist(study)
    return study


def spec_of(model: str) -> ModelSpec:
    """The registered model."""
    return MODELS.get(model).value


def anatomy_of(data: DataSet) -> str:
    """What the cases show."""
    if data.phantom is not None:
        return find_anatomy(data.phantom.anatomy).name
    if data.anatomy:
        return find_anatomy(data.anatomy).name
    return str(read_description(_first_case(data))["anatomy"])


def present(study: Study, say: Callable[[str], None] = lambda _: None) -> Study:
    """The study without the optional data sets that are not there."""
    gone = [data.name for data in study.data if data.optional and data.folder is not None and not data.folder.is_dir()]
    for name in gone:
        say(f"data set {name} is not there, and optional: left out")
    kept = tuple(_with_present_cases(data, say) for data in study.data if data.name not in gone)
    tested = {
        source: tuple(name for name in others if name not in gone)
        for source, others in study.tested_on.items()
        if source not in gone
    }
    return study.model_copy(update={"data": kept, "tested_on": tested})


def _with_present_cases(data: DataSet, say: Callable[[str], None]) -> DataSet:
    gone = [folder for folder in data.real if not folder.is_dir()]
    for folder in gone:
        say(f"real cases {folder} of {data.name} are not there: left out")
    return data.model_copy(update={"real": tuple(folder for folder in data.real if folder not in gone)})


def made_data(data: DataSet, root: Path) -> Path:
    """The folder of the cases; phantoms are made below `root` once and split by patient, and real cases join them.

    Raises:
        DataError: too few phantoms for the parts, or the folder has others.
    """
    if data.folder is not None:
        return data.folder
    assert data.phantom is not None
    made, folder = data.phantom, root / data.name
    write_phantoms(
        made.anatomy, cases=made.cases, seed=made.seed, out=folder, voxels=made.voxels, pixels=made.pixels,
        deformity=made.deformity, views=made.views,
    )  # fmt: skip
    patients = {case.name: case.name for case in sorted(case_folders(folder))}
    if len(patients) != made.cases:
        raise DataError(f"{folder} holds {len(patients)} cases, the study asks for {made.cases}; take another --out")
    share = 1 / len(patients)
    parts = split_by_patient(patients, seed=0, validation=data.validation * share, test=data.test * share)
    write_splits(folder / "splits.json", parts, seed=0)
    shutil.rmtree(folder / "folds", ignore_errors=True)
    if data.real:
        join_real(folder, data.real, folds=data.real_folds)
    return folder


def task_of(data: DataSet) -> Task:
    """What a network is built for on these cases, also before phantoms are made."""
    if data.phantom is not None:
        kind = find_anatomy(data.phantom.anatomy)
        edge = data.phantom.voxels or kind.grid_voxels
        views = data.phantom.views or kind.views
        return Task((edge,) * 3, (2 * edge,) * 2, 1 if kind.one_bone else len(kind.bones), len(views))
    if data.anatomy and not (data.folder and data.folder.is_dir()):
        kind = find_anatomy(data.anatomy)
        edge, views = kind.grid_voxels, data.views or kind.views
        return Task((edge,) * 3, (2 * edge,) * 2, 1 if kind.one_bone else len(kind.bones), len(views))
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


def _published_rows_exist(study: Study) -> None:
    """Raise ConfigError for a table that no paper has."""
    for printed in study.printed:
        published(printed.paper, printed.table)


def _gives_bones(name: str) -> str:
    entry = MODELS.get(name)
    if entry.value.learns == "depth_maps":
        raise ConfigError(
            f"model {entry.name} learns depth_maps; a study compares models that learn labels or intensities"
        )
    return entry.name
