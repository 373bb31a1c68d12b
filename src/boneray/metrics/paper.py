"""Modes that compute what a published benchmark computed, flaws included, so that tables can be compared.

Never the default: every value comes with the sentence that says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from boneray.core.registry import Registry
from boneray.core.volume import LabelMap


@dataclass(frozen=True)
class PaperScores:
    """One case as a paper would have scored it.

    Attributes:
        values: by name; NaN where the published code left the case out of its mean.
        notes: for every name, how the paper printed it and what is wrong with it.
    """

    values: dict[str, float]
    notes: dict[str, str]


PaperMode = Callable[[LabelMap, LabelMap], PaperScores]

PAPER_MODES: Registry[PaperMode] = Registry("paper mode", "boneray.metrics", "boneray.paper_modes")
