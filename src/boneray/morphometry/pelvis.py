"""Measurements of the pelvis: widths between landmarks, depth of the inlet, and how it lies in the patient.

Every number belongs to sacrum and both hip bones together and rests on the landmarks of Fischer et
al. 2019 (Sci Rep 9:8405). The anterior pelvic plane (APP) goes through both ASIS and the symphysis,
the superior iliac spine plane (SISP) through both ASIS and the middle of the PSIS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boneray.core.bones import HIPS
from boneray.core.measurement import Status
from boneray.morphometry.facts import BoneFacts
from boneray.morphometry.pelvic_search import ODD_LANDMARK, Pelvis, both, find_pelvis
from boneray.morphometry.registry import Finding, Measure, measurement

BONES = ("sacrum", *HIPS)
APP = (*both("ASIS"), "PS")
SISP = (*both("ASIS"), *both("PSIS"))
ADULTS = "facts: VSDFullBody, manual landmarks of 19 adults by 5 raters"


def pelvic(
    name: str, summary: str, *, definition: str, normal: str, source: str = ADULTS
) -> Callable[[Measure], Measure]:
    """Decorator: a measurement of the pelvis as a whole; its unit is the last word of its name."""
    return measurement(
        name,
        summary,
        unit=name.rsplit("_", 1)[1],
        definition=definition,
        normal=normal,
        source=source,
        anatomy="pelvis",
        bones=BONES,
        together=True,
    )


@pelvic(
    "inter_asis_distance_mm",
    "distance of the anterior superior iliac spines",
    definition="between the foremost points of the upper halves of both hip bones in the APP frame",
    normal="235 +- 18 mm (205-265)",
)
def inter_asis_distance_mm(facts: BoneFacts) -> Finding:
    """Width of the pelvis in front."""
    return _distance(facts, *both("ASIS"))


@pelvic(
    "inter_psis_distance_mm",
    "distance of the posterior superior iliac spines",
    definition="between the rearmost points of both hip bones seen along the SISP",
    normal="90 +- 9 mm (74-105)",
)
def inter_psis_distance_mm(facts: BoneFacts) -> Finding:
    """Width of the pelvis behind."""
    return _distance(facts, *both("PSIS"))


@pelvic(
    "inter_ischial_spine_distance_mm",
    "distance of the ischial spines",
    definition="between the tips of the ischial spines",
    normal="102 +- 9 mm (91-127)",
)
def inter_ischial_spine_distance_mm(facts: BoneFacts) -> Finding:
    """Width of the midpelvis."""
    return _distance(facts, *both("IS"))


@pelvic(
    "inter_pubic_tubercle_distance_mm",
    "distance of the pubic tubercles",
    definition="between the tips of the pubic tubercles",
    normal="52 +- 6 mm (38-62)",
)
def inter_pubic_tubercle_distance_mm(facts: BoneFacts) -> Finding:
    """Distance of the tubercles, not of the foremost points of the pubis, which lie closer together."""
    return _distance(facts, *both("PT"))


@pelvic(
    "inter_aiis_distance_mm",
    "distance of the anterior inferior iliac spines (experimental)",
    definition="between the points that stand out most, forwards, at 45-85 % of the height of the ASIS",
    normal="about 197 mm",
)
def inter_aiis_distance_mm(facts: BoneFacts) -> Finding:
    """Never surer than low_confidence: the rule was compared with the raters of one pelvis only."""
    return _distance(facts, *both("AIIS"), doubts=("experimental: compared with the raters of one pelvis only",))


@pelvic(
    "promontory_symphysis_distance_mm",
    "distance of the sacral promontory from the symphysis",
    definition="from the foremost point of the upper sacrum in its middle to the symphysis on the line of the foremost "
    "pubic points",
    normal="about 130 mm",
)
def promontory_symphysis_distance_mm(facts: BoneFacts) -> Finding:
    """Depth of the pelvic inlet, measured to the front of the symphysis."""
    if "sacrum" not in facts.siblings:
        return Finding(None, "not_measurable", "no sacrum")
    return _distance(facts, "SP", "PS")


@pelvic(
    "pelvic_tilt_deg",
    "tilt of the anterior pelvic plane",
    definition="angle of the normal of the APP above the horizontal in the sagittal projection; negative where the "
    "spines lie in front of the symphysis",
    normal="-4 +- 6 degrees lying (-17 to 7)",
)
def pelvic_tilt_deg(facts: BoneFacts) -> Finding:
    """Tilt of the APP in the patient's frame (not the spinopelvic tilt)."""
    return _pose_angle(facts, APP, lambda pelvis: _direction_deg(pelvis, 1, along=1, over=2))


@pelvic(
    "pelvic_obliquity_deg",
    "coronal slope of the line between the anterior superior iliac spines",
    definition="angle of the inter-ASIS line with the patient's horizontal in the coronal projection; positive where "
    "the right side is higher",
    normal="about 0 degrees",
    source="definition",
)
def pelvic_obliquity_deg(facts: BoneFacts) -> Finding:
    """Obliquity in the patient's frame."""
    return _pose_angle(facts, both("ASIS"), lambda pelvis: _direction_deg(pelvis, 0, along=0, over=2))


