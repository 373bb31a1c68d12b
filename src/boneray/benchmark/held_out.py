"""How good is a checkpoint on patients it never saw, also when the cameras are not the standard ones?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from boneray.core.camera import Camera, jittered
from boneray.core.case import Case
from boneray.core.seeds import generator
from boneray.datasets.phantom import phantom_case
from boneray.datasets.views import standard_cameras
from boneray.evaluation.cases import CaseScores, evaluate_case
from boneray.projection.render import render
from boneray.reconstruction.reconstruct import Reconstructor

EXACT = "AP and lateral at 90°"
TURNED = "lateral taken at 75°"
JITTERED = "every camera off by up to 10° and 5 mm, known"
BASELINE = "mean shape, no radiograph used"
CONDITIONS = (EXACT, TURNED, JITTERED)


@dataclass(frozen=True)
class HeldOutRow:
    """One line of the study: condition, patients, and the mean (and worst) over them."""

    anatomy: str
    condition: str
    patients: int
    dice: float
    dice_worst: float
    hd95_mm: float
    assd_mm: float
    nsd: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "anatomy": self.anatomy,
            "condition": self.condition,
            "patients": self.patients,
            "dice": self.dice,
            "dice_worst": self.dice_worst,
            "hd95_mm": self.hd95_mm,
            "assd_mm": self.assd_mm,
            "nsd_2.0mm": self.nsd,
        }


def held_out_study(
    checkpoint: Reconstructor,
    baseline: Reconstructor | None,
    *,
    seed: int,
    patients: int,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> list[HeldOutRow]:
    """Phantom patients from a seed of their own, reconstructed under each condition.

    The baseline is the mean shape of the training patients, scored on the same patients.
    """
    anatomy = checkpoint.card.anatomy
    scores: dict[str, list[CaseScores]] = {name: [] for name in (*CONDITIONS, BASELINE)}
    for number in progress(iter(range(patients))):
        case = phantom_case(
            anatomy,
            seed=seed,
            number=number,
            voxels=checkpoint.card.grid_shape[0],
            pixels=checkpoint.card.image_shape[0],
        )
        for condition in CONDITIONS:
            scores[condition].append(_score(checkpoint, case, condition_cameras(case, condition, seed=seed)))
        if baseline is not None:
            scores[BASELINE].append(_score(baseline, case, condition_cameras(case, EXACT, seed=seed)))
    return [_row(anatomy, condition, found) for condition, found in scores.items() if found]


def condition_cameras(case: Case, condition: str, *, seed: int) -> dict[str, Camera]:
    """The cameras of a condition for one case, the same in every run."""
    assert case.labels is not None
    grid = case.labels.grid
    pixels = next(iter(case.radiographs.values())).camera.detector_shape[0]
    views = ("ap", "75") if condition == TURNED else ("ap", "lat")
    cameras = standard_cameras(grid, views, pixels=pixels)
    if condition == JITTERED:
        rng = generator(seed, case.case_id, "jitter")
        cameras = {view: jittered(camera, rng, centre_mm=grid.centre_mm) for view, camera in cameras.items()}
    return cameras


def _score(reconstructor: Reconstructor, case: Case, cameras: dict[str, Camera]) -> CaseScores:
    assert case.ct is not None and case.labels is not None
    radiographs = {view: render(case.ct, camera) for view, camera in cameras.items()}
    labels = reconstructor.labels(radiographs, target=case.target, centre_mm=case.labels.grid.centre_mm)
    return evaluate_case(case.case_id, case.labels, labels, metrics=("dice", "hd95_mm", "assd_mm", "nsd_2.0mm"))


def _row(anatomy: str, condition: str, found: list[CaseScores]) -> HeldOutRow:
    means = [case.mean() for case in found]
    dice = [float(m["dice"]) for m in means]
    return HeldOutRow(
        anatomy,
        condition,
        len(found),
        float(np.mean(dice)),
        min(dice),
        *(float(np.mean([m[name] for m in means])) for name in ("hd95_mm_penalised", "assd_mm_penalised", "nsd_2.0mm")),
    )
