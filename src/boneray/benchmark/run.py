"""`boneray benchmark`: every cell of a study, each once, and the tables of all.

study.json       the question
data/NAME/       phantoms made for it
costs/*.json     size and step time of each model on each data set
cells/NAME/      one folder per cell, see `cell_run`
*.csv, *.md, benchmark.json   the tables, see `study_tables`

A cell's key is the hash of its settings and its data. What has a cell.json of that key is done, so a study that was
stopped goes on, and one that grew trains only what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from boneray import __version__
from boneray.benchmark.cell_run import SCHEMA, finished, run_cell_alone
from boneray.benchmark.step_cost import BACKWARD, step_cost
from boneray.benchmark.study import Cell, DataSet, Study, anatomy_of, data_key, made_data, spec_of, task_of
from boneray.benchmark.study_tables import write_tables
from boneray.core.errors import BonerayError
from boneray.io.files import json_text, prepare_output, read_json, write_json
from boneray.models.cost import count
from boneray.training.run import choose_accelerator

Say = Callable[[str], None]
RunCell = Callable[[Path, dict[str, Any]], dict[str, Any]]
USUAL_GFLOPS = 30.0  # of one processor core, for the plan's rough times


def run_study(
    study: Study,
    out: Path,
    *,
    resume: bool = False,
    run_cell: RunCell = run_cell_alone,
    say: Say = lambda _: None,
    progress: Callable[[Iterator[Cell]], Iterator[Cell]] = iter,
) -> dict[str, Any]:
    """Do what is not done yet and write the tables; gives the rows of models and how many cells were run.

    Raises:
        InputError: `out` holds a study already and `resume` is not given, or data is missing.
    """
    choose_accelerator(study.device)
    prepare_output(out, force=resume, holds=("study.json",))
    write_json(out / "study.json", {**study.model_dump(), "versions": {"boneray": __version__}})
    folders = {data.name: made_data(data, out / "data") for data in study.data}
    keys = {name: data_key(folder) for name, folder in folders.items()}
    orders = {cell: _order(study, cell, folders[cell.data], keys[cell.data]) for cell in study.cells()}
    costs: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, order in orders.items():
        if (cell.data, cell.model) not in costs:
            costs[cell.data, cell.model] = _cost(out, study, cell, order, say)
    wanted = [cell for cell in orders if not costs[cell.data, cell.model]["refused"]]
    done: list[dict[str, Any]] = []
    made = 0
    for cell in progress(iter(wanted)):
        folder = out / "cells" / cell.name
        found = finished(folder, orders[cell]["key"])
        if found is None:
            found = run_cell(folder, orders[cell])
            made += 1
            say(f"{cell.name}: {found['reason'] or _told(found)}")
        done.append(found)
    rows = write_tables(out, study, done, costs)
    failed = sum(found["status"] != "ok" for found in done)
    return {"study": study.name, "cells": len(done), "run_now": made, "failed": failed, "models": rows}


def plan_study(study: Study, out: Path) -> list[dict[str, Any]]:
    """What `run_study` would do, one row per cell, without writing: state, reason, rough seconds and disk in MB.

    Seconds are those of the steps at the measured time of a step, or, where none is known yet, at
    a usual rate of operations; `rough` says which.
    """
    rows = []
    for data in study.data:
        folder = data.folder or out / "data" / data.name
        key = data_key(folder) if (folder / "dataset.json").is_file() or data.folder else ""
        sizes: dict[str, dict[str, Any]] = {}
        for cell in study.cells():
            if cell.data != data.name:
                continue
            order = _order(study, cell, folder, key)
            if cell.model not in sizes:
                sizes[cell.model] = _known_cost(out, study, data, cell, order)
            rows.append(_planned(out, cell, order, sizes[cell.model]))
    return rows


def _order(study: Study, cell: Cell, folder: Path, key_of_data: str) -> dict[str, Any]:
    """All that a cell depends on, as plain values, with the hash of it."""
    data = next(data for data in study.data if data.name == cell.data)
    training = study.training(cell.model, anatomy_of(data), cell.seed)
    spec = spec_of(cell.model)
    train = training.model_dump(mode="json", include={"recipe", "model", "seed"})
    asked = {
        "data_name": cell.data,
        "model": cell.model,
        "seed": cell.seed,
        "fold": cell.fold,
        "train": train,
        "threads": study.threads,
        "device": choose_accelerator(study.device),
        "tolerance_mm": study.tolerance_mm,
    }
    whole = {**spec.settings.model_dump(mode="json"), **train["model"]}
    key = hashlib.sha256(json_text([SCHEMA, __version__, key_of_data, whole, asked]).encode()).hexdigest()
    return {**asked, "data": str(folder), "key": key}


def _cost(out: Path, study: Study, cell: Cell, order: dict[str, Any], say: Say) -> dict[str, Any]:
    """The cost of a model on a data set; measured once and kept."""
    file, key = _cost_file(out, cell), _cost_key(order)
    found = _kept_cost(file, key, study)
    if found is None:
        found = {"key": key, "limit_s": study.most_step_s, **step_cost(order, study.most_step_s)}
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
    train["recipe"] = {name: train["recipe"][name] for name in ("batch_size", "loss", "precision")}
    asked = [SCHEMA, __version__, order["data_name"], order["model"], train, order["threads"], order["device"]]
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


def _kept_cost(file: Path, key: str, study: Study) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        found = read_json(file, "cost")
    except BonerayError:
        return None
    return found if (found.get("key"), found.get("limit_s")) == (key, study.most_step_s) else None


def _known_cost(out: Path, study: Study, data: DataSet, cell: Cell, order: dict[str, Any]) -> dict[str, Any]:
    kept = _kept_cost(_cost_file(out, cell), _cost_key(order), study)
    if kept is not None:
        return kept
    try:
        cost = count(cell.model, task_of(data), order["train"]["model"])
    except BonerayError as error:
        return {"refused": str(error), "parameters": None, "step_s": None}
    batch = order["train"]["recipe"]["batch_size"]
    rough = BACKWARD * batch * cost.flop / 1e9 / USUAL_GFLOPS / order["threads"]
    return {"refused": "", "parameters": cost.parameters, "step_s": None, "rough_s": rough}


def _planned(out: Path, cell: Cell, order: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    learns = spec_of(cell.model).learns_by_gradient
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
