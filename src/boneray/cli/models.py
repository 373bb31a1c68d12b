"""Commands about networks themselves: cost, export, maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import say, show_json, show_table


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(cost)
    app.command()(export)
    app.command()(maps)


def cost(
    model: Annotated[str, typer.Argument(help="A model of `boneray list models`.")],
    size: Annotated[str, typer.Option(help="Voxels of the grid: one number for a cube, or IxJxK.")] = "64",
    classes: Annotated[int, typer.Option(min=1, max=55, help="Bones told apart.")] = 1,
    views: Annotated[int, typer.Option(min=1, help="Radiographs.")] = 2,
    count_only: Annotated[bool, typer.Option("--count-only", help="Do not run it: no time, no memory.")] = False,
    as_json: Json = False,
) -> None:
    """What a model costs: parameters, operations (2 per multiply-add), time and memory of one case on the CPU.

    Example: boneray cost unet --size 128
    """
    from boneray.models.cost import count, measure
    from boneray.models.registry import Task

    shape = _shape(size)
    task = Task(shape, (2 * max(shape),) * 2, classes, views)
    found = (count if count_only else measure)(model, task)
    if as_json:
        show_json(found.to_dict())
        return
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("of them outside layers", f"{found.bare_parameters:,}"),
        ("operations", f"{found.flop / 1e9:,.2f} GFLOP"),
    ]
    if found.latency_s is not None and found.peak_memory_mb is not None:
        rows.append(("time", f"{found.latency_s:.3f} s on {found.threads} thread(s), median"))
        rows.append(("processor time", f"{found.cpu_s:.3f} s"))
        rows.append(("memory", f"{found.peak_memory_mb:,.0f} MB with Python and torch"))
    show_table(("cost", found.model), rows)


def export(
    checkpoint: Annotated[str, typer.Argument(help="A packaged checkpoint, a .safetensors file or a run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (a folder for monai-bundle and hf).")],
    kind: Annotated[str, typer.Option("--format", help="onnx, monai-bundle or hf.")] = "onnx",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a checkpoint in a form other programs run; it is run once and compared before it is written.

    Example: boneray export raylift_tiny-femur --out femur.onnx
    """
    from boneray.core.errors import ConfigError
    from boneray.core.registry import unknown_name
    from boneray.models.export import export_onnx
    from boneray.models.export_folders import export_bundle, export_hub

    forms = {"onnx": export_onnx, "monai-bundle": export_bundle, "hf": export_hub}
    if kind not in forms:
        raise ConfigError(unknown_name("format", kind, list(forms)))
    facts = forms[kind](checkpoint, out, force=force)
    show_json(facts) if as_json else say(
        f"{out}: scores differ by at most {facts['difference']:.1e} from the checkpoint"
    )


def maps(
    checkpoints: Annotated[list[str], typer.Argument(help="Packaged checkpoints, .safetensors files or run folders.")],
    case: Annotated[Path, typer.Option(help="Case folder whose radiographs they are shown.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the figures.")],
    channel: Annotated[int | None, typer.Option(help="Of feature maps, from 0; the mean of all if left out.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw what networks show of their inside for a case: feature maps, attention, what a module changes.

    Several checkpoints stand side by side on one scale; of two that differ in one switch alone the predictions are
    subtracted. Example: boneray maps runs/ear runs/ear-without-frequency --case cases/v01 --out maps
    """
    from boneray.report.feature_maps import write_map_figures

    found = write_map_figures(checkpoints, case, out, channel=channel, force=force)
    if as_json:
        show_json(found)
        return
    names = ("method", "map", "level", "kind", "shape", "least", "greatest")
    show_table(
        names, [["x".join(map(str, row[n])) if n == "shape" else row[n] for n in names] for row in found["maps"]]
    )
    say(f"{len(found['figures']) // 2} figures as SVG and PNG in {out}")


def _shape(size: str) -> tuple[int, int, int]:
    from boneray.core.errors import ConfigError

    parts = size.lower().split("x")
    if len(parts) not in (1, 3) or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise ConfigError(f"size '{size}' must be one number of voxels, or three as in 128x128x160")
    numbers = [int(p) for p in parts] * (3 if len(parts) == 1 else 1)
    return numbers[0], numbers[1], numbers[2]
