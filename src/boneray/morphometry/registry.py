"""The table of measurements. A measurement is one function of the facts of one bone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boneray.core.measurement import Landmark, Status
from boneray.core.registry import Registry
from boneray.morphometry.facts import BoneFacts


@dataclass(frozen=True)
class Finding:
    """What a measurement function found: a value or none, how sure, why, and the points it rests on.

    `confidence` is 0..1, how much of the evidence speaks for the value, or None where nobody judged it.
    """

    value: float | None
    status: Status = "ok"
    reason: str = ""
    landmarks: tuple[Landmark, ...] = ()
    confidence: float | None = None


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
    together: bool = False,
    under: str = "",
) -> Callable[[Measure], Measure]:
    """Decorator that registers a measurement with what reports must know of it.

    Args:
        name: key in JSON and tables, with its unit (`neck_shaft_angle_deg`).
        unit: mm, mm2, mm3, deg, percent, per_m or grade.
        definition: how the number is defined, one sentence.
        normal: range in adults, in words, or empty.
        source: paper or fact.
        anatomy: the anatomy it belongs to, or `any`.
        bones: names it applies to; none means every bone.
        together: one number for all of `bones` (the width of a pelvis). It is asked for once, with the facts
            of the first of them that is there (its `siblings` hold the rest), and reported under the first name.
        under: another name to report a measurement of bones taken together under (`spine`).
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
        together=together,
        under=under,
    )
