"""Commands that make checkpoints: train, pack."""

from __future__ import annotations

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
    recipe: Annotated[Path | None, typer.Option(help="YAML with settings that differ from the model's recipe.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. recipe.steps=500.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out was stopped.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a model on a folder of cases.

    Example: boneray train raylift_tiny --data data/femur --out runs/femur --set recipe.steps=2000 --set seed=1
    """
    from boneray.training.run import train as run

    result = run(
        model,
        data=data,
        out=out,
        recipe=recipe,
        overrides=tuple(overrides or ()),
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
