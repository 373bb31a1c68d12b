"""The table of metrics. A metric is one function of the facts of one bone of one case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from boneray.core.registry import Registry
from boneray.metrics.facts import PairFacts

Metric = Callable[[PairFacts], float]
Direction = Literal["higher", "lower", "none"]

METRICS: Registry[Metric] = Registry("metric", "boneray.metrics", "boneray.metrics")


def metric(
    name: str, summary: str, *, unit: str, direction: Direction, empty: str, source: str, reported: bool = True
) -> Callable[[Metric], Metric]:
    """Decorator that registers a metric with what tables and rankings must know of it.

    Args:
        name: key in JSON and tables, with its unit where it has one (`hd95_mm`).
        unit: mm, mm3 or 1.
        direction: which way is better; none for a plain quantity, which is not averaged.
        empty: the value when a side is empty, in words.
        source: definition.
        reported: part of every evaluation; otherwise only on request by name.
    """
    return METRICS.register(
        name, summary, unit=unit, direction=direction, empty=empty, source=source, reported=reported
    )
