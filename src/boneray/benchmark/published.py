"""The numbers that the papers print, with where they stand and why they may not be compared with ours.

`published.json` holds them as printed; a cell whose text did not survive is null, never guessed.
Names of values say what was computed, where that differs from what the paper calls it
(`hd95_voxels`, `..._as_printed`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name

SCHEMA = "boneray/published/1"


@dataclass(frozen=True)
class PublishedRow:
    """One row of a printed table.

    Attributes:
        paper, table: such as `swin-x2s`, `Table 2`.
        page: of the paper, None where the text at hand has no page numbers.
        data, model: boneray's names; `condition` what else the row says.
        values: by name, None where nothing survives; `sd` the spread printed beside.
        protocol: how the paper measured; `differs` why ours may not agree.
    """

    paper: str
    table: str
    page: int | None
    data: str
    model: str
    condition: str
    values: dict[str, float | None]
    protocol: str
    differs: str
    sd: dict[str, float | None] = field(default_factory=dict)


def published(paper: str = "", table: str = "", data: str = "", model: str = "") -> list[PublishedRow]:
    """The printed rows that fit every name that is given.

    Raises:
        ConfigError: no row has such a name.
    """
    rows = list(_rows())
    for what, name in (("paper", paper), ("table", table), ("data", data), ("model", model)):
        known = sorted({getattr(row, what) for row in rows})
        if name and name not in known:
            raise ConfigError(unknown_name(f"published {what}", name, known))
        rows = [row for row in rows if not name or getattr(row, what) == name]
    return rows


@cache
def _rows() -> tuple[PublishedRow, ...]:
    text = (files("boneray.benchmark") / "published.json").read_text("utf-8")
    values = json.loads(text)
    assert values["schema"] == SCHEMA
    return tuple(_of_tables(values["tables"]))


def _of_tables(tables: list[dict]) -> Iterator[PublishedRow]:
    for table in tables:
        for row in table["rows"]:
            yield PublishedRow(
                paper=table["paper"],
                table=table["table"],
                page=table["page"],
                data=row["data"],
                model=row["model"],
                condition=row.get("condition", ""),
                values=row["values"],
                protocol=table["protocol"],
                differs=table["differs"],
                sd=row.get("sd", {}),
            )
