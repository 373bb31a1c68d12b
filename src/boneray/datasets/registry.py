"""Registered data sets: how to read one as its owners publish it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from boneray.core.registry import Registry


@dataclass(frozen=True)
class Pair:
    """One CT with its labels, as found on disk.

    Attributes:
        case_id, patient_id: unique names; cases of one patient share the second.
        bones: bone name by label id in the file; other ids are ignored.
    """

    case_id: str
    patient_id: str
    ct: Path
    labels: Path
    bones: dict[int, str]


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    Attributes:
        pairs: finds its CT-label pairs below a folder, given an optional label map by name or text.
        write_miniature: writes a tiny fake in the same layout, for tests and examples.
    """

    pairs: Callable[[Path, str | None], Iterator[Pair]]
    write_miniature: Callable[[Path], None]
    licence: str


DATASETS: Registry[DatasetSpec] = Registry("data set", "boneray.datasets", "boneray.datasets")
