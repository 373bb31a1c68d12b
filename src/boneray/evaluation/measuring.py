"""`boneray measure`: clinical measurements of label maps, case folders and meshes, one or thousands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from boneray.anatomy.registry import Anatomy
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone, bone_name
from boneray.core.errors import BonerayError, ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.measurement import Measurement
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.core.workers import results, worker_count
from boneray.evaluation.inputs import read_named_labels, renumbered
from boneray.evaluation.measured_subjects import Subject, Subjects, find_subjects
from boneray.geometry.surface import bone_mesh
from boneray.io.meshes import read_mesh
from boneray.morphometry.measure import measure, measure_meshes

OK, FAILED = "ok", "failed"
Illustrate = Callable[[str, Mapping[str, Mesh], Sequence[Measurement]], Any]
Done = Iterator[tuple[int, "MeasuredCase"]]


@dataclass(frozen=True)
class MeasuringSettings:
    """How every case is measured.

    Attributes:
        anatomy: name in the table of anatomies.
        names: bone by id for a label file with its own numbering.
        target: the one bone to measure; names the bone of a mesh or of a nameless label.
        spacing_mm: edge lengths of a voxel that replace those of a wrong header.
        affine: 4x4 from voxel indices to RAS mm that replaces that of a wrong header.
    """

    anatomy: str
    names: Mapping[int, str] | None = None
    target: str = ""
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        kind = find_anatomy(self.anatomy)
        if self.target and bone(self.target).name not in kind.bones:
            raise ConfigError(f"bone {self.target} does not belong to anatomy {self.anatomy}")
        if self.spacing_mm is not None and self.affine is not None:
            raise ConfigError("spacing and affine both say how large a voxel is; give one of them")
        self.placed(Grid((1, 1, 1), (1, 1, 1), (0, 0, 0)))

    def placed(self, grid: Grid) -> Grid:
        """The grid with spacing or affine replaced where that was asked for."""
        if self.affine is not None:
            return Grid.from_affine(grid.shape, np.array(self.affine))
        if self.spacing_mm is not None:
            x, y, z = np.broadcast_to(np.array(self.spacing_mm, dtype=float), 3).tolist()
            return Grid(grid.shape, (x, y, z), grid.origin_mm, grid.direction)
        return grid

    @property
    def of_reference(self) -> MeasuringSettings:
        """The same for the reference, whose header stays as it is."""
        return replace(self, spacing_mm=None, affine=None)


@dataclass(frozen=True)
class MeasuredCase:
    """What became of one case: measurements, or `failed` and a reason."""

    case_id: str
    status: str
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The case in `boneray measure --json` of a folder."""
        found = [m.to_dict() for m in self.measurements]
        return {"case": self.case_id, "status": self.status, "reason": self.reason, "measurements": found}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MeasuredCase:
        """The case that `to_dict` wrote."""
        found = tuple(Measurement.from_dict(m) for m in values["measurements"])
        return cls(values["case"], values.get("status", OK), values.get("reason", ""), found)


@dataclass(frozen=True)
class MeasuringTask:
    """One case to be done; `illustrate` is called with its id, surfaces and measurements."""

    subject: Subject
    settings: MeasuringSettings
    illustrate: Illustrate | None = None


def measure_path(
    path: Path, anatomy: str, *, names: dict[int, str] | None = None, target: str = ""
) -> list[Measurement]:
    """Measurements of every bone of `anatomy` at `path`.

    Args:
        path: NIfTI label map, case folder, mesh, or folder of the meshes of one patient.
        names: bone by id for a label file with its own numbering.
        target: the one bone to measure; names the bone of a mesh or of a nameless label.
    Raises:
        InputError, DataError: not readable, empty, or ids that could be any bone.
    """
    found = find_subjects(path, target)
    if found.collection:
        raise ConfigError(f"{path} is a folder of several cases; name one of them")
    return list(measured(MeasuringTask(found.members[0], MeasuringSettings(anatomy, names, target))))


