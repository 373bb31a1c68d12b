"""Predictions made elsewhere: are they what a benchmark asks for, and what do they score?

A submission is a folder of label maps called like the test cases (`CASE.nii.gz`, or case folders),
with the ids of the table of bones, on the grid of the case. What is wrong with it is said in
sentences, one per fault, before any score: a prediction that was swapped, shifted or scaled would
otherwise only look bad. Scores are those of `boneray evaluate`; a missing case counts as missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.benchmark.study import Study, made_data, present
from boneray.core.bones import BONES, bone, bone_name
from boneray.core.config import load_settings
from boneray.core.errors import BonerayError, DataError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.datasets.splits import read_splits
from boneray.evaluation.case_scoring import ScoringSettings
from boneray.evaluation.comparison import Evaluation, evaluate_cases
from boneray.evaluation.inputs import CasePair, MatchedCases, label_file, members
from boneray.io.case_folder import case_folders, read_description
from boneray.io.files import read_json
from boneray.io.nifti import read_grid, read_labels

SIDES = (("_left", "_right"), ("_right", "_left"))
SAME_RATIO, BETTER, POOR = 1e-3, 0.15, 0.6
FAULTS = (
    "missing_case",
    "unknown_case",
    "unreadable",
    "float_labels",
    "scaled_by_spacing",
    "wrong_grid",
    "wrong_ids",
    "left_right_swapped",
    "empty",
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one case of a submission.

    Attributes:
        kind: one of FAULTS.
        sentence: what is wrong, the value, and what to do.
    """

    case_id: str
    kind: str
    sentence: str

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"case": self.case_id, "fault": self.kind, "sentence": self.sentence}


@dataclass(frozen=True)
class Submission:
    """A checked submission: its faults in the order of the cases, and the scores of all test cases."""

    faults: tuple[Fault, ...]
    evaluation: Evaluation


def cases_of(benchmark: Path, work: Path | None = None) -> list[Path]:
    """The case folders that a benchmark is tested on.

    Args:
        benchmark: what `boneray benchmark` wrote; a study's YAML, whose phantoms are made below
            `work`; or a folder of cases, of which the part `test` counts where it has splits.
    Raises:
        InputError: none of these, or a YAML without `work`.
    """
    if benchmark.suffix in (".yaml", ".yml"):
        study = load_settings(Study, file=benchmark)
        if work is None:
            raise InputError(f"the cases of {benchmark} must be made first; give a folder for them with --work")
        folders = [made_data(data, work) for data in present(study).trained_on()]
    elif (benchmark / "study.json").is_file():
        values = {k: v for k, v in read_json(benchmark / "study.json", "study").items() if k in Study.model_fields}
        study = load_settings(Study, base=values)
        folders = [made_data(data, benchmark / "data") for data in present(study).trained_on()]
    elif benchmark.is_dir():
        folders = [benchmark]
    else:
        raise InputError(f"benchmark {benchmark} is neither a study's YAML, nor its output, nor a folder of cases")
    found = [case for folder in folders for case in _tested(folder)]
    if not found:
        raise InputError(f"benchmark {benchmark} has no test cases with labels")
    return found


def check_submission(
    predictions: Path, cases: Sequence[Path], *, settings: ScoringSettings | None = None, workers: int | None = None
) -> Submission:
    """Find what is wrong with a folder of predictions and score it as `boneray evaluate` would.

    Raises:
        InputError: the folder is not there.
    """
    if not predictions.is_dir():
        raise InputError(f"submission {predictions} is not a folder of predictions (CASE.nii.gz each)")
    there = members(predictions)
    names = {case.name for case in cases}
    faults: list[Fault] = []
    for case in sorted(cases, key=lambda path: path.name):
        if case.name in there:
            faults += faults_of(case, there[case.name])
        else:
            text = f"there is no {case.name}.nii.gz; every bone of the case counts as missed"
            faults.append(Fault(case.name, "missing_case", text))
    for name in sorted(set(there) - names):
        faults.append(Fault(name, "unknown_case", "the benchmark has no test case of this name; it is left out"))
    pairs = tuple(CasePair(case.name, case, there.get(case.name)) for case in cases)
    left = tuple(sorted(set(there) - names))
    evaluation = evaluate_cases(
        MatchedCases(pairs, left, collection=True),
        settings or ScoringSettings(),
        method=predictions.resolve().name,
        workers=workers,
    )
    return Submission(tuple(faults), evaluation)


