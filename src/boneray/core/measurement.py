"""Named points and numbers with a unit and a status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "low_confidence", "not_measurable", "failed"]


@dataclass(frozen=True)
class Landmark:
    """A named anatomical point, RAS mm."""

    name: str
    point_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "point_mm", tuple(float(v) for v in self.point_mm))


@dataclass(frozen=True)
class Measurement:
    """One clinical number of one bone. A failure is a result: no value, a status and a reason.

    Attributes:
        name: full name with unit, e.g. `neck_shaft_angle_deg`.
        bone: name in the table of bones, e.g. `femur_left`.
        side: left, right or none.
        value: None unless status is ok or low_confidence.
        unit: mm, mm2, mm3 or deg.
        landmarks: the points the number rests on.
        confidence: 0..1, how much of the evidence speaks for the value; None where nobody judged it.
    """

    name: str
    bone: str
    side: str
    value: float | None
    unit: str
    status: Status = "ok"
    reason: str = ""
    landmarks: tuple[Landmark, ...] = field(default_factory=tuple)
    confidence: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the stable shape of `boneray measure --json`."""
        return {
            "name": self.name,
            "bone": self.bone,
            "side": self.side,
            "value": None if self.value is None else float(self.value),
            "unit": self.unit,
            "status": self.status,
            "reason": self.reason,
            "confidence": None if self.confidence is None else float(self.confidence),
            "landmarks": {mark.name: list(mark.point_mm) for mark in self.landmarks},
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Measurement:
        """The measurement that `to_dict` wrote."""
        marks = tuple(Landmark(name, tuple(point)) for name, point in values.get("landmarks", {}).items())
        return cls(
            values["name"],
            values["bone"],
            values["side"],
            values["value"],
            values["unit"],
            values.get("status", "ok"),
            values.get("reason", ""),
            marks,
            values.get("confidence"),
        )