def measure_subjects(
    subjects: Subjects,
    settings: MeasuringSettings,
    *,
    illustrate: Illustrate | None = None,
    workers: int | None = None,
    progress: Callable[[Done], Done] = iter,
) -> list[MeasuredCase]:
    """Measurements of every subject, in their order.

    Args:
        illustrate: called in the process that measured, so it must be picklable.
        workers: processes; without it one per core, if there are enough cases.
    Raises:
        DataError: the one subject that was named cannot be measured; of several such a one is a
            case with status failed.
    """
    if not subjects.collection:
        (subject,) = subjects.members
        return [MeasuredCase(subject.case_id, OK, "", measured(MeasuringTask(subject, settings, illustrate)))]
    tasks = [MeasuringTask(subject, settings, illustrate) for subject in subjects.members]
    pool = results(measured_case, tasks, workers=worker_count(len(tasks), workers), died=died)
    done = dict(progress(pool))
    return [done[place] for place in range(len(tasks))]


def measurements_json(found: Sequence[Measurement]) -> dict[str, Any]:
    """The stable shape of `boneray measure --json` of one case."""
    return {"measurements": [m.to_dict() for m in found]}


def measured_case(task: MeasuringTask) -> MeasuredCase:
    """One case out of many; whatever is wrong with it is its reason, not an error."""
    try:
        return MeasuredCase(task.subject.case_id, OK, "", measured(task))
    except (BonerayError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    except Exception as error:  # one case out of thousands must not take the others along, whatever it is
        reason = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    return MeasuredCase(task.subject.case_id, FAILED, reason)


def died(task: MeasuringTask) -> MeasuredCase:
    """The case whose process was ended from outside."""
    return MeasuredCase(task.subject.case_id, FAILED, "its process was killed; was there enough memory?")


def measured(task: MeasuringTask) -> tuple[Measurement, ...]:
    """Read, measure and draw one case.

    Raises:
        InputError, DataError, GeometryError, ConfigError: what is wrong with it.
    """
    subject, settings = task.subject, task.settings
    if subject.problem:
        raise DataError(subject.problem)
    if subject.labels is None:
        return _of_meshes(task)
    kind = find_anatomy(settings.anatomy)
    names = None if settings.names is None else dict(settings.names)
    read = read_named_labels(subject.labels, names, "label map")
    if not read.labels.ids:
        raise DataError(f"label map {subject.labels} is empty: it holds no bone")
    labels = LabelMap(read.labels.data, settings.placed(read.labels.grid))
    called: dict[str, str] = {}
    if not read.known:
        labels, called = _named(labels, kind, subject.labels, settings.target)
    elif settings.target and bone(settings.target).bone_id not in labels.ids:
        raise DataError(f"label map {subject.labels} holds no {settings.target}")
    found = tuple(m for m in measure(labels, settings.anatomy) if not settings.target or m.bone == settings.target)
    found = tuple(replace(m, bone=called[m.bone], side="none") if m.bone in called else m for m in found)
    if task.illustrate is not None:
        wanted = (bone(settings.target).name,) if settings.target else kind.bones
        shown = [i for i in labels.ids if bone_name(i) in wanted]
        meshes = {called.get(bone_name(i), bone_name(i)): bone_mesh(labels, i) for i in shown}
        task.illustrate(subject.case_id, meshes, found)
    return found


def _of_meshes(task: MeasuringTask) -> tuple[Measurement, ...]:
    settings = task.settings
    if settings.spacing_mm is not None or settings.affine is not None:
        raise ConfigError("spacing and affine belong to label maps; a mesh is in mm already")
    kind = find_anatomy(settings.anatomy)
    files = {name: path for name, path in task.subject.meshes.items() if name in kind.bones}
    if not files:
        some = ", ".join(task.subject.meshes)
        raise DataError(f"{some} does not belong to anatomy {settings.anatomy}; choose another anatomy or --bone")
    meshes = {name: read_mesh(path) for name, path in files.items()}
    found = tuple(measure_meshes(meshes, settings.anatomy))
    if task.illustrate is not None:
        task.illustrate(task.subject.case_id, meshes, found)
    return found


def _named(labels: LabelMap, kind: Anatomy, path: Path, target: str) -> tuple[LabelMap, dict[str, str]]:
    """A single nameless bone of a one-bone anatomy as such a bone; without a target it keeps its id as its name."""
    ids = labels.ids
    if not kind.one_bone or len(ids) > 1:
        shown = ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
        raise DataError(
            f"{path} holds ids {shown} of its own numbering; say which bones they are with --label-map "
            f"{ids[0]}={kind.bones[0]} or the name of a known map (`boneray` for boneray's own ids)"
        )
    name = bone(target or kind.bones[0]).name
    return renumbered(labels, {ids[0]: name}), {} if target else {name: f"label_{ids[0]}"}
