"""The published numbers of a study's tables beside ours, and whether the two may be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from boneray.benchmark.published import PublishedRow, published
from boneray.benchmark.study import Printed, Study
from boneray.core.errors import ConfigError
from boneray.models.registry import MODELS

Row = dict[str, Any]


def printed_rows(study: Study, models: Sequence[Row]) -> list[Row]:
    """One row per printed number of the tables that the study asks for.

    `ours` is that of the method whose model (and variant's `printed_as`) is the row's, on the data
    set whose `printed_as` is the row's; None where the study has none. `comparable` is yes only
    where the study says that the protocol is the same; `why` gives the reasons otherwise.
    """
    return [row for printed in study.printed for row in _of_table(study, printed, models)]


def _of_table(study: Study, printed: Printed, models: Sequence[Row]) -> Iterator[Row]:
    for row in published(printed.paper, printed.table):
        ours = _ours(study, row, models)
        for metric, theirs in printed.metrics.items():
            if theirs not in row.values:
                continue
            value = None if ours is None else ours.get(metric)
            same = printed.same_protocol and value is not None
            reasons = [] if same else [printed.why, row.differs]
            if value is None:
                reasons.insert(0, "not run here")
            if row.values[theirs] is None:
                reasons.insert(0, "the printed value did not survive")
            yield {
                "paper": row.paper,
                "table": row.table,
                "data": row.data,
                "model": row.model,
                "condition": row.condition,
                "metric": metric,
                "printed": row.values[theirs],
                "ours": value,
                "comparable": "yes" if same else "no",
                "why": "; ".join(reason for reason in reasons if reason),
            }


def _ours(study: Study, row: PublishedRow, models: Sequence[Row]) -> Row | None:
    for data in study.data:
        for method in study.methods() if data.printed_as == row.data else ():
            condition = (method.variant.printed_as if method.variant else "") or data.printed_condition
            if _known(row.model) == method.model and condition == row.condition:
                return next((r for r in models if (r["data"], r["model"]) == (data.name, method.name)), None)
    return None


def _known(model: str) -> str:
    try:
        return MODELS.get(model).name
    except ConfigError:
        return model
