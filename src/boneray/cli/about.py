"""Commands that say what there is and whether it works: list, doctor, version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boneray.cli.data import Json
from boneray.cli.output import show_json, show_table

KINDS = {
    "anatomies": ("boneray.anatomy.registry", "ANATOMIES"),
    "beams": ("boneray.projection.spectrum", "BEAMS"),
    "datasets": ("boneray.datasets.registry", "DATASETS"),
    "greys": ("boneray.projection.presets", "GREYS"),
    "losses": ("boneray.losses.registry", "LOSSES"),
    "measurements": ("boneray.morphometry.registry", "MEASUREMENTS"),
    "metrics": ("boneray.metrics.registry", "METRICS"),
    "models": ("boneray.models.registry", "MODELS"),
    "phantoms": ("boneray.phantom.registry", "PHANTOMS"),
    "presets": ("boneray.projection.presets", "PRESETS"),
}


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("list")(list_things)
    app.command()(doctor)
    app.command("version")(show_version)


def list_things(
    kind: Annotated[
        str,
        typer.Argument(
            help="models, datasets, metrics, measurements, anatomies, losses, phantoms, presets, beams, greys "
            "or checkpoints."
        ),
    ],
    as_json: Json = False,
) -> None:
    """List what is registered, also by other packages.

    Example: boneray list models --json
    """
    rows = _checkpoints() if kind == "checkpoints" else _registered(kind)
    if as_json:
        show_json(rows)
        return
    show_table(("name", "summary"), [(row["name"], row["summary"]) for row in rows])


def doctor(as_json: Json = False) -> None:
    """Look for what is wrong with this environment; exit code 1 if something is broken.

    Example: boneray doctor
    """
    from boneray.cli.environment import checks
    from boneray.report.viewer import FOLDER

    found = checks(FOLDER / "niivue.umd.js")
    if as_json:
        show_json([vars(check) for check in found])
    else:
        show_table(("check", "status", "detail"), [(c.check, c.status, c.detail) for c in found])
    raise typer.Exit(1 if any(c.status == "broken" for c in found) else 0)


def show_version() -> None:
    """Print the version."""
    from boneray import __version__

    typer.echo(__version__)


def _registered(kind: str) -> list[dict[str, Any]]:
    import importlib

    from boneray.core.errors import ConfigError
    from boneray.core.registry import unknown_name

    if kind not in KINDS:
        raise ConfigError(unknown_name("kind", kind, [*KINDS, "checkpoints"]))
    module, name = KINDS[kind]
    registry = getattr(importlib.import_module(module), name)
    return [{"name": entry.name, "summary": entry.summary, **entry.facts} for entry in registry]


def _checkpoints() -> list[dict[str, Any]]:
    from boneray.models.card import read_card
    from boneray.models.checkpoint_names import packaged_checkpoints

    cards = {name: read_card(name) for name in packaged_checkpoints()}
    return [
        {"name": name, "summary": f"{card.model} for {card.anatomy}", "anatomy": card.anatomy, "model": card.model}
        for name, card in cards.items()
    ]
