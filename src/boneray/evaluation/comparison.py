"""`boneray evaluate`: predictions against references, one case or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.errors import DataError
from boneray.core.volume import LabelMap
from boneray.evaluation.cases import CaseScores, evaluate_case
from boneray.evaluation.inputs import matching_pairs, read_named_labels

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
            `label_<id>`.
    """
    out = []
    for case_id, true_path, predicted_path in progress(matching_pairs(reference, prediction)):
        truth = read_named_labels(true_path, names, "reference")
        if predicted_path is None:
            predicted = LabelMap(np.zeros(truth.labels.grid.shape, np.uint8), truth.labels.grid)
        else:
            found = read_named_labels(predicted_path, names, "prediction")
            if found.known != truth.known:
                bare = predicted_path if truth.known else true_path
                raise DataError(
                    f"{bare} has a numbering of its own, the other side names its bones; say which bone each id is "
                    "with --label-map (`boneray` for ids of boneray's own table)"
                )
            predicted = found.labels
        out.append(evaluate_case(case_id, truth.labels, predicted, metrics=metrics, name_of=truth.name_of))
    return out


def evaluation_json(scores: Sequence[CaseScores]) -> dict[str, Any]:
    """The stable shape of `boneray evaluate --json`."""
    return {"cases": [case.to_dict() for case in scores]}
