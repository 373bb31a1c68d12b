"""The command that fetches a public data set: download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from boneray.cli.data import Json
from boneray.cli.output import say, show_json

CHECKED = {"stated": "as its owners state", "earlier": "as fetched before", "none": "no checksum is published"}


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(download)


def download(
    dataset: Annotated[str, typer.Argument(help="One of `boneray list datasets`.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to fetch into; else only say how.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the data set's licence and accept it.")
    ] = False,
    unpack: Annotated[bool, typer.Option(help="Unpack archives into the folder.")] = True,
    as_json: Json = False,
) -> None:
    """Fetch a data set from its owners, or say what to fetch where a login is needed.

    What is there is kept, what broke off goes on. Example: boneray download verse19 --out RAW --accept-licence
    """
    from boneray.datasets.download import download as fetch
    from boneray.datasets.download import planned

    plan = planned(dataset)
    for line in (*plan.notes, f"licence: {plan.licence}", f"cite: {plan.citation}", f"from: {plan.url}"):
        say(line)
    by_hand = plan.source.by_hand.format(out=out or "OUT")
    result: dict[str, Any] = {"files": [], "unpacked": [], "by_hand": by_hand}
    if out is not None and (plan.source.record or plan.source.files):
        result = fetch(plan, out, accept_licence=accept_licence, unpack=unpack, progress=_progress())
    if as_json:
        show_json({"data_set": plan.name, "licence": plan.licence, **result})
        return
    for row in result["files"]:
        say(f"{row['name']}: {row['bytes']} bytes, sha256 {row['sha256']} ({CHECKED[row['checksum']]})")
    if result["unpacked"]:
        say(f"{len(result['unpacked'])} files unpacked into {out}")
    if by_hand:
        say(by_hand)
    elif out is None:
        say("give --out FOLDER --accept-licence to fetch it")


def _progress() -> Any:
    """Megabytes as they come; quiet outside a terminal."""

    def show(name: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            of = f" of {total / 1e6:.0f}" if total else ""
            typer.echo(f"\r{name}: {done / 1e6:.0f}{of} MB ", err=True, nl=done == total)

    return show
