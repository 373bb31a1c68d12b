"""One case as a unit of work: two files and settings in, one record out that is the same every time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from boneray import __version__
from boneray.core.errors import BonerayError, ConfigError, DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.evaluation.cases import CaseScores, chosen_metrics, evaluate_case, finite
from boneray.evaluation.inputs import CasePair, NamedLabels, ids_are_known, label_file, read_named_labels
from boneray.geometry.resample import nearest_labels
from boneray.io.files import read_json, write_json
from boneray.metrics.paper import PAPER_MODES, PaperScores
from boneray.metrics.surface import TOLERANCE_MM

SCHEMA = "boneray/scored-case/1"
PAPER = "paper:"
OK, NO_PREDICTION, FAILED = "ok", "no_prediction", "failed"


@dataclass(frozen=True)
class ScoringSettings:
    """How every case is scored.

    Attributes:
        names: bone by id for label files without a case.json; without it their bones are called
            `label_<id>`, or as on the other side where that one has names.
        drop_unnamed: ids that `names` lacks become background; otherwise they fail the case.
        resample: a prediction on another grid is put onto the reference's by nearest voxel;
            otherwise it fails the case.
        tolerance_mm: of the surface Dice.
        metrics: names of further metrics.
        mode: empty, or `paper:` and a name in the table of paper modes.
    """

    names: Mapping[int, str] | None = None
    drop_unnamed: bool = False
    resample: bool = False
    tolerance_mm: float = TOLERANCE_MM
    metrics: tuple[str, ...] = ()
    mode: str = ""

    def __post_init__(self) -> None:
        chosen_metrics(None, self.metrics, self.tolerance_mm)
        if self.mode:
            if not self.mode.startswith(PAPER):
                known = ", ".join(f"{PAPER}{entry.name}" for entry in PAPER_MODES)
                raise ConfigError(f"unknown mode '{self.mode}'; choose one of {known}")
            PAPER_MODES.get(self.paper)

    @property
    def paper(self) -> str:
        """Name in the table of paper modes; empty without one."""
        return self.mode.removeprefix(PAPER)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "names": None if self.names is None else {str(number): name for number, name in sorted(self.names.items())},
            "metrics": list(self.metrics),
        }


@dataclass(frozen=True)
class CaseResult:
    """What became of one case.

    Attributes:
        status: ok; no_prediction (every bone is missed); failed (no scores, but a reason).
        notes: what a reader of the scores must know.
        paper: values of the paper mode, NaN where the published code left the case out.
        paper_notes: what is wrong with each of them.
    """

    case_id: str
    status: str
    reason: str = ""
    scores: CaseScores | None = None
    notes: tuple[str, ...] = ()
    paper: dict[str, float] = field(default_factory=dict)
    paper_notes: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The case in `boneray evaluate --json`."""
        out: dict[str, Any] = self.scores.to_dict() if self.scores is not None else {"case": self.case_id}
        if self.status != OK:
            out |= {"status": self.status, "reason": self.reason}
        if self.notes:
            out["notes"] = list(self.notes)
        if self.paper:
            out["paper"] = {name: finite(value) for name, value in self.paper.items()}
        return out

    def to_record(self, key: str) -> dict[str, Any]:
        """The case with all that is needed to have it back, as it lies in the folder of an evaluation."""
        out = {"schema": SCHEMA, "key": key, "status": self.status, "reason": self.reason, **self.to_dict()}
        if self.scores is not None:
            out |= {
                "diagonal_mm": self.scores.diagonal_mm,
                "voxel_mm": self.scores.voxel_mm,
                "directions": self.scores.directions,
            }
        return out | ({"paper_notes": self.paper_notes} if self.paper_notes else {})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> CaseResult:
        """The result that `to_record` wrote."""
        scores = None
        if record["status"] != FAILED:
            grid = {name: record[name] for name in ("diagonal_mm", "voxel_mm", "directions")}
            scores = CaseScores.from_dict(record, **grid)
        paper = {name: math.nan if value is None else value for name, value in record.get("paper", {}).items()}
        return cls(
            record["case"],
            record["status"],
            record["reason"],
            scores,
            tuple(record.get("notes", ())),
            paper,
            record.get("paper_notes", {}),
        )


@dataclass(frozen=True)
class CaseTask:
    """One case to be done: the pair, the settings, and the folder where its record goes, if anywhere."""

    pair: CasePair
    settings: ScoringSettings
    folder: Path | None = None

    @property
    def file(self) -> Path | None:
        """Where the record goes."""
        return self.folder / f"{self.pair.case_id}.json" if self.folder else None


def scored_case(task: CaseTask) -> dict[str, Any]:
    """The record of one case; taken from its file if that was made from the same files and settings.

    Whatever is wrong with the case is its status and reason, not an error. A failed case is tried
    again the next time.

    Raises:
        InputError: the record cannot be written.
    """
    key = ""
    try:
        key = content_key(task.pair, task.settings)
        made_before = _read_record(task.file, key)
        if made_before is not None:
            return made_before
        result = score_pair(task.pair, task.settings)
    except (BonerayError, OSError, MemoryError) as error:
        result = CaseResult(task.pair.case_id, FAILED, _one_line(error))
    except Exception as error:  # one case out of thousands must not take the others along, whatever it is
        result = CaseResult(task.pair.case_id, FAILED, f"unexpected {type(error).__name__}: {_one_line(error)}")
    return _written(task.file, result.to_record(key))


