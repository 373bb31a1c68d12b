"""What a path on the command line means: a label file, a case folder, or a folder of many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boneray.core.bones import BONES, bone_name
from boneray.core.errors import DataError, InputError
from boneray.core.volume import LabelMap
from boneray.io.nifti import read_labels

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class NamedLabels:
    """A label map and whether its ids are those of the table of bones."""

    labels: LabelMap
    known: bool

    def name_of(self, label_id: int) -> str:
        """Bone name of an id; `label_<id>` where the file's numbering is not known."""
        return bone_name(label_id) if self.known else f"label_{label_id}"


def read_named_labels(path: Path, names: dict[int, str] | None, what: str) -> NamedLabels:
    """Labels of a NIfTI file or of a case folder.

    Ids are known to be those of the table of bones if a case.json lies beside the file; `names`
    (bone by id in the file) renumbers any other file.
    """
    file = label_file(path, what)
    labels = read_labels(file, what)
    if (file.parent / "case.json").is_file():
        return NamedLabels(labels, known=True)
    if names is None:
        return NamedLabels(labels, known=False)
    return NamedLabels(renumbered(labels, names), known=True)


def label_file(path: Path, what: str) -> Path:
    """The label file behind a file or a case folder."""
    if path.is_dir():
        if not (path / "labels.nii.gz").is_file():
            raise InputError(
                f"{what} {path} holds no labels.nii.gz; give a label map, a case folder or a folder of them"
            )
        return path / "labels.nii.gz"
    if not path.is_file():
        raise InputError(f"{what} {path} does not exist")
    return path


def renumbered(labels: LabelMap, names: dict[int, str]) -> LabelMap:
    """The label map with ids of the table of bones; ids without a name are dropped.

    Raises:
        DataError: no id of the file has a name.
    """
    table = np.zeros(65536, np.uint8)
    for number, name in names.items():
        table[number] = BONES[name].bone_id
    out = LabelMap(table[labels.data], labels.grid)
    if labels.ids and not out.ids:
        raise DataError(
            f"none of the ids {', '.join(map(str, labels.ids[:8]))} is in the label map {sorted(names)[:8]}"
        )
    return out


def matching_pairs(reference: Path, prediction: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """(case, reference, prediction) of two files or two folders; None where the prediction is missing.

    Raises:
        InputError: nothing to compare.
    """
    if not is_collection(reference):
        yield case_name(reference), reference, label_file(prediction, "prediction")
        return
    if not prediction.is_dir():
        raise InputError(f"reference {reference} is a folder of cases, prediction {prediction} is not")
    predictions = members(prediction)
    for name, path in members(reference).items():
        yield name, path, predictions.get(name)


def is_collection(path: Path) -> bool:
    """True for a folder that holds cases or label files but is none itself."""
    return path.is_dir() and not (path / "labels.nii.gz").is_file()


def members(folder: Path) -> dict[str, Path]:
    """Cases of a folder by name: case folders, else label files."""
    cases = {p.parent.name: p.parent for p in sorted(folder.glob("*/labels.nii.gz"))}
    if not cases:
        files = [p for p in sorted(folder.iterdir()) if p.name.endswith(SUFFIXES)]
        cases = {case_name(p): p for p in files}
    if not cases:
        raise InputError(f"folder {folder} holds neither case folders nor label maps (.nii.gz)")
    return cases


def case_name(path: Path) -> str:
    """A name for what lies at `path`."""
    if path.name.startswith("labels.nii"):
        return path.resolve().parent.name
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.resolve().name
