"""The command that shows what the papers print: published."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from boneray.cli.data import Json
from boneray.cli.output import say, show_json, show_table


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(published)


def published(
    paper: Annotated[str, typer.Option(help="xrayto3d, swin-x2s, ear or 3ddx.")] = "",
    table: Annotated[str, typer.Option(help="Such as 'Table 2'.")] = "",
    data: Annotated[str, typer.Option(help="Name of a data set.")] = "",
    model: Annotated[str, typer.Option(help="Name of a model.")] = "",
    as_json: Json = False,
) -> None:
    """The numbers of the papers' tables, with what was really computed; a dash where no text survives.

    Example: boneray published --paper xrayto3d --data xrayto3d-femur
    """
    from boneray.benchmark.published import published as rows_of

    rows = rows_of(paper, table, data, model)
    if as_json:
        show_json([asdict(row) for row in rows])
        return
    for name in dict.fromkeys((row.paper, row.table) for row in rows):
        part = [row for row in rows if (row.paper, row.table) == name]
        columns = list(dict.fromkeys(key for row in part for key in row.values))
        say(f"{name[0]}, {name[1]}: {part[0].protocol}. Not as it looks: {part[0].differs}.")
        show_table(
            ("data", "model", "condition", *columns),
            [[row.data, row.model, row.condition, *(row.values.get(column) for column in columns)] for row in part],
        )
