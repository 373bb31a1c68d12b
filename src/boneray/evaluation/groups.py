"""Groups of cases or bones (level, shape, severity, site ...), from a table or from the case folders."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boneray.core.bones import bone_side
from boneray.core.errors import BonerayError, DataError, InputError
from boneray.core.registry import unknown_name
from boneray.evaluation.cases import CaseScores
from boneray.evaluation.inputs import CasePair
from boneray.evaluation.metric_table import CASE_COLUMNS
from boneray.io.case_folder import read_description
from boneray.io.files import require_file
from boneray.metrics.registry import METRICS

ALL, UNKNOWN = "all", "unknown"
OF_A_BONE: dict[str, Callable[[str], str]] = {"bone": str, "side": bone_side}
OWN_COLUMNS = {"case", "method", "status", "reason", "notes"}


@dataclass(frozen=True)
class Groups:
    """Which group each case or bone belongs to.

    Attributes:
        column: what the groups are by; empty without groups.
        of_case: group by case.
        of_bone: group by case and bone; a bone that it lacks has the group of its case.
        by_bone: whether the bones of one case can be in several groups.
        built_in: the groups follow from the name of the bone alone.
    """

    column: str = ""
    of_case: Mapping[str, str] = field(default_factory=dict)
    of_bone: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_bone: bool = False
    built_in: bool = False

    def group(self, case_id: str, bone: str = "") -> str:
        """Name of the group; `unknown` where nothing says it."""
        if self.built_in:
            return OF_A_BONE[self.column](bone) if bone else UNKNOWN
        return self.of_bone.get((case_id, bone)) or self.of_case.get(case_id) or UNKNOWN

    def cell(self, case_id: str, bone: str = "") -> dict[str, str]:
        """The group as a column of a table; nothing without groups, or where the table has the column anyway."""
        return {} if self.column in ("", "bone") else {self.column: self.group(case_id, bone)}

    def split(self, scores: Sequence[CaseScores]) -> dict[str, list[CaseScores]]:
        """The cases by group, in the order of the names (bones as they appear); a case of several is cut into parts."""
        out: dict[str, list[CaseScores]] = {}
        for case in scores if self.column else ():
            parts: dict[str, list[Any]] = {}
            for bone in case.bones:
                parts.setdefault(self.group(case.case_id, bone.bone), []).append(bone)
            for name, bones in parts.items():
                out.setdefault(name, []).append(replace(case, bones=tuple(bones)))
        return out if self.built_in else dict(sorted(out.items(), key=lambda item: (item[0] == UNKNOWN, item[0])))

    def warnings(self, scores: Sequence[CaseScores]) -> list[str]:
        """A line if some bone is in no group."""
        without = [case.case_id for case in self.split(scores).get(UNKNOWN, [])]
        if not without:
            return []
        return [f"{self.column} of bones of {len(without)} cases is unknown, the first is {without[0]}"]


NO_GROUPS = Groups()
BY_BONE = Groups("bone", by_bone=True, built_in=True)


def read_groups(column: str, pairs: Sequence[CasePair], metadata: Path | None = None) -> Groups:
    """The groups of column `column`.

    Args:
        column: of the table `metadata`; without that `bone`, `side`, or an entry of the
            reference's case.json or of its provenance.
        metadata: CSV with a column for the case and, where groups are of bones, a column `bone`.
    Raises:
        InputError: no such column or entry; DataError: a case has two groups.
    """
    if column in OWN_COLUMNS or column in {entry.name for entry in METRICS}:
        raise InputError(f"'{column}' is a column of the results; group by one that says what the cases are like")
    if column == "bone" or (column in OF_A_BONE and metadata is None):
        return Groups(column, by_bone=True, built_in=True)
    if metadata is not None:
        return _from_table(column, metadata)
    return Groups(column, _from_case_folders(column, pairs))


def _from_table(column: str, path: Path) -> Groups:
    require_file(path, "metadata")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            rows = [dict(zip(header, (str(cell or "") for cell in row.values()), strict=False)) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"metadata {path} is not a CSV table: {error}") from None
    key = next((name for name in header if name.lower() in CASE_COLUMNS), None)
    if key is None:
        raise InputError(f"metadata {path} has no column {' or '.join(CASE_COLUMNS)}; it has {', '.join(header)}")
    if column not in header:
        raise InputError(f"metadata {path}: {unknown_name('column', column, header)}")
    by_bone = "bone" in header
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        unit = row[key].strip(), row["bone"].strip() if by_bone else ""
        value = row.get(column, "").strip()
        if found.setdefault(unit, value) != value:
            raise DataError(f"metadata {path}: {' '.join(filter(None, unit))} is {found[unit]} and {value}; remove one")
    of_case = {case: value for (case, bone), value in found.items() if not bone}
    return Groups(column, of_case, {unit: value for unit, value in found.items() if unit[1]}, by_bone)


def _from_case_folders(column: str, pairs: Sequence[CasePair]) -> dict[str, str]:
    found: dict[str, str] = {}
    offered: dict[str, str] = {}
    for pair in pairs:
        folder = pair.reference if pair.reference.is_dir() else pair.reference.parent
        try:
            values = read_description(folder)
        except BonerayError:
            continue  # no case folder; its labels are read later and may be in order
        entries = _entries(values)
        offered |= entries
        if column in entries:
            found[pair.case_id] = entries[column]
    if not found:
        known = [*OF_A_BONE, *sorted(offered)]
        raise InputError(f"{unknown_name('column', column, known)}; or give a table with --metadata")
    return found


def _entries(values: dict[str, Any]) -> dict[str, str]:
    """What a case.json says in a word: its own entries, its provenance's and those one level deeper."""
    provenance = values["provenance"]
    deeper = [part for part in provenance.values() if isinstance(part, dict)]
    out: dict[str, str] = {}
    for part in (*deeper, provenance, values):
        out |= {name: str(value) for name, value in part.items() if isinstance(value, str | int | bool) and str(value)}
    return {name: value for name, value in out.items() if name not in ("schema", "case_id", "frame", "key")}
