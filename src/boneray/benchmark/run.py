"""`boneray benchmark`: every cell of a study, each once, and the tables of all.

study.json       the question
data/NAME/       phantoms made for it
costs/*.json     size and step time of each model on each data set
cells/NAME/      one folder per cell, see `cell_run`
*.csv, *.md, *.tex, benchmark.json   the tables, see `study_tables`

A cell's key is the hash of its settings and its data. What has a cell.json of that key is done, so a study that was
stopped goes on, and one that grew trains only what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from boneray import __version__
from boneray.benchmark.cell_run import SCHEMA, finished, lost, run_cell_alone
from boneray.benchmark.cell_run import run_cell as run_cell_here
from boneray.benchmark.step_cost import BACKWARD, step_cost
from boneray.benchmark.study import Cell, DataSet, Study, anatomy_of, data_key, made_data, present, spec_of, task_of
from boneray.benchmark.study_tables import write_tables
from boneray.core.errors import BonerayError, InputError
from boneray.datasets.workers import run_cases
from boneray.evaluation.groups import Groups, read_groups
from boneray.evaluation.inputs import CasePair
from boneray.io.case_folder import case_folders
from boneray.io.files import json_text, prepare_output, read_json, write_json
from boneray.models.card import card_file, find_checkpoint, read_card_file
from boneray.models.cost import count, rough_step_memory_mb
from boneray.training.run import choose_accelerator

Say = Callable[[str], None]
RunCell = Callable[[Path, dict[str, Any]], dict[str, Any]]
USUAL_GFLOPS = 30.0  # of one processor core, for the plan's rough times


def run_study(
    study: Study,
    out: Path,
    *,
    resume: bool = False,
    engine: str = "local",
    workers: int = 1,
    run_cell: RunCell = run_cell_alone,
    say: Say = lambda _: None,
    progress: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> dict[str, Any]:
    """Do what is not done yet and write the tables; gives the rows of models and how many cells were run.

    Raises:
        InputError: `out` holds a study already and `resume` is not given, or data is missing.
    """
    choose_accelerator(study.device)
    study = present(study, say)
    prepare_output(out, force=resume, holds=("study.json",))
    write_json(out / "study.json", {**study.model_dump(), "versions": {"boneray": __version__}})
    folders = {data.name: made_data(data, out / "data") for data in study.data}
    keys = {name: data_key(folder) for name, folder in folders.items()}
    orders = {cell: _order(study, cell, folders, keys) for cell in study.cells()}
    costs: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, order in orders.items():
        if (cell.data, cell.model) not in costs:
            costs[cell.data, cell.model] = _cost(out, study, cell, order, say)
    wanted = [cell for cell in orders if not costs[cell.data, cell.model]["refused"]]
    found = {cell: finished(out / "cells" / cell.name, orders[cell]["key"]) for cell in wanted}
    left = [cell for cell in wanted if found[cell] is None]
    tasks = [CellTask(out / "cells" / cell.name, orders[cell], run_cell) for cell in left]
    alone = engine == "local" and workers == 1
    if not alone:  # a process of the pool is one of its own already
        tasks = [replace(task, run=run_cell if run_cell is not run_cell_alone else run_cell_here) for task in tasks]
    results = run_cases(do_cell, tasks, workers=workers, engine=engine, died=lost_cell, progress=progress)
    for cell, (_, values) in zip(left, results, strict=True):
        found[cell] = values
        say(f"{cell.name}: {values['reason'] or _told(values)}")
    finished_cells = [of_cell for cell in wanted if (of_cell := found[cell]) is not None]
    groups = _groups(study, folders, say)
    rows = write_tables(out, study, finished_cells, costs, groups)
    failed = sum(cell["status"] != "ok" for cell in finished_cells)
    return {"study": study.name, "cells": len(wanted), "run_now": len(left), "failed": failed, "models": rows}


@dataclass(frozen=True)
class CellTask:
    """One cell to be done, in whatever process."""

    folder: Path
    order: dict[str, Any]
    run: RunCell


def do_cell(task: CellTask) -> dict[str, Any]:
    """Do one cell; gives the values of its cell.json."""
    return task.run(task.folder, task.order)


def lost_cell(task: CellTask) -> dict[str, Any]:
    """The values of a cell whose process was ended from outside, twice."""
    return lost(task.folder, task.order)


def _groups(study: Study, folders: dict[str, Path], say: Say) -> dict[tuple[str, str], Groups]:
    """By data set and column the group of each test case or bone; a column that a data set lacks is left out."""
    found = {}
    for name, folder in folders.items():
        pairs = [CasePair(path.name, path, None) for path in sorted(case_folders(folder))]
        for column in study.groups:
            try:
                found[name, column] = read_groups(column, pairs)
            except InputError as error:
                say(f"{name} is not parted by {column}: {error}")
    return found


def plan_study(study: Study, out: Path) -> list[dict[str, Any]]:
    """What `run_study` would do, one row per cell, without writing: state, reason, rough seconds, memory and disk (MB).

    Seconds are those of the steps at the measured time of a step, or, where none is known yet, at
    a usual rate of operations, with the memory that its tensors take; `rough` says which.
    """
    rows = []
    study = present(study)
    folders = {data.name: data.folder or out / "data" / data.name for data in study.data}
    keys = {name: data_key(folder) if folder.is_dir() else "" for name, folder in folders.items()}
    for data in study.data:
        sizes: dict[str, dict[str, Any]] = {}
        for cell in study.cells():
            if cell.data != data.name:
                continue
            order = _order(study, cell, folders, keys)
            if cell.model not in sizes:
                sizes[cell.model] = _known_cost(out, study, data, cell, order)
            rows.append(_planned(out, cell, order, sizes[cell.model]))
    return rows


def _order(study: Study, cell: Cell, folders: dict[str, Path], keys: dict[str, str]) -> dict[str, Any]:
    """All that a cell depends on, as plain values, with the hash of it, and that of its training alone."""
    data = next(data for data in study.data if data.name == cell.data)
    method = study.method(cell.model)
    spec = spec_of(method.model)
    trained = {
        "data_name": cell.data,
        "method": method.name,
        "model": method.model,
        "seed": cell.seed,
        "fold": cell.fold,
        "checkpoint": method.checkpoint,
        "threads": study.threads,
        "device": choose_accelerator(study.device),
    }
    if method.checkpoint:
        train: dict[str, Any] = {"recipe": {}, "model": {}, "seed": cell.seed}
        what = read_card_file(card_file(find_checkpoint(method.checkpoint)))[1]
    else:
        training = study.training(method.name, anatomy_of(data), cell.seed)
        train = training.model_dump(mode="json", include={"recipe", "model", "seed"})
        what = json_text({**spec.settings.model_dump(mode="json"), **train["model"]})
    trained["train"] = train
    tests = {
        "tolerance_mm": study.tolerance_mm,
        "conditions": [condition.model_dump(mode="json") for condition in study.conditions],
        "measure": study.measure,
        "keep": study.keep,
    }
    others = study.tested_on.get(cell.data, ())
    train_key = _hash([SCHEMA, __version__, keys[cell.data], what, trained])
    key = _hash([train_key, tests, [[name, keys[name]] for name in others]])
    elsewhere = [{"name": name, "folder": str(folders[name])} for name in others]
    where = {"data": str(folders[cell.data]), "elsewhere": elsewhere}
    return {**trained, **tests, **where, "train_key": train_key, "key": key}


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json_text(values).encode()).hexdigest()


def _cost(out: Path, study: Study, cell: Cell, order: dict[str, Any], say: Say) -> dict[str, Any]:
    """The cost of a model on a data set; measured once and kept."""
    if order["checkpoint"]:
        parameters = read_json(card_file(find_checkpoint(order["checkpoint"])), "checkpoint").get("parameters")
        return {"refused": "", "parameters": parameters}
    file, key = _cost_file(out, cell), _cost_key(order)
    found = _kept_cost(file, key, study)
    if found is None:
        others = (_cost_in(other) for other in sorted(file.parent.glob("*.json")))
        same_limit = [other for other in others if other.get("limit_s") == study.most_step_s]
        found = step_cost(order, study.most_step_s, {other["step"]: other for other in same_limit if other.get("step")})
        found = {**found, "key": key, "limit_s": study.most_step_s}
        write_json(file, found)
        found = read_json(file, "cost")
        if found["refused"]:
            say(f"{cell.model} on {cell.data}: {found['refused']}")
    return found


def _cost_file(out: Path, cell: Cell) -> Path:
    return out / "costs" / f"{cell.data}-{cell.model}.json"


def _cost_key(order: dict[str, Any]) -> str:
    """Hash of what a step depends on: all of the order but seed and fold, which are those of the first cell."""
    train = {name: value for name, value in order["train"].items() if name != "seed"}
    train["recipe"] = {name: train["recipe"].get(name) for name in ("batch_size", "loss", "precision")}
    asked = [SCHEMA, __version__, order["data_name"], order["model"], train, order["threads"], order["device"]]
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


def _kept_cost(file: Path, key: str, study: Study) -> dict[str, Any] | None:
    found = _cost_in(file)
    return found if found and (found.get("key"), found.get("limit_s")) == (key, study.most_step_s) else None


def _cost_in(file: Path) -> dict[str, Any]:
    """What the file says; nothing where it is not there or was not written to its end."""
    try:
        return read_json(file, "cost") if file.is_file() else {}
    except BonerayError:
        return {}


def _known_cost(out: Path, study: Study, data: DataSet, cell: Cell, order: dict[str, Any]) -> dict[str, Any]:
    if order["checkpoint"]:
        return {"refused": "", "parameters": None, "step_s": 0.0}
    kept = _kept_cost(_cost_file(out, cell), _cost_key(order), study)
    if kept is not None:
        return kept
    try:
        cost = count(order["model"], task_of(data), order["train"]["model"])
    except BonerayError as error:
        return {"refused": str(error), "parameters": None, "step_s": None}
    batch = order["train"]["recipe"]["batch_size"]
    rough = BACKWARD * batch * cost.flop / 1e9 / USUAL_GFLOPS / order["threads"]
    found = {"refused": "", "parameters": cost.parameters, "step_s": None, "rough_s": rough}
    if spec_of(order["model"]).learns_by_gradient:
        found["step_memory_mb"] = rough_step_memory_mb(order["model"], task_of(data), order["train"]["model"], batch)
    return found


def _planned(out: Path, cell: Cell, order: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    learns = not order["checkpoint"] and spec_of(order["model"]).learns_by_gradient
    steps = order["train"]["recipe"]["steps"] if learns else 0
    step_s = cost["step_s"] if cost["step_s"] is not None else cost.get("rough_s", 0.0)
    done = finished(out / "cells" / cell.name, order["key"]) is not None
    state = "not run" if cost["refused"] else "done" if done else "to do"
    return {
        "cell": cell.name,
        "state": state,
        "reason": cost["refused"],
        "steps": steps,
        "seconds": 0.0 if state != "to do" else steps * step_s,
        "rough": cost["step_s"] is None,
        "memory_mb": cost.get("step_memory_mb"),
        "disk_mb": 4 * (cost["parameters"] or 0) / 1e6,
    }


def _told(found: dict[str, Any]) -> str:
    dice = [case["dice"] for case in found["cases"]]
    return f"Dice {sum(dice) / len(dice):.3f} over {len(dice)} cases"
