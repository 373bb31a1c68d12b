"""Predictions against references, one case or thousands, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boneray.core.errors import DataError
from boneray.core.workers import results, worker_count
from boneray.evaluation.case_scoring import (
    FAILED,
    NO_PREDICTION,
    CaseResult,
    CaseTask,
    ScoringSettings,
    died,
    scored_case,
)
from boneray.evaluation.cases import CaseScores, below_a_voxel
from boneray.evaluation.groups import NO_GROUPS, Groups
from boneray.evaluation.inputs import MatchedCases, case_name, match_cases
from boneray.metrics.surface import surface_dice_metric

Done = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Evaluation:
    """All cases of one method.

    Attributes:
        method: what is evaluated, by name.
        results: one per reference case, in the order of their names.
        without_reference: predictions that belong to no reference case.
        settings: how each case was scored.
        groups: which group a case or bone belongs to.
    """

    method: str
    results: tuple[CaseResult, ...]
    without_reference: tuple[str, ...]
    settings: ScoringSettings
    groups: Groups = NO_GROUPS

    @property
    def scores(self) -> list[CaseScores]:
        """Of the cases that did not fail."""
        return [result.scores for result in self.results if result.scores is not None]

    @property
    def failed(self) -> list[CaseResult]:
        """The cases without scores."""
        return [result for result in self.results if result.status == FAILED]

    @property
    def without_prediction(self) -> list[CaseResult]:
        """The cases for which there is no prediction."""
        return [result for result in self.results if result.status == NO_PREDICTION]

    @property
    def paper_notes(self) -> dict[str, str]:
        """What is wrong with every value of the paper mode; empty without one."""
        return next((result.paper_notes for result in self.results if result.paper_notes), {})

    def warnings(self) -> list[str]:
        """What a reader of the numbers must know, a line each."""
        out = []
        coarse = [case for case in self.scores if below_a_voxel(self.settings.tolerance_mm, case.voxel_mm)]
        if coarse:
            name = surface_dice_metric(self.settings.tolerance_mm).name
            nsd = {metric for case in coarse for metric in case.directions if metric.startswith("nsd_")}
            out.append(
                f"{name}: the tolerance is below one voxel (up to {max(case.voxel_mm for case in coarse):.3g} mm) in "
                f"{len(coarse)} of {len(self.scores)} cases, where it measures the grid; "
                f"{', '.join(sorted(nsd - {name}))} stands beside it"
            )
        if self.without_prediction:
            missing = [result.case_id for result in self.without_prediction]
            out.append(f"{_cases(missing)} without a prediction: every bone is missed")
        if self.without_reference:
            out.append(f"{_cases(self.without_reference)} left out: predictions without a reference")
        noted: dict[str, list[str]] = {}
        for result in self.results:
            for note in result.notes:
                noted.setdefault(note, []).append(result.case_id)
        out += [f"{_cases(cases)}: {note}" for note, cases in noted.items()]
        return out + self.groups.warnings(self.scores)


def evaluate_paths(
    reference: Path, prediction: Path, settings: ScoringSettings | None = None, *, workers: int = 1
) -> Evaluation:
    """Match the cases of two paths by name and score them; see `match_cases` and `evaluate_cases`."""
    settings = settings or ScoringSettings()
    return evaluate_cases(match_cases(reference, prediction), settings, method=case_name(prediction), workers=workers)


def evaluate_cases(
    matched: MatchedCases,
    settings: ScoringSettings,
    *,
    method: str,
    groups: Groups = NO_GROUPS,
    folder: Path | None = None,
    workers: int | None = None,
    progress: Callable[[Done], Done] = iter,
) -> Evaluation:
    """Scores of every reference case.

    Args:
        matched: what to compare.
        method: what is evaluated, by name.
        folder: where each finished case leaves its record, and is found again by the next run.
        workers: processes; without it one per core, if there are enough cases.
    Raises:
        DataError: the one pair that was named cannot be scored; of several cases such a one is
            a result with status failed.
        InputError: a record cannot be written.
    """
    tasks = [CaseTask(pair, settings, folder) for pair in matched.pairs]
    done: dict[int, CaseResult] = {}
    for place, record in progress(results(scored_case, tasks, workers=worker_count(len(tasks), workers), died=died)):
        done[place] = CaseResult.from_record(record)
    found = tuple(done[place] for place in range(len(tasks)))
    if not matched.collection and found[0].status == FAILED:
        raise DataError(found[0].reason)
    return Evaluation(method, found, matched.without_reference, settings, groups)


def _cases(names: Sequence[str]) -> str:
    return f"case {names[0]}" if len(names) == 1 else f"{len(names)} cases, the first is {names[0]}"
