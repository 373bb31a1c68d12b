"""The table of measurements. A measurement is one function of the facts of one bone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boneray.core.measurement import Landmark, Status
from boneray.core.registry import Registry
from boneray.morphometry.facts import BoneFacts


@dataclass(frozen=True)
class Finding:
    """What a measurement function found: a value or none, how sure, why, and the points it rests on."""

    value: float | None
    status: Status = "ok"
    reason: str = ""
    landmarks: tuple[Landmark, ...] = ()


Measure = Callable[[BoneFacts], Finding]

MEASUREMENTS: Registry[Measure] = Registry("measurement", "boneray.morphometry", "boneray.measurements")


def measurement(
    name: str,
    summary: str,
    *,
    unit: str,
    definition: str,
    normal: str,
    source: str,
    anatomy: str,
    bones: Sequence[str] = (),
) -> Callable[[Measure], Measure]:
    """Decorator that registers a measurement with what reports must know of it.

    Args:
        name: key in JSON and tables, with its unit (`neck_shaft_angle_deg`).
        unit: mm, mm2, mm3 or deg.
        definition: how the number is defined, one sentence.
        normal: range in adults, in words, or empty.
        source: paper or fact.
        anatomy: the anatomy it belongs to, or `any`.
        bones: names it applies to; none means every bone.
    """
    return MEASUREMENTS.register(
        name,
        summary,
        unit=unit,
        definition=definition,
        normal=normal,
        source=source,
        anatomy=anatomy,
        bones=tuple(bones),
    )
