"""The command that compares models: benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Json
from boneray.cli.output import nothing, progress, say, show_json, show_table

SHOWN = ("model", "parameters", "gflop", "step_s", "dice", "dice_low", "dice_high", "nsd", "hd95_mm", "seeds")


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(benchmark)


def benchmark(
    config: Annotated[Path, typer.Argument(help="YAML: data sets, models, seeds, training.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on; cells that are finished are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. cases_seen=50.")] = None,
    as_json: Json = False,
) -> None:
    """Train, reconstruct and evaluate every model of a study on the same cases, with cost beside accuracy.

    A cell that fails is a row with its reason, and the exit code is 1.

    Example: boneray benchmark configs/phantom-vertebra.yaml --out runs/vertebra
    """
    from boneray.benchmark.run import plan_study, run_study
    from boneray.benchmark.study import read_study

    study = read_study(config, tuple(overrides or ()))
    if dry_run:
        rows = plan_study(study, out)
        if as_json:
            show_json({"study": study.name, "cells": rows})
            return
        names = ("cell", "state", "steps", "seconds", "disk_mb", "reason")
        show_table(names, [[row[name] for name in names] for row in rows])
        minutes = sum(row["seconds"] for row in rows) / 60
        say(f"{len(rows)} cells, about {minutes:.0f} min of training steps{' by a rough rate' if _rough(rows) else ''}")
        return
    done = run_study(
        study, out, resume=resume, say=nothing if as_json else say, progress=progress("cells", len(study.cells()))
    )
    if as_json:
        show_json(done)
    else:
        show_table(SHOWN, [[row[name] for name in SHOWN] for row in done["models"] if row["dice"] is not None])
        for row in done["models"]:
            if row["reason"]:
                say(f"{row['model']}: {row['reason']}")
        say(f"tables: {out / 'models.md'}")
    raise typer.Exit(1 if done["failed"] else 0)


def _rough(rows: list[dict[str, object]]) -> bool:
    return any(row["rough"] and row["state"] == "to do" for row in rows)
