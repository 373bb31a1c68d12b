"""`boneray evaluate`: predictions against references, one case or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.errors import DataError
from boneray.core.volume import LabelMap
from boneray.evaluation.cases import CaseScores, evaluate_case
from boneray.evaluation.inputs import NamedLabels, matching_pairs, read_named_labels

Pairs = Iterator[tuple[str, Path, Path | None]]


def evaluate_paths(
    reference: Path,
    prediction: Path,
    *,
    names: dict[int, str] | None = None,
    metrics: Sequence[str] | None = None,
    progress: Callable[[Pairs], Pairs] = iter,
) -> list[CaseScores]:
    """Scores of every reference case; a case without a prediction counts with every bone missed.

    Args:
        reference, prediction: two label maps, two case folders, or two folders of either, matched
            by name.
        names: bone by id for label files without a case.json; without it their bones are called
            `label_<id>`, or as on the other side where that one has names.
    """
    out = []
    for case_id, true_path, predicted_path in progress(matching_pairs(reference, prediction)):
        truth = read_named_labels(true_path, names, "reference")
        name_of = truth.name_of
        if predicted_path is None:
            predicted = LabelMap(np.zeros(truth.labels.grid.shape, np.uint8), truth.labels.grid)
        else:
            found = read_named_labels(predicted_path, names, "prediction")
            _require_one_numbering(truth, found, true_path, predicted_path)
            predicted = found.labels
            name_of = found.name_of if found.known else truth.name_of
        out.append(evaluate_case(case_id, truth.labels, predicted, metrics=metrics, name_of=name_of))
    return out


def evaluation_json(scores: Sequence[CaseScores]) -> dict[str, Any]:
    """The stable shape of `boneray evaluate --json`."""
    return {"cases": [case.to_dict() for case in scores]}


def _require_one_numbering(truth: NamedLabels, found: NamedLabels, true_path: Path, predicted_path: Path) -> None:
    """A nameless file beside a named one is taken to share its numbering, unless not one id agrees."""
    if truth.known == found.known or not found.labels.ids or set(truth.labels.ids) & set(found.labels.ids):
        return
    bare, named = (predicted_path, true_path) if truth.known else (true_path, predicted_path)
    raise DataError(
        f"{bare} has a numbering of its own: none of its ids occurs in {named}; say which bone each id is with "
        "--label-map (`boneray` for ids of boneray's own table)"
    )
