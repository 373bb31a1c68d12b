"""How commands speak: plain lines or JSON on stdout, progress on stderr and only in a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import typer

T = TypeVar("T")


def say(line: str) -> None:
    """One line for a person, on stderr, so that stdout stays for results."""
    typer.echo(line, err=True)


def nothing(_: str) -> None:
    """Say nothing."""


def show_json(values: Any) -> None:
    """A result for a machine, on stdout."""
    from boneray.io.files import json_text

    typer.echo(json_text(values), nl=False)


def progress(label: str, total: int | None = None) -> Callable[[Iterator[T]], Iterator[T]]:
    """A progress bar around an iterator; quiet outside a terminal."""

    def around(items: Iterator[T]) -> Iterator[T]:
        if not sys.stderr.isatty():
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)

    return around


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for a person: aligned plain text."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """`count` numbers separated by commas."""
    from boneray.core.errors import ConfigError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise ConfigError(f"{what} '{text}' must be {count} numbers separated by commas")
    return values


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return value if isinstance(value, str) else json.dumps(value)
