"""The command that compares models, and runs of that: benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Json
from boneray.cli.output import nothing, progress, say, show_json, show_table

COMPARED = (
    "data", "model", "tested_on", "condition", "metric", "first", "second", "change", "change_low", "change_high",
    "n_patients", "n_dropped", "reason",
)  # fmt: skip
SHOWN = ("model", "parameters", "gflop", "step_s", "dice", "dice_low", "dice_high", "nsd", "hd95_mm", "runs")


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(benchmark)


def benchmark(
    config: Annotated[Path, typer.Argument(help="YAML: data sets, models, seeds, training; or the word compare.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(help="After compare: two benchmark.json or their folders.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the study.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on; cells that are finished are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")] = False,
    engine: Annotated[str, typer.Option(help="Where cells are done: local, or ray.")] = "local",
    workers: Annotated[int, typer.Option(help="Cells at a time, each with the threads of the study.")] = 1,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="The same study at toy size on phantoms, to see whether it runs.")
    ] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. cases_seen=50.")] = None,
    as_json: Json = False,
) -> None:
    """Train, reconstruct and evaluate every model of a study on the same cases, with cost beside accuracy.

    A cell that fails is a row with its reason, and the exit code is 1. `boneray benchmark compare A B`
    says what changed between two runs, with paired intervals on the cases that both have.

    Example: boneray benchmark configs/phantom-vertebra.yaml --out runs/vertebra
    """
    if str(config) == "compare":
        _compare(runs or [], as_json=as_json)
        return
    from boneray.benchmark.miniature import miniature_of
    from boneray.benchmark.run import plan_study, run_study
    from boneray.benchmark.study import read_study
    from boneray.core.errors import ConfigError

    if out is None or runs:
        raise ConfigError("a study needs one YAML and --out FOLDER; `boneray benchmark compare A B` compares two runs")
    study = read_study(config, tuple(overrides or ()))
    if miniature:
        study = miniature_of(study)
    if dry_run:
        rows = plan_study(study, out)
        if as_json:
            show_json({"study": study.name, "cells": rows})
            return
        names = ("cell", "state", "steps", "seconds", "memory_mb", "disk_mb", "reason")
        show_table(names, [[row[name] for name in names] for row in rows])
        minutes = sum(row["seconds"] for row in rows) / 60
        say(f"{len(rows)} cells, about {minutes:.0f} min of training steps{' by a rough rate' if _rough(rows) else ''}")
        return
    done = run_study(
        study,
        out,
        resume=resume,
        engine=engine,
        workers=workers,
        say=nothing if as_json else say,
        progress=progress("cells"),
    )
    from boneray.report.benchmark_page import write_benchmark_page

    page = write_benchmark_page(out)
    if as_json:
        show_json(done)
    else:
        show_table(SHOWN, [[row[name] for name in SHOWN] for row in done["models"] if row["dice"] is not None])
        for row in done["models"]:
            if row["reason"]:
                say(f"{row['model']}: {row['reason']}")
        say(f"tables: {out / 'models.md'}; figures: {page}")
    raise typer.Exit(1 if done["failed"] else 0)


def _compare(runs: list[Path], *, as_json: bool) -> None:
    from boneray.benchmark.compare_runs import compare_runs
    from boneray.core.errors import ConfigError

    if len(runs) != 2:
        raise ConfigError(f"compare takes two runs, {len(runs)} given: boneray benchmark compare A B")
    rows = compare_runs(runs[0], runs[1])
    if as_json:
        show_json({"first": str(runs[0]), "second": str(runs[1]), "rows": rows})
        return
    show_table(COMPARED, [[row[name] for name in COMPARED] for row in rows])


def _rough(rows: list[dict[str, object]]) -> bool:
    return any(row["rough"] and row["state"] == "to do" for row in rows)
