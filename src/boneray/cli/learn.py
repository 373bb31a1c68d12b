"""Commands that make checkpoints: train, pack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import nothing, say, show_json


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(train)
    app.command()(pack)


def train(
    model: Annotated[str, typer.Argument(help="A model of `boneray list models`.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of case folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    recipe: Annotated[
        str | None, typer.Option(help="A published recipe (paper, code ...), or YAML with changes to the model's own.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. recipe.steps=500.")] = None,
    init_from: Annotated[
        str | None, typer.Option("--init-from", help="Checkpoint to start from; every change of shape is told.")
    ] = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Test this fold of the data set, from 1 on.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share every batch, on this machine.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out was stopped.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a model on a folder of cases.

    Example: boneray train raylift_tiny --data data/femur --out runs/femur --set recipe.steps=2000 --set seed=1
    """
    from boneray.training.processes import run_together, this_process
    from boneray.training.run import train as run

    if processes > 1 and this_process().count == 1:
        raise typer.Exit(run_together(["-m", "boneray.cli.app", *sys.argv[1:]], processes))
    result = run(
        model,
        data=data,
        out=out,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        init_from=init_from,
        fold=fold,
        resume=resume,
        force=force,
        device=device,
        say=nothing if as_json else say,
    )
    show_json(result) if as_json else say(f"best checkpoint: {out / result['result']['checkpoint']}")


def pack(
    run: Annotated[Path, typer.Argument(help="Run folder; its best checkpoint is packed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .safetensors; its JSON comes beside it.")],
    force: Force = False,
) -> None:
    """Pack a run's best checkpoint for sharing: 16-bit weights, half the size, no optimiser state.

    Example: boneray pack runs/femur --out femur.safetensors
    """
    from boneray.models.checkpoint import pack_checkpoint

    say(f"checkpoint: {pack_checkpoint(run, out, force=force)}")
