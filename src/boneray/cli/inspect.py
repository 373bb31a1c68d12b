"""The command that looks through a folder of cases: inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import say, show_json, show_table


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(inspect)


def inspect(
    folder: Annotated[Path, typer.Argument(help="Folder of case folders, as `boneray prepare` writes it.")],
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with histograms and pictures to this file.")
    ] = None,
    thumbnails: Annotated[int, typer.Option(min=0, max=48, help="Cases pictured on the page.")] = 48,
    outlines: Annotated[bool, typer.Option("--outlines", help="Draw the bones' outlines on the pictures.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Count what a folder of cases holds: bones, grids, views, groups, splits, rejected scans.

    Exit code 1 if a case or a split file cannot be read. Example: boneray inspect data/pelvis --html pelvis.html
    """
    from boneray.io.files import require_new_file
    from boneray.report.inspection import inspect_folder, tables, write_inspection

    if html is not None:
        require_new_file(html, force=force)
    found = inspect_folder(folder)
    facts = found.to_dict()
    if html is not None:
        write_inspection(html, found, thumbnails=thumbnails, outlined=outlines)
    if as_json:
        show_json(facts)
    else:
        for table in tables(facts):
            typer.echo(f"\n{table.title}")
            show_table(table.columns, [[cell.text for cell in row] for row in table.rows])
    for problem in found.problems:
        say(problem)
    raise typer.Exit(1 if found.problems else 0)