def faults_of(case: Path, prediction: Path) -> list[Fault]:
    """Everything that is wrong with the prediction of one case; empty if nothing is."""
    reference = read_labels(label_file(case, "reference"), "reference")
    try:
        file = label_file(prediction, "prediction")
        stored = read_grid(file, "prediction")
        labels = read_labels(file, "prediction")
    except DataError as error:
        return [Fault(case.name, "float_labels", f"{error}; store the class of each voxel as a whole number")]
    except (BonerayError, OSError) as error:
        return [Fault(case.name, "unreadable", str(error))]
    return [Fault(case.name, kind, text) for kind, text in _told(case, reference, labels, stored)]


def _told(case: Path, reference: LabelMap, labels: LabelMap, stored: Grid) -> Iterator[tuple[str, str]]:
    if not labels.ids:
        yield "empty", "the label map holds no bone"
        return
    on_grid = reference.grid.matches(labels.grid)
    if not on_grid:
        yield _grid_fault(reference.grid, labels.grid)
    known = set(_expected_ids(case, reference))
    odd = [number for number in labels.ids if number not in known]
    if odd:
        names = ", ".join(f"{bone_name(i)} = {i}" for i in sorted(known)[:6])
        yield "wrong_ids", f"the ids {odd[:8]} are none of this case's bones; expected are {names}"
    if labels.data.shape == reference.data.shape:
        swapped = _swapped(reference, labels, ids=sorted(known), on_grid=on_grid)
        if swapped:
            yield "left_right_swapped", swapped


def _tested(folder: Path) -> list[Path]:
    labelled = [case for case in case_folders(folder) if (case / "labels.nii.gz").is_file()]
    if not (folder / "splits.json").is_file():
        return labelled
    part = set(read_splits(folder / "splits.json").get("test", ()))
    return [case for case in labelled if case.name in part]


def _expected_ids(case: Path, reference: LabelMap) -> list[int]:
    """Ids of the bones that the case can have: those of its anatomy, or the one it shows."""
    values = read_description(case)
    target, kind = str(values.get("target") or ""), find_anatomy(str(values["anatomy"]))
    names = (target,) if kind.one_bone and target else kind.bones
    return sorted({*(bone(name).bone_id for name in names), *reference.ids})


def _grid_fault(reference: Grid, found: Grid) -> tuple[str, str]:
    ratio = np.array(found.spacing_mm) / np.array(reference.spacing_mm)
    size, wanted = (
        f"{'x'.join(map(str, g.shape))} voxels of {'x'.join(f'{s:.4g}' for s in g.spacing_mm)} mm"
        for g in (found, reference)
    )
    if found.shape == reference.shape and np.abs(ratio - 1).max() > SAME_RATIO:
        return "scaled_by_spacing", (
            f"the array is that of the case, its header says {size} where the case has {wanted}: every distance would "
            f"be {ratio.max():.3g} times its true length; write the affine of the case"
        )
    if found.shape != reference.shape:
        return "wrong_grid", f"{size}, the case has {wanted}; put the labels onto the case's grid"
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in reference.shape])).reshape(3, -1).T
    apart = np.abs(reference.to_world(corners) - found.to_world(corners)).max()
    return "wrong_grid", f"the affine puts the array up to {apart:.3g} mm from the case's; write the affine of the case"


def _swapped(reference: LabelMap, labels: LabelMap, *, ids: Sequence[int], on_grid: bool) -> str:
    """A sentence if the labels fit clearly better with left and right exchanged; empty if they do not."""
    as_it_is = _mean_dice(reference.data, labels.data)
    if as_it_is > POOR and on_grid:
        return ""
    exchanged = np.arange(65536, dtype=np.uint16)
    for number in ids:
        partner = _partner(number)
        if partner is not None:
            exchanged[number] = partner
    trials = {
        "the ids of left and right bones are exchanged": exchanged[labels.data],
        "the array is mirrored from left to right": labels.data[::-1],
        "the body is mirrored: array and ids of left and right bones": exchanged[labels.data[::-1]],
    }
    text, best = max(((name, _mean_dice(reference.data, data)) for name, data in trials.items()), key=lambda t: t[1])
    if best < as_it_is + BETTER:
        return ""
    return f"{text}: mean Dice {as_it_is:.3f} as it is, {best:.3f} exchanged; +x is the patient's right in RAS"


def _partner(number: int) -> int | None:
    """Id of the same bone of the other side."""
    name = bone_name(number)
    for one, other in SIDES:
        if one in name and name.replace(one, other) in BONES:
            return BONES[name.replace(one, other)].bone_id
    return None


def _mean_dice(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """Mean over the bones of the reference."""
    values = []
    for number in np.unique(reference[reference > 0]):
        a, b = reference == number, found == number
        values.append(2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
    return float(np.mean(values)) if values else 0.0