def died(task: CaseTask) -> dict[str, Any]:
    """The record of a case whose process was ended from outside."""
    reason = "its process was killed; was there enough memory?"
    return _written(task.file, CaseResult(task.pair.case_id, FAILED, reason).to_record(""))


def score_pair(pair: CasePair, settings: ScoringSettings) -> CaseResult:
    """Read and score one case; without a prediction every bone counts as missed.

    Raises:
        InputError, DataError, GeometryError: what is wrong with it.
    """
    names = None if settings.names is None else dict(settings.names)
    truth = read_named_labels(pair.reference, names, "reference", drop_unnamed=settings.drop_unnamed)
    named, notes = truth, []
    if pair.prediction is None:
        predicted = LabelMap(np.zeros(truth.labels.grid.shape, np.uint8), truth.labels.grid)
    else:
        found = read_named_labels(pair.prediction, names, "prediction", drop_unnamed=settings.drop_unnamed)
        _require_one_numbering(truth, found, pair)
        predicted = found.labels
        named = found if found.known else truth
        notes = _grid_notes(truth.labels.grid, predicted.grid, resample=settings.resample)
    scores = evaluate_case(
        pair.case_id,
        truth.labels,
        predicted,
        further=settings.metrics,
        tolerance_mm=settings.tolerance_mm,
        name_of=None if named.known else named.name_of,
    )
    if notes and not scores.count("present") and not scores.count("spurious") and predicted.data.any():
        notes.append("no bone of the prediction lies on the reference's grid")
    notes += [
        f"the labels of the {name} are off by {shift.shift:+d}: mean Dice {shift.dice:.3f}, "
        f"{shift.dice_after:.3f} once they are moved back"
        for name, shift in scores.shifts.items()
    ]
    paper = _paper_scores(truth.labels, predicted, settings)
    status, reason = OK, ""
    if pair.prediction is None:
        status, reason = NO_PREDICTION, "there is no prediction; every bone is missed"
    return CaseResult(pair.case_id, status, reason, scores, tuple(notes), paper.values, paper.notes)


def content_key(pair: CasePair, settings: ScoringSettings) -> str:
    """SHA-256 of all that the record of a case depends on: both files, the settings, the version."""
    files: list[Any] = []
    for path, what in ((pair.reference, "reference"), (pair.prediction, "prediction")):
        if path is None:
            files.append(None)
            continue
        file = label_file(path, what)
        with file.open("rb") as stream:
            files.append([hashlib.file_digest(stream, "sha256").hexdigest(), ids_are_known(file)])
    parts = [SCHEMA, __version__, pair.case_id, files, settings.to_dict()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_record(file: Path | None, key: str) -> dict[str, Any] | None:
    """The record in a file, if it is finished and of this key."""
    if file is None or not file.is_file():
        return None
    try:
        record = read_json(file, "scored case")
    except BonerayError:
        return None
    same = record.get("schema") == SCHEMA and record.get("key") == key and record.get("status") != FAILED
    return record if same else None


def _written(file: Path | None, record: dict[str, Any]) -> dict[str, Any]:
    if file is not None:
        write_json(file, record)
    return record


def _paper_scores(reference: LabelMap, prediction: LabelMap, settings: ScoringSettings) -> PaperScores:
    if not settings.mode:
        return PaperScores({}, {})
    if not reference.grid.matches(prediction.grid):
        prediction = nearest_labels(prediction, reference.grid)
    found = PAPER_MODES.get(settings.paper).value(reference, prediction)
    return PaperScores({name: float(value) for name, value in found.values.items()}, dict(found.notes))


def _grid_notes(reference: Grid, prediction: Grid, *, resample: bool) -> list[str]:
    """Nothing if both are one grid; that the prediction was resampled if that was asked for."""
    if reference.matches(prediction):
        return []
    if not resample:
        raise GeometryError(
            f"the prediction lies on another grid than the reference: {_difference(reference, prediction)}; "
            "--resample puts it there"
        )
    return ["the prediction was on another grid and was resampled by nearest voxel"]


def _difference(reference: Grid, prediction: Grid) -> str:
    """In what two grids differ, the most telling first."""
    if reference.shape != prediction.shape:
        return f"{_size(prediction)} against {_size(reference)}"
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in reference.shape])).reshape(3, -1).T
    apart = np.abs(reference.to_world(corners) - prediction.to_world(corners)).max()
    return f"the affines put the same {_size(reference)} up to {apart:.3g} mm apart"


def _size(grid: Grid) -> str:
    edges = "x".join(f"{edge:.4g}" for edge in grid.spacing_mm)
    return f"{'x'.join(map(str, grid.shape))} voxels of {edges} mm"


def _require_one_numbering(truth: NamedLabels, found: NamedLabels, pair: CasePair) -> None:
    """A nameless file beside a named one is taken to share its numbering, unless not one id agrees."""
    if truth.known == found.known or not found.labels.ids or set(truth.labels.ids) & set(found.labels.ids):
        return
    bare, named = (pair.prediction, pair.reference) if truth.known else (pair.reference, pair.prediction)
    raise DataError(
        f"{bare} has a numbering of its own: none of its ids occurs in {named}; say which bone each id is with "
        "--label-map (`boneray` for ids of boneray's own table)"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
