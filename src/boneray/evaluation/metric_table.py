"""A table of scores as it lies on disk: one row per case, method and, where there are several, bone."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.registry import unknown_name
from boneray.io.files import require_file

CASE_COLUMNS = ("case", "case_id", "subject", "subject_id", "subject-id")
METHOD_COLUMNS = ("method", "model", "algorithm")
MISSING = {"", "nan", "na", "n/a", "null", "none"}
NOT_OF_THE_REFERENCE = {"spurious", "absent"}


@dataclass(frozen=True)
class ScoreRow:
    """One row: what it is about, and its cells as text."""

    method: str
    case: str
    bone: str
    cells: Mapping[str, str]
    where: str

    @property
    def unit(self) -> tuple[str, str]:
        """What must be there for every method: the case and the bone."""
        return self.case, self.bone

    def number(self, column: str) -> float:
        """The cell as a number; NaN for an empty cell, for nan, na, null and none.

        Raises:
            DataError: it is something else.
        """
        text = self.cells.get(column, "").strip()
        if text.lower() in MISSING:
            return math.nan
        try:
            return float(text)
        except ValueError:
            raise DataError(
                f"{self.where}, column {column}: '{text}' is not a number; leave the cell of a missing value empty"
            ) from None


@dataclass(frozen=True)
class ScoreTable:
    """Rows of one or several files.

    Attributes:
        name: the file names, for messages.
        columns: every column that is neither case nor method.
        notes: what was left out while reading.
    """

    name: str
    rows: tuple[ScoreRow, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(dict.fromkeys(row.method for row in self.rows)))

    def require_column(self, name: str) -> str:
        """The column, or an error that names the nearest ones."""
        if name not in self.columns:
            raise InputError(f"{self.name}: {unknown_name('column', name, list(self.columns))}")
        return name

    def split(self, by: str | None) -> dict[str, tuple[ScoreRow, ...]]:
        """Rows by the value of column `by`, in order of first appearance; one task called `all` without it."""
        if by is None:
            return {"all": self.rows}
        self.require_column(by)
        out: dict[str, list[ScoreRow]] = {}
        for row in self.rows:
            value = row.cells.get(by, "").strip()
            if not value:
                raise DataError(f"{row.where}: the cell in column {by} is empty; it says to which task the row belongs")
            out.setdefault(value, []).append(row)
        return {task: tuple(rows) for task, rows in out.items()}

    def with_mm(self, columns: Sequence[str], voxel_mm: Mapping[str, float], by: str | None) -> ScoreTable:
        """The table with `<column>_mm` beside every column that is in voxels.

        Args:
            voxel_mm: edge of a voxel by task; the key `all` serves every other task.
        """
        rows = []
        for column in columns:
            self.require_column(column)
        for row in self.rows:
            task = row.cells.get(by, "").strip() if by else "all"
            edge_mm = voxel_mm.get(task, voxel_mm.get("all"))
            if edge_mm is None:
                raise ConfigError(f"no voxel size is given for '{task}'; add {task}=SIZE to --voxel-mm")
            cells = {f"{c}_mm": repr(row.number(c) * edge_mm) for c in columns}
            rows.append(ScoreRow(row.method, row.case, row.bone, {**row.cells, **cells}, row.where))
        added = tuple(f"{column}_mm" for column in columns)
        return ScoreTable(self.name, tuple(rows), self.columns + added, self.notes)


def read_score_table(
    paths: Sequence[Path], *, case_column: str | None = None, method_column: str | None = None
) -> ScoreTable:
    """Read CSV or JSON files into one table.

    A CSV has a header; its columns for case and method are found by their usual names or named
    here, a column `bone` tells the bones of a case apart. A file without a column for the method
    is one method, called like the file. A JSON file is what `boneray evaluate --json` prints, or
    an object of cases that hold numbers or an object per bone. Rows of bones that only a
    prediction has (status spurious) are left out, as they belong to no common case; a note says so.

    Raises:
        InputError: not there, not readable, or a column is missing.
        DataError: no row, or a row without case or method.
    """
    if not paths:
        raise InputError("no table is given; name a CSV or JSON file with one row per case and method")
    rows: list[ScoreRow] = []
    columns: dict[str, None] = {}
    for path in paths:
        require_file(path, "table")
        records = _json_records(path) if path.suffix.lower() == ".json" else _csv_records(path)
        for where, cells in records:
            rows.append(_row(cells, where, path, case_column, method_column))
            columns |= dict.fromkeys(cells)
    name = ", ".join(path.name for path in paths)
    if not rows:
        raise DataError(f"{name} holds no row; a table needs one row per case and method")
    kept = [row for row in rows if row.cells.get("status", "").strip() not in NOT_OF_THE_REFERENCE]
    left_out = len(rows) - len(kept)
    notes = (f"{left_out} rows of bones that the reference does not have are left out",) if left_out else ()
    keys = {_found(columns, case_column, CASE_COLUMNS), _found(columns, method_column, METHOD_COLUMNS)}
    return ScoreTable(name, tuple(kept), tuple(c for c in columns if c not in keys), notes)


def _row(cells: dict[str, str], where: str, path: Path, case_column: str | None, method_column: str | None) -> ScoreRow:
    case_key = _found(cells, case_column, CASE_COLUMNS)
    if case_key is None:
        wanted = case_column or " or ".join(CASE_COLUMNS)
        raise InputError(f"{path.name} has no column {wanted}; it has {', '.join(cells)}; name it with --case-column")
    method_key = _found(cells, method_column, METHOD_COLUMNS)
    if method_key is None and method_column:
        raise InputError(f"{path.name}: {unknown_name('column', method_column, list(cells))}")
    method = cells[method_key].strip() if method_key else path.name.split(".")[0]
    case = cells[case_key].strip()
    if not case or not method:
        raise DataError(f"{where}: the cell in column {case_key if not case else method_key} is empty")
    return ScoreRow(method, case, cells.get("bone", "").strip(), cells, where)


def _found(columns: Mapping[str, Any], wanted: str | None, usual: Sequence[str]) -> str | None:
    if wanted is not None:
        return wanted if wanted in columns else None
    return next((column for column in columns if column.strip().lower() in usual), None)


def _csv_records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            if len(set(header)) != len(header):
                raise InputError(f"{path.name} has two columns of the same name; rename one of them")
            for record in reader:
                where = f"{path.name} line {reader.line_num}"
                if None in record or None in record.values():
                    raise InputError(f"{where} has another number of cells than the header ({len(header)})")
                yield where, record
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} is not a CSV table: {error}") from None


def _json_records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path.name} holds a {type(values).__name__}; an object of cases is needed")
    cases = values.get("cases")
    if isinstance(cases, list):
        values = {str(c.get("case")): c.get("bones") for c in cases if isinstance(c, dict)}
    for case, content in values.items():
        where = f"{path.name} case {case}"
        if not isinstance(content, dict):
            raise InputError(f"{where} holds a {type(content).__name__}; an object of numbers or of bones is needed")
        if any(isinstance(value, dict) for value in content.values()):
            for bone, numbers in content.items():
                if not isinstance(numbers, dict):
                    raise InputError(f"{where} mixes bones and numbers; give one or the other")
                yield f"{where} bone {bone}", {"case": case, "bone": bone, **_texts(numbers)}
        else:
            yield where, {"case": case, "bone": "", **_texts(content)}


def _texts(numbers: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): "" if value is None else str(value) for key, value in numbers.items()}
