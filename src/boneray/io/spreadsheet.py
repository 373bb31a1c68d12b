"""Tables that data sets bring: CSV with any separator, and the first sheet of an .xlsx file.

An .xlsx file is a zip of XML (ECMA-376): cells point into one list of shared texts. No formula is computed; what a
cell last showed is stored beside it.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from boneray.core.errors import InputError
from boneray.io.files import require_file

MAX_BYTES = 200_000_000
_CELL = re.compile(r"([A-Z]+)\d+")


def read_table(path: Path, what: str) -> list[dict[str, str]]:
    """Rows of a .csv, .tsv or .xlsx file as texts by column name; empty cells are empty texts.

    Raises:
        InputError: not there, or no table.
    """
    require_file(path, what)
    rows = _sheet(path, what) if path.suffix.lower() == ".xlsx" else _lines(path, what)
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(f"{what} {path} is an empty table")
    names = [name.strip() for name in rows[0]]
    return [{n: c.strip() for n, c in zip(names, row + [""] * len(names), strict=False) if n} for row in rows[1:]]


def _lines(path: Path, what: str) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{what} {path} is not a text table: {str(error)[:120]}") from None
    head = text.splitlines()[0] if text.strip() else ""
    separator = max(";\t,", key=head.count)
    return list(csv.reader(io.StringIO(text), delimiter=separator))


def _sheet(path: Path, what: str) -> list[list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise InputError(
                    f"{what} {path} unpacks to more than {MAX_BYTES // 10**6} MB; this is no grading sheet"
                )
            names = archive.namelist()
            shared = _texts(archive.read("xl/sharedStrings.xml")) if "xl/sharedStrings.xml" in names else []
            first = min(name for name in names if name.startswith("xl/worksheets/sheet"))
            sheet = ElementTree.fromstring(archive.read(first))
    except (zipfile.BadZipFile, KeyError, ValueError, ElementTree.ParseError, OSError) as error:
        raise InputError(f"{what} {path} is not an .xlsx table: {str(error)[:120]}") from None
    return [_row(row, shared) for row in sheet.iter() if _tag(row) == "row"]


def _row(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: dict[int, str] = {}
    for cell in row:
        place = _CELL.match(cell.get("r", ""))
        column = _number(place[1]) if place else len(cells)
        value = next((child.text or "" for child in cell if _tag(child) == "v"), "")
        if cell.get("t") == "s" and value:
            value = shared[int(value)]
        elif cell.get("t") == "inlineStr":
            value = "".join(part.text or "" for part in cell.iter() if _tag(part) == "t")
        cells[column] = value
    return [cells.get(i, "") for i in range(max(cells, default=-1) + 1)]


def _texts(raw: bytes) -> list[str]:
    table = ElementTree.fromstring(raw)
    return ["".join(part.text or "" for part in item.iter() if _tag(part) == "t") for item in table]


def _number(letters: str) -> int:
    out = 0
    for letter in letters:
        out = 26 * out + ord(letter) - ord("A") + 1
    return out - 1


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]
