"""Measurements of the femur: head radius, neck-shaft angle and offset.

The algorithm is our own (head by votes of the normals, neck by the shortest outline, shaft by
centroids of sections). The definitions follow Cerveri et al. 2010, Int J CARS, automated
definition of clinical landmarks of the femur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import FEMORA, bone_side
from boneray.core.measurement import Landmark, Status
from boneray.geometry.lines import angle_deg
from boneray.morphometry.facts import TRUSTED_SHARE, BoneFacts
from boneray.morphometry.femoral_head import OTHER_RADII_MM, Head, find_head
from boneray.morphometry.femoral_neck import Neck, find_neck
from boneray.morphometry.femoral_shaft import Shaft, find_shaft
from boneray.morphometry.registry import Finding, measurement

PLAUSIBLE_RADIUS_MM = (17.0, 31.0)
SURE_COVERAGE, LEAST_COVERAGE, ODD_COVERAGE, CLEARLY = 0.8, 0.6, 0.7, 0.1
MOST_RMS_MM = 2.0
SHORT_SHAFT_R, SURE_SHAFT_R = 4.2, 5.5


@dataclass(frozen=True)
class FemurParts:
    """Head, shaft and neck as far as they were found, and why not or how far to trust them.

    Attributes:
        failure: why there is no head; empty if there is one.
        doubts: reasons for low confidence that touch every number of this bone.
        no_axes: (status, reason) if shaft or neck are not there; None if both are.
    """

    head: Head | None
    shaft: Shaft | None
    neck: Neck | None
    failure: str = ""
    doubts: tuple[str, ...] = ()
    no_axes: tuple[Status, str] | None = None

    def landmarks(self, *names: str) -> tuple[Landmark, ...]:
        """The named points that were found, RAS mm."""
        points: dict[str, NDArray[np.float64]] = {}
        if self.head is not None:
            points["femoral_head_centre"] = self.head.centre_mm
        if self.neck is not None:
            points["neck_centre"] = self.neck.centre_mm
        if self.shaft is not None:
            points |= {"shaft_proximal": self.shaft.proximal_mm, "shaft_distal": self.shaft.distal_mm}
        return tuple(Landmark(name, tuple(points[name])) for name in names if name in points)


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
    return _finding(parts.head.radius_mm, parts.doubts, parts.landmarks("femoral_head_centre"))


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
    parts = facts.once(find_parts)
    if parts.head is None:
        return Finding(None, "failed", parts.failure)
    marks = parts.landmarks("femoral_head_centre", "neck_centre", "shaft_proximal", "shaft_distal")
    if parts.no_axes or parts.neck is None or parts.shaft is None:
        return _without_value(parts, marks)
    angle = 180.0 - angle_deg(parts.neck.centre_mm - parts.head.centre_mm, -parts.shaft.axis.direction)
    return _finding(angle, (*parts.doubts, *_shaft_doubts(parts.head, parts.shaft)), marks)


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
    parts = facts.once(find_parts)
    if parts.head is None:
        return Finding(None, "failed", parts.failure)
    marks = parts.landmarks("femoral_head_centre", "shaft_proximal", "shaft_distal")
    if parts.shaft is None or (parts.no_axes and parts.no_axes[0] == "not_measurable"):
        return _without_value(parts, marks)
    offset = float(parts.shaft.axis.distance_mm(parts.head.centre_mm))
    return _finding(offset, (*parts.doubts, *_shaft_doubts(parts.head, parts.shaft)), marks)


def find_parts(facts: BoneFacts) -> FemurParts:
    """Head, shaft and neck of a femur with every reason to doubt them."""
    head, scale_doubt = _plausible_head(facts)
    if head is None:
        return FemurParts(None, None, None, failure=scale_doubt)
    doubts = [scale_doubt] if scale_doubt else []
    if head.coverage < SURE_COVERAGE:
        doubts.append(f"only {head.coverage:.0%} of the head sphere is covered by bone")
    if facts.kept_share < TRUSTED_SHARE:
        doubts.append(f"the largest part holds only {facts.kept_share:.0%} of the bone")
    if _cut_by_grid(facts, head):
        doubts.append("the grid cuts the femoral head")
    shaft = find_shaft(facts.mesh, head)
    head = replace(head, radius_mm=head.radius_mm + facts.smoothing_mm**2 / head.radius_mm)
    no_axes = _too_short(head, shaft)
    if no_axes is not None or shaft is None:
        return FemurParts(head, None, None, doubts=tuple(doubts), no_axes=no_axes)
    doubts += _frame_doubts(facts.bone, head, shaft)
    neck = find_neck(facts.mesh, head, shaft)
    if neck is None:
        no_axes = ("failed", "no section between head and trochanters looks like a neck")
    return FemurParts(head, shaft, neck, doubts=tuple(doubts), no_axes=no_axes)


def _plausible_head(facts: BoneFacts) -> tuple[Head | None, str]:
    """The head and a doubt about the scale; without a head, why.

    A head that is not surely one is compared with balls no femur has: one of those that is covered
    better means that the voxel spacing is wrong.
    """
    head = find_head(facts.mesh)
    good = head is not None and head.coverage >= LEAST_COVERAGE and _plausible(head)
    if head is None or not good or head.coverage < SURE_COVERAGE:
        odd = _implausible_head(facts, head)
        if odd is not None and not (good and head is not None and odd.coverage < head.coverage + CLEARLY):
            return odd, (
                f"scale_implausible: head radius {odd.radius_mm:.1f} mm is outside "
                f"{PLAUSIBLE_RADIUS_MM[0]:.0f}-{PLAUSIBLE_RADIUS_MM[1]:.0f} mm; check the voxel spacing"
            )
    if head is None or not good:
        coverage = 0.0 if head is None else head.coverage
        return None, f"no femoral head: the best sphere is covered to {coverage:.0%} only ({LEAST_COVERAGE:.0%} needed)"
    if head.rms_mm > MOST_RMS_MM:
        return None, f"the head is not round (rms {head.rms_mm:.1f} mm from a sphere)"
    return head, ""


def _plausible(head: Head) -> bool:
    return PLAUSIBLE_RADIUS_MM[0] <= head.radius_mm <= PLAUSIBLE_RADIUS_MM[1]


def _implausible_head(facts: BoneFacts, head: Head | None) -> Head | None:
    """The best covered ball of a size no femur has, if there is one."""
    candidates = [head, *(find_head(facts.mesh, radii_mm) for radii_mm in OTHER_RADII_MM)]
    odd = [h for h in candidates if h is not None and not _plausible(h) and h.coverage >= ODD_COVERAGE]
    return max(odd, key=lambda h: h.coverage, default=None)


def _cut_by_grid(facts: BoneFacts, head: Head) -> bool:
    if facts.grid is None or not facts.border:
        return False
    index = facts.grid.to_index(head.centre_mm)
    reach = head.radius_mm / np.array(facts.grid.spacing_mm)
    return bool(np.any(index - reach < -0.5) or np.any(index + reach > np.array(facts.grid.shape) - 0.5))


def _too_short(head: Head, shaft: Shaft | None) -> tuple[Status, str] | None:
    if shaft is None:
        return "not_measurable", "shaft_too_short: no unbroken run of shaft sections below the trochanters"
    if shaft.below_head_mm < SHORT_SHAFT_R * head.radius_mm:
        return "not_measurable", (
            f"shaft_too_short: {shaft.below_head_mm:.0f} mm of bone below the head centre, "
            f"{SHORT_SHAFT_R * head.radius_mm:.0f} mm needed"
        )
    return None


def _shaft_doubts(head: Head, shaft: Shaft) -> tuple[str, ...]:
    if shaft.below_head_mm >= SURE_SHAFT_R * head.radius_mm:
        return ()
    return (f"short shaft: {shaft.below_head_mm:.0f} mm of bone below the head centre",)


def _frame_doubts(bone: str, head: Head, shaft: Shaft) -> list[str]:
    """Left and right, head and knee as the header says; only judged where the femur is near upright."""
    up = float(shaft.axis.direction[2])
    if up < -0.8:
        return ["frame_implausible: the femoral head lies below the shaft; check the header"]
    medial = head.centre_mm - shaft.axis.at(float(shaft.axis.along_mm(head.centre_mm)))
    to_right = float(medial[0] / max(np.linalg.norm(medial), 1e-9))
    wrong = {"left": to_right < -0.7, "right": to_right > 0.7}.get(bone_side(bone), False)
    if up > 0.8 and wrong:
        return [f"frame_implausible: the head of {bone} points away from the midline; check the header"]
    return []


def _finding(value: float, doubts: tuple[str, ...], marks: tuple[Landmark, ...]) -> Finding:
    return Finding(value, "low_confidence" if doubts else "ok", "; ".join(doubts), marks)


def _without_value(parts: FemurParts, marks: tuple[Landmark, ...]) -> Finding:
    status, reason = parts.no_axes or ("failed", "no shaft was found")
    return Finding(None, status, reason, marks)