@pelvic(
    "pelvic_rotation_deg",
    "axial turn of the line between the anterior superior iliac spines",
    definition="angle of the inter-ASIS line with the patient's right in the axial projection; positive where the "
    "right side lies further in front",
    normal="about 0 degrees",
    source="definition",
)
def pelvic_rotation_deg(facts: BoneFacts) -> Finding:
    """Rotation in the patient's frame."""
    return _pose_angle(facts, both("ASIS"), lambda pelvis: _direction_deg(pelvis, 0, along=0, over=1))


@pelvic(
    "sisp_tilt_deg",
    "tilt of the superior iliac spine plane",
    definition="angle of the line from the middle of the PSIS to the middle of the ASIS below the horizontal in the "
    "sagittal projection; positive where the anterior spines are lower",
    normal="",
    source="definition",
)
def sisp_tilt_deg(facts: BoneFacts) -> Finding:
    """Slope of the SISP in the patient's frame, the pelvic tilt of gait analysis."""
    return _pose_angle(facts, SISP, _spine_slope_deg)


@pelvic(
    "app_sisp_angle_deg",
    "angle between the anterior pelvic plane and the superior iliac spine plane",
    definition="angle at the ASIS between the directions to the symphysis and to the middle of the PSIS, across the "
    "inter-ASIS line",
    normal="about 100 degrees",
)
def app_sisp_angle_deg(facts: BoneFacts) -> Finding:
    """The angle of both planes; it does not depend on how the patient lies."""
    return _finding(facts, (*SISP, "PS"), _plane_angle_deg)


def _distance(facts: BoneFacts, first: str, second: str, doubts: tuple[str, ...] = ()) -> Finding:
    def value(pelvis: Pelvis) -> float:
        return float(np.linalg.norm(pelvis.points[first] - pelvis.points[second]))

    return _finding(facts, (first, second), value, doubts=lambda pelvis: doubts)


def _pose_angle(facts: BoneFacts, shorts: Sequence[str], value: Callable[[Pelvis], float]) -> Finding:
    """A number that depends on the patient's axes: none where the header is mirrored."""
    pelvis = facts.once(find_pelvis)
    if pelvis.mirrored and not pelvis.cut:
        return Finding(None, "not_measurable", pelvis.doubts[0], pelvis.landmarks(*shorts))
    return _finding(facts, shorts, value, doubts=lambda found: found.frame_doubts)


def _finding(
    facts: BoneFacts,
    shorts: Sequence[str],
    value: Callable[[Pelvis], float],
    doubts: Callable[[Pelvis], tuple[str, ...]] = lambda pelvis: (),
) -> Finding:
    """A number that rests on landmarks: none if one of them is missing or cut off."""
    pelvis = facts.once(find_pelvis)
    if pelvis.failure:
        return Finding(None, "failed", pelvis.failure)
    marks = pelvis.landmarks(*shorts)
    stop = _obstacle(pelvis, shorts)
    if stop is not None:
        return Finding(None, *stop, marks)
    odd = dict.fromkeys(pelvis.odd[short] for short in shorts if short in pelvis.odd)
    reasons = (*pelvis.doubts, *doubts(pelvis), *odd)
    deviation = max(pelvis.worst.get(short, 0.0) for short in shorts)
    confidence = pelvis.kept_share * max(0.0, 1.0 - deviation / (2 * ODD_LANDMARK))
    return Finding(value(pelvis), "low_confidence" if reasons else "ok", "; ".join(reasons), marks, confidence)


def _obstacle(pelvis: Pelvis, shorts: Sequence[str]) -> tuple[Status, str] | None:
    if pelvis.cut:
        return "not_measurable", pelvis.cut
    cut = [short for short in shorts if short in pelvis.lost]
    if cut:
        return "not_measurable", f"the grid cuts the bone at {', '.join(cut)}"
    missing = [short for short in shorts if short not in pelvis.points]
    if missing:
        return "failed", f"no bone where {', '.join(missing)} should be"
    return None


def _direction_deg(pelvis: Pelvis, axis: int, *, along: int, over: int) -> float:
    """Angle of an axis of the APP frame from one axis of the patient towards another, seen along the third."""
    assert pelvis.frame is not None
    direction = pelvis.frame.axes[axis]
    return float(np.degrees(np.arctan2(direction[over], direction[along])))


def _spine_slope_deg(pelvis: Pelvis) -> float:
    front, back = _middle(pelvis, "ASIS"), _middle(pelvis, "PSIS")
    forwards = front - back
    return float(np.degrees(np.arctan2(-forwards[2], forwards[1])))


def _plane_angle_deg(pelvis: Pelvis) -> float:
    assert pelvis.frame is not None
    middle = _middle(pelvis, "ASIS")
    across = pelvis.frame.axes[0]
    arms = [point - middle for point in (pelvis.points["PS"], _middle(pelvis, "PSIS"))]
    down, back = (arm - (arm @ across) * across for arm in arms)
    return float(np.degrees(np.arccos(down @ back / (np.linalg.norm(down) * np.linalg.norm(back)))))


def _middle(pelvis: Pelvis, name: str) -> np.ndarray:
    left, right = both(name)
    return (pelvis.points[left] + pelvis.points[right]) / 2
