"""Measurements of the femur: head, shaft axis, neck axis and the angles and distances between them.

The algorithm is our own (head by votes of the normals, neck by the shortest outline, shaft by
centroids of sections). The definitions follow Cerveri et al. 2010, Int J CARS, automated
definition of clinical landmarks of the femur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boneray.core.bones import FEMORA
from boneray.core.measurement import Landmark
from boneray.geometry.lines import angle_deg, unit
from boneray.morphometry.facts import BoneFacts
from boneray.morphometry.femoral_condyles import Condyles
from boneray.morphometry.femoral_head import Head
from boneray.morphometry.femoral_neck import Neck
from boneray.morphometry.femoral_shaft import Shaft
from boneray.morphometry.femur_parts import find_parts
from boneray.morphometry.registry import Finding, measurement

SHAFT_MARKS = ("shaft_proximal", "shaft_distal")
NECK_MARKS = ("femoral_head_centre", "neck_centre")


@measurement(
    "femoral_head_radius_mm",
    "radius of the femoral head",
    unit="mm",
    definition="radius of the sphere fitted to the joint surface of the head",
    normal="20-27 mm (19 adults, mean 23.7)",
    source="facts: VSDFullBody, raters' points on the head",
    anatomy="femur",
    bones=FEMORA,
)
def femoral_head_radius_mm(facts: BoneFacts) -> Finding:
    """Head radius, corrected for the Gaussian before the surface was made (R += sigma^2 / R)."""
    parts = facts.once(find_parts)
    if parts.head is None:
        return Finding(None, "failed", parts.failure)
    return _finding(parts.head.radius_mm, parts.doubts, parts.landmarks("femoral_head_centre"), parts.trust)


@measurement(
    "neck_shaft_angle_deg",
    "angle between femoral neck and shaft",
    unit="deg",
    definition="3D angle between the shaft axis and the line from the head centre to the neck centre",
    normal="122-133 degrees; coxa vara below 120, valga above 140",
    source="Cerveri et al. 2010; normal range PMC4775021, PMC4616413",
    anatomy="femur",
    bones=FEMORA,
)
def neck_shaft_angle_deg(facts: BoneFacts) -> Finding:
    """180 degrees less the angle from the neck axis (head to neck) to the shaft axis (downwards)."""
    return _with_axes(facts, (*NECK_MARKS, *SHAFT_MARKS), _neck_shaft_angle_deg)


@measurement(
    "femoral_offset_mm",
    "distance of the head centre from the shaft axis",
    unit="mm",
    definition="perpendicular distance of the femoral head centre from the line of the shaft axis, in 3D",
    normal="about 35-50 mm",
    source="facts: morphometry, section 2",
    anatomy="femur",
    bones=FEMORA,
)
def femoral_offset_mm(facts: BoneFacts) -> Finding:
    """Femoral offset: the lever arm of the hip abductors."""
    return _with_axes(
        facts,
        ("femoral_head_centre", *SHAFT_MARKS),
        lambda head, shaft, neck: float(shaft.axis.distance_mm(head.centre_mm)),
        neck_needed=False,
    )


@measurement(
    "femur_below_head_mm",
    "length of bone below the head centre",
    unit="mm",
    definition="along the shaft axis, from the head centre to the lower end; the shaft axis is that of the middle of "
    "the shaft where the whole bone is longer than 300 mm, else that of the proximal shaft, and only like may be "
    "compared with like",
    normal="",
    source="definition",
    anatomy="femur",
    bones=FEMORA,
)
def femur_below_head_mm(facts: BoneFacts) -> Finding:
    """How much of the femur is seen; the neck-shaft angle needs 4.2 head radii and is sure from 5.5 on."""
    return _with_axes(
        facts, ("femoral_head_centre", *SHAFT_MARKS), lambda head, shaft, neck: shaft.below_head_mm, neck_needed=False
    )


@measurement(
    "femoral_neck_width_mm",
    "width of the femoral neck at its narrowest section",
    unit="mm",
    definition="extent of the section of least outline in the plane of neck and shaft, across the neck",
    normal="",
    source="definition",
    anatomy="femur",
    bones=FEMORA,
)
def femoral_neck_width_mm(facts: BoneFacts) -> Finding:
    """Superior to inferior, as in a picture from the front."""
    return _with_axes(facts, ("neck_superior", "neck_inferior"), _neck_width_mm)


@measurement(
    "femoral_neck_area_mm2",
    "area of the narrowest section of the femoral neck",
    unit="mm2",
    definition="area inside the section of least outline between head and trochanters",
    normal="",
    source="definition",
    anatomy="femur",
    bones=FEMORA,
)
def femoral_neck_area_mm2(facts: BoneFacts) -> Finding:
    """Least section of the neck, cortex and marrow together."""
    return _with_axes(facts, ("neck_centre",), _neck_area_mm2)


@measurement(
    "femoral_version_deg",
    "version of the femoral neck",
    unit="deg",
    definition="angle between the neck axis and the line through the rearmost points of both condyles, seen along the "
    "shaft axis; positive where the head lies in front (anteversion)",
    normal="median 14, quartiles 7-20 degrees; other definitions differ by up to 18",
    source="facts: morphometry, section 2; PMC4775021; doi:10.1302/2633-1462.310.BJO-2022-0102",
    anatomy="femur",
    bones=FEMORA,
)
def femoral_version_deg(facts: BoneFacts) -> Finding:
    """Version of a whole femur; not measurable without condyles."""
    parts = facts.once(find_parts)
    marks = (*NECK_MARKS, "posterior_condyle_medial", "posterior_condyle_lateral")
    condyles = parts.condyles
    if parts.shaft is None or parts.no_axes or isinstance(condyles, Condyles):
        return _with_axes(facts, marks, lambda head, shaft, neck: _version_deg(head, shaft, neck, condyles))
    return Finding(None, "not_measurable", condyles, parts.landmarks(*marks))


@dataclass(frozen=True)
class _AxisAngle:
    """A measurement function: the angle of shaft or neck axis to one axis of the patient."""

    part: str
    axis: int

    def __call__(self, facts: BoneFacts) -> Finding:
        if self.part == "shaft":
            return _with_axes(
                facts,
                SHAFT_MARKS,
                lambda head, shaft, neck: angle_deg(shaft.axis.direction, np.eye(3)[self.axis]),
                neck_needed=False,
            )
        return _with_axes(facts, NECK_MARKS, self._neck)

    def _neck(self, head: Head, shaft: Shaft, neck: Neck | None) -> float:
        assert neck is not None
        return angle_deg(neck.centre_mm - head.centre_mm, np.eye(3)[self.axis])


for _part, _way in (("shaft", "from the knee to the hip"), ("neck", "from the head to the neck")):
    for _axis, (_letter, _side) in enumerate((("x", "right"), ("y", "front"), ("z", "head"))):
        measurement(
            f"femoral_{_part}_axis_{_letter}_deg",
            f"direction of the femoral {_part}: angle to the patient's {_side}",
            unit="deg",
            definition=f"angle between the {_part} axis, pointing {_way}, and the {_letter} axis of RAS",
            normal="",
            source="Cerveri et al. 2010, axes of diaphysis and neck; XrayTo3D reports these angles",
            anatomy="femur",
            bones=FEMORA,
        )(_AxisAngle(_part, _axis))


def _with_axes(
    facts: BoneFacts,
    marks: tuple[str, ...],
    value: Callable[[Head, Shaft, Neck | None], float],
    *,
    neck_needed: bool = True,
) -> Finding:
    """A number that needs the shaft axis and, unless told otherwise, the neck; `value` then gets a neck."""
    parts = facts.once(find_parts)
    if parts.head is None:
        return Finding(None, "failed", parts.failure)
    found = parts.landmarks(*marks)
    if parts.shaft is None or (parts.neck is None and neck_needed):
        return Finding(None, *(parts.no_axes or ("failed", "no shaft was found")), found)
    doubts = (*parts.doubts, *parts.shaft_doubts)
    return _finding(value(parts.head, parts.shaft, parts.neck), doubts, found, parts.axis_trust)


def _neck_shaft_angle_deg(head: Head, shaft: Shaft, neck: Neck | None) -> float:
    assert neck is not None
    return 180.0 - angle_deg(neck.centre_mm - head.centre_mm, -shaft.axis.direction)


def _neck_width_mm(head: Head, shaft: Shaft, neck: Neck | None) -> float:
    assert neck is not None
    return neck.width_mm


def _neck_area_mm2(head: Head, shaft: Shaft, neck: Neck | None) -> float:
    assert neck is not None
    return neck.area_mm2


def _version_deg(head: Head, shaft: Shaft, neck: Neck | None, condyles: Condyles | str) -> float:
    assert neck is not None and isinstance(condyles, Condyles)
    axis = shaft.axis.direction
    medially = condyles.medial_mm - condyles.lateral_mm
    medially = unit(medially - axis * (medially @ axis))
    towards_head = head.centre_mm - neck.centre_mm
    return float(np.degrees(np.arctan2(towards_head @ condyles.front, towards_head @ medially)))


def _finding(value: float, doubts: tuple[str, ...], marks: tuple[Landmark, ...], trust: float) -> Finding:
    return Finding(value, "low_confidence" if doubts else "ok", "; ".join(doubts), marks, trust)
