"""What there is to measure at a path: label maps, case folders, surfaces, or a folder of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from boneray.core.bones import bone
from boneray.core.errors import InputError
from boneray.datasets.label_maps import known_bones
from boneray.evaluation.inputs import SUFFIXES, case_name, label_file, reference_members
from boneray.io.meshes import FORMATS


@dataclass(frozen=True)
class Subject:
    """One patient: either a label map or surfaces.

    Attributes:
        labels: NIfTI file or case folder.
        meshes: file by bone.
        problem: why it cannot be measured, known before anything is read.
    """

    case_id: str
    labels: Path | None = None
    meshes: dict[str, Path] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Subjects:
    """What was found, and whether a folder of many was named (then one that fails does not stop the rest)."""

    members: tuple[Subject, ...]
    collection: bool


def find_subjects(path: Path, target: str = "", what: str = "label map") -> Subjects:
    """What lies at a path.

    A folder is one patient if it is a case folder or if its surfaces are called like bones
    (`hip_left.stl`). Otherwise it holds patients: case folders, folders of such surfaces, label
    maps, and surfaces called `CASE_BONE.stl`. Of one surface in several formats the first of
    STL, PLY, OBJ and GLB is taken.

    Args:
        target: the bone of every surface; without it file names say which bone it is.
    Raises:
        InputError: nothing there.
    """
    if is_mesh(path):
        name = bone(target or _case_and_bone(path.stem)[1] or path.stem).name
        return Subjects((Subject(path.stem, meshes={name: path}),), collection=False)
    if not path.is_dir() or (path / "labels.nii.gz").is_file() or (path / "case.json").is_file():
        label_file(path, what)
        return Subjects((Subject(case_name(path), labels=path),), collection=False)
    if (path / "dataset.json").is_file():
        found = reference_members(path)
        return Subjects(tuple(Subject(name, labels=found[name]) for name in sorted(found)), collection=True)
    bones = {} if target else _bones_of_one(path)
    if bones:
        return Subjects((Subject(case_name(path), meshes=bones),), collection=False)
    members = sorted(_members(path, target), key=lambda subject: subject.case_id)
    if not members:
        raise InputError(
            f"folder {path} holds neither case folders, label maps (.nii.gz) nor meshes (.stl, .ply, .obj)"
        )
    for first, second in pairwise(members):
        if first.case_id == second.case_id:
            raise InputError(
                f"{path} holds {_where(first)} and {_where(second)}, both case {first.case_id}; remove one"
            )
    return Subjects(tuple(members), collection=True)


def is_mesh(path: Path) -> bool:
    """True if a path is called like a surface."""
    return path.suffix.lower().lstrip(".") in FORMATS


def _members(folder: Path, target: str) -> Iterable[Subject]:
    named: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            bones = {} if target else _bones_of_one(path)
            if (path / "labels.nii.gz").is_file() or (path / "case.json").is_file():
                yield Subject(path.name, labels=path)
            elif bones:
                yield Subject(path.name, meshes=bones)
        elif path.name.endswith(SUFFIXES):
            yield Subject(case_name(path), labels=path)
    for path in _surfaces(folder):
        case, name = (path.stem, target) if target else _case_and_bone(path.stem)
        if name:
            named.setdefault(case or folder.resolve().name, {}).setdefault(name, path)
        else:
            problem = f"{path.name} names no bone; call it {path.stem}_femur_left{path.suffix}, or give --bone"
            yield Subject(path.stem, meshes={"": path}, problem=problem)
    yield from (Subject(case, meshes=bones) for case, bones in named.items())


def _bones_of_one(folder: Path) -> dict[str, Path]:
    """The surfaces of a folder by bone if every one of them is called like a bone; else none."""
    if any(path.name.endswith(SUFFIXES) for path in folder.iterdir()):
        return {}
    found: dict[str, Path] = {}
    for path in _surfaces(folder):
        if path.stem not in known_bones():
            return {}
        found.setdefault(path.stem, path)
    return found


def _surfaces(folder: Path) -> list[Path]:
    """Mesh files in the order of their formats, then of their names."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_mesh(path) and path.name[0] != "."]
    return sorted(files, key=lambda path: FORMATS.index(path.suffix.lower().lstrip(".")))


def _case_and_bone(stem: str) -> tuple[str, str]:
    """`p01_femur_left` as (`p01`, `femur_left`); empty where the name does not say."""
    for name in sorted(known_bones(), key=len, reverse=True):
        if stem == name:
            return "", name
        if stem.endswith(tuple(f"{mark}{name}" for mark in "_-. ")):
            return stem[: -len(name) - 1], name
    return stem, ""


def _where(subject: Subject) -> str:
    return subject.labels.name if subject.labels else ", ".join(path.name for path in subject.meshes.values())
