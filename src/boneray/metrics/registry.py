"""The table of metrics. A metric is one function of the facts of one bone of one case."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from boneray.core.registry import Entry, Registry
from boneray.metrics.facts import PairFacts

Metric = Callable[[PairFacts], float]
Direction = Literal["higher", "lower", "none"]


class MetricTable(Registry[Metric]):
    """The registry, and families of metrics whose name holds a number (`nsd_3.5mm`)."""

    def __init__(self) -> None:
        super().__init__("metric", "boneray.metrics", "boneray.metrics")
        self._families: list[tuple[re.Pattern[str], Callable[[float], Entry[Metric]]]] = []

    def family(self, pattern: str, make: Callable[[float], Entry[Metric]]) -> None:
        """Let `make` answer for every name that `pattern` matches; its one group is the number."""
        self._families.append((re.compile(pattern), make))

    def get(self, name: str) -> Entry[Metric]:
        """The metric called `name`, also a member of a family that nobody registered."""
        self._discover()
        if name not in self._entries:
            for pattern, make in self._families:
                match = pattern.fullmatch(name)
                if match:
                    return make(float(match.group(1)))
        return super().get(name)


METRICS = MetricTable()


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
