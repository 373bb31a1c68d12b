"""What a path on the command line means: a label file, a case folder, or a folder of many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boneray.core.bones import bone_name
from boneray.core.errors import DataError, InputError
from boneray.core.volume import LabelMap
from boneray.io.case_folder import DATASET_SCHEMA, case_folders
from boneray.io.files import read_json
from boneray.io.nifti import read_labels

SUFFIXES = (".nii.gz", ".nii")
MANY = 8


@dataclass(frozen=True)
class NamedLabels:
    """A label map and whether its ids are those of the table of bones."""

    labels: LabelMap
    known: bool

    def name_of(self, label_id: int) -> str:
        """Bone name of an id; `label_<id>` where the file's numbering is not known."""
        return bone_name(label_id) if self.known else f"label_{label_id}"


@dataclass(frozen=True)
class CasePair:
    """A reference and its prediction, label files or case folders; None where there is no prediction."""

    case_id: str
    reference: Path
    prediction: Path | None


@dataclass(frozen=True)
class MatchedCases:
    """What there is to compare.

    Attributes:
        pairs: by name of the case.
        without_reference: predictions that belong to no reference case.
        collection: whether two folders were matched; otherwise the one pair is what the user named.
    """

    pairs: tuple[CasePair, ...]
    without_reference: tuple[str, ...]
    collection: bool


def match_cases(reference: Path, prediction: Path) -> MatchedCases:
    """The pairs of two label maps, two case folders, or two folders of either, matched by name.

    A reference folder with a dataset.json has the cases that this lists.

    Raises:
        InputError: nothing to compare, or no prediction is called like a case.
    """
    if not is_collection(reference):
        pair = CasePair(case_name(reference), label_file(reference, "reference"), label_file(prediction, "prediction"))
        return MatchedCases((pair,), (), collection=False)
    if not prediction.exists():
        raise InputError(f"prediction {prediction} does not exist")
    if not is_collection(prediction):
        raise InputError(
            f"reference {reference} is a folder of cases, prediction {prediction} is not; give a folder of "
            "predictions called like the cases"
        )
    predictions = members(prediction)
    pairs = [CasePair(name, path, predictions.get(name)) for name, path in sorted(reference_members(reference).items())]
    left = tuple(sorted(set(predictions) - {pair.case_id for pair in pairs}))
    if not any(pair.prediction for pair in pairs):
        raise InputError(
            f"no prediction in {prediction} is called like a case of {reference} "
            f"({_few(left)} against {_few([pair.case_id for pair in pairs])})"
        )
    return MatchedCases(tuple(pairs), left, collection=True)


def read_named_labels(path: Path, names: dict[int, str] | None, what: str, *, drop_unnamed: bool = True) -> NamedLabels:
    """Labels of a NIfTI file or of a case folder.

    Ids are known to be those of the table of bones if a case.json lies beside the file; `names`
    (bone by id in the file) renumbers any other file.

    Raises:
        InputError, DataError: not there, not labels, or as `renumbered`.
    """
    file = label_file(path, what)
    labels = read_labels(file, what)
    if ids_are_known(file):
        return NamedLabels(labels, known=True)
    if names is None:
        return NamedLabels(labels, known=False)
    return NamedLabels(renumbered(labels, names, drop_unnamed=drop_unnamed, what=what), known=True)


def ids_are_known(file: Path) -> bool:
    """Whether a label file is that of a case folder, whose ids are those of the table of bones."""
    return (file.parent / "case.json").is_file()


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


def renumbered(
    labels: LabelMap, names: dict[int, str], *, drop_unnamed: bool = True, what: str = "label map"
) -> LabelMap:
    """The label map with ids of the table of bones; ids without a name become background.

    Raises:
        DataError: no id of the file has a name, or, without `drop_unnamed`, one has none.
    """
    there = np.zeros(65536, dtype=bool)
    for layer in labels.data:  # an index array is copied as 64-bit numbers; one layer of it at a time
        there[layer] = True
    ids = [number for number in np.flatnonzero(there).tolist() if number]
    unnamed = [number for number in ids if number not in names]
    if unnamed and len(unnamed) == len(ids):
        raise DataError(f"{what}: none of the ids {_few(ids)} is in the label map {sorted(names)[:MANY]}")
    if unnamed and not drop_unnamed:
        raise DataError(
            f"{what} holds id {_few(unnamed)}, which the label map {sorted(names)[:MANY]} does not name; name it, or "
            "leave such ids out with --drop-unnamed"
        )
    return labels.renumbered(names)


def is_collection(path: Path) -> bool:
    """True for a folder that holds cases or label files but is none itself."""
    return path.is_dir() and not (path / "labels.nii.gz").is_file() and not (path / "case.json").is_file()


def reference_members(folder: Path) -> dict[str, Path]:
    """Cases of a folder by name; those of its dataset.json where it is a data set."""
    dataset = folder / "dataset.json"
    if dataset.is_file() and read_json(dataset, "data set").get("schema") == DATASET_SCHEMA:
        return {path.name: path for path in case_folders(folder)}
    return members(folder)


def members(folder: Path) -> dict[str, Path]:
    """Cases of a folder by name: case folders, else label files.

    Raises:
        InputError: there is none, or two files have one name.
    """
    cases = {path.parent.name: path.parent for path in sorted(folder.glob("*/labels.nii.gz"))}
    if cases:
        return cases
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(SUFFIXES) or path.name.startswith("."):
            continue
        name = case_name(path)
        if name in cases:
            raise InputError(f"{folder} holds {cases[name].name} and {path.name}, both case {name}; remove one")
        cases[name] = path
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


def _few(items: list[int] | list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(str(item) for item in items[:MANY])
    return shown + (" ..." if len(items) > MANY else "")
