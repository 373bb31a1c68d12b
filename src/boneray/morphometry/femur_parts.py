"""The parts of a femur with every reason to doubt them: head, shaft, neck and condyles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone_side
from boneray.core.measurement import Landmark, Status
from boneray.morphometry.facts import TRUSTED_SHARE, BoneFacts, touched_borders_near
from boneray.morphometry.femoral_condyles import Condyles, find_condyles
from boneray.morphometry.femoral_head import OTHER_RADII_MM, Head, find_head
from boneray.morphometry.femoral_neck import Neck, find_neck
from boneray.morphometry.femoral_shaft import Shaft, find_shaft

PLAUSIBLE_RADIUS_MM = (17.0, 31.0)
SURE_COVERAGE, LEAST_COVERAGE, ODD_COVERAGE, CLEARLY = 0.8, 0.6, 0.7, 0.1
MOST_RMS_MM, SMOOTH_MM = 2.0, 1.35
SHORT_SHAFT_R, SURE_SHAFT_R = 4.2, 5.5
SHORT_RUN_R, SURE_RUN_R = 0.9, 1.8
BORDER_VOXELS, UPRIGHT = 2.0, 0.8
LOWER_END_R, CUT_VOXELS, MOST_CUT_POINTS = 1.5, 1.0, 20


@dataclass(frozen=True)
class FemurParts:
    """Head, shaft and neck as far as they were found, and why not or how far to trust them.

    Attributes:
        failure: why there is no head; empty if there is one.
        doubts: reasons for low confidence that touch every number of this bone.
        no_axes: (status, reason) if shaft or neck are not there; None if both are.
        condyles: of a whole femur, or why there are none.
        trust: 0..1, how much of head and bone is there; `axis_trust` counts the length of the shaft too.
    """

    head: Head | None
    shaft: Shaft | None
    neck: Neck | None
    failure: str = ""
    doubts: tuple[str, ...] = ()
    no_axes: tuple[Status, str] | None = None
    condyles: Condyles | str = "no shaft was found"
    trust: float = 0.0

    @property
    def axis_trust(self) -> float:
        """The trust in numbers that need the shaft axis."""
        if self.head is None or self.shaft is None:
            return 0.0
        radius = self.head.radius_mm
        seen = min(self.shaft.below_head_mm / (SURE_SHAFT_R * radius), self.shaft.rests_on_mm / (SURE_RUN_R * radius))
        return self.trust * min(1.0, seen)

    @property
    def shaft_doubts(self) -> tuple[str, ...]:
        """The reason to doubt numbers that need the shaft axis; empty if the shaft is long enough."""
        if self.head is None or self.shaft is None:
            return ()
        if self.shaft.below_head_mm < SURE_SHAFT_R * self.head.radius_mm:
            return (f"short shaft: {self.shaft.below_head_mm:.0f} mm of bone below the head centre",)
        if self.shaft.rests_on_mm < SURE_RUN_R * self.head.radius_mm:
            return (f"short shaft: the axis rests on {self.shaft.rests_on_mm:.0f} mm of it",)
        return ()

    def landmarks(self, *names: str) -> tuple[Landmark, ...]:
        """The named points that were found, RAS mm."""
        points: dict[str, NDArray[np.float64]] = {}
        if self.head is not None:
            points["femoral_head_centre"] = self.head.centre_mm
        if self.neck is not None:
            points["neck_centre"] = self.neck.centre_mm
            points |= {"neck_superior": self.neck.superior_mm, "neck_inferior": self.neck.inferior_mm}
        if self.shaft is not None:
            points |= {"shaft_proximal": self.shaft.proximal_mm, "shaft_distal": self.shaft.distal_mm}
        if isinstance(self.condyles, Condyles):
            points["posterior_condyle_medial"] = self.condyles.medial_mm
            points["posterior_condyle_lateral"] = self.condyles.lateral_mm
        return tuple(Landmark(name, tuple(points[name])) for name in names if name in points)


def find_parts(facts: BoneFacts) -> FemurParts:
    """Head, shaft and neck of a femur with every reason to doubt them."""
    head, scale_doubt = _plausible_head(facts)
    if head is None:
        return FemurParts(None, None, None, failure=scale_doubt)
    doubts = [scale_doubt] if scale_doubt else []
    if head.coverage < SURE_COVERAGE:
        doubts.append(f"only {head.coverage:.0%} of the head sphere is covered by bone")
    if head.roughness_mm > SMOOTH_MM:
        doubts.append(f"rough surface: the head lies {head.roughness_mm:.1f} mm off a sphere")
    if facts.kept_share < TRUSTED_SHARE:
        doubts.append(f"the largest part holds only {facts.kept_share:.0%} of the bone")
    if _cut_by_grid(facts, head):
        doubts.append("the grid cuts the femoral head")
    trust = min(head.coverage, facts.kept_share)
    shaft = find_shaft(facts.mesh, head)
    if shaft is not None:
        doubts += _lengthwise_cut(facts, head, shaft)
    head = replace(head, radius_mm=head.radius_mm + facts.smoothing_mm**2 / head.radius_mm)
    no_axes = _too_short(head, shaft)
    if no_axes is not None or shaft is None:
        return FemurParts(head, None, None, doubts=tuple(doubts), no_axes=no_axes, trust=trust)
    condyles = _condyles(facts, head, shaft)
    doubts += _frame_doubts(facts.bone, head, shaft, condyles)
    neck = find_neck(facts.mesh, head, shaft)
    if neck is None:
        no_axes = ("failed", "no section between head and trochanters looks like a neck")
    return FemurParts(head, shaft, neck, doubts=tuple(doubts), no_axes=no_axes, condyles=condyles, trust=trust)


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


def _lengthwise_cut(facts: BoneFacts, head: Head, shaft: Shaft) -> list[str]:
    """A doubt if the grid cuts the bone anywhere but near its lower end."""
    if facts.grid is None or not facts.border:
        return []
    points = facts.mesh.vertices_mm
    along = shaft.axis.along_mm(points)
    high = along > along.min() + LOWER_END_R * head.radius_mm
    cut = touched_borders_near(points[high], facts.border, facts.grid, CUT_VOXELS)
    return ["the grid cuts the femur above its lower end"] if np.count_nonzero(cut) > MOST_CUT_POINTS else []


def _too_short(head: Head, shaft: Shaft | None) -> tuple[Status, str] | None:
    if shaft is None:
        return "not_measurable", "shaft_too_short: no unbroken run of shaft sections below the trochanters"
    if shaft.below_head_mm < SHORT_SHAFT_R * head.radius_mm:
        return "not_measurable", (
            f"shaft_too_short: {shaft.below_head_mm:.0f} mm of bone below the head centre, "
            f"{SHORT_SHAFT_R * head.radius_mm:.0f} mm needed"
        )
    if shaft.kind == "proximal" and shaft.rests_on_mm < SHORT_RUN_R * head.radius_mm:
        return "not_measurable", (
            f"shaft_too_short: {shaft.rests_on_mm:.0f} mm of narrow shaft below the trochanters, "
            f"{SHORT_RUN_R * head.radius_mm:.0f} mm needed"
        )
    return None


def _frame_doubts(bone: str, head: Head, shaft: Shaft, condyles: Condyles | str) -> list[str]:
    """Left and right, head and knee as name and header say.

    A whole femur shows its side in any pose. Of a part, and of the pose, only a femur that lies near
    upright is judged.
    """
    axis = shaft.axis.direction
    medial = head.centre_mm - shaft.axis.at(float(shaft.axis.along_mm(head.centre_mm)))
    medial = medial / max(float(np.linalg.norm(medial)), 1e-9)
    if isinstance(condyles, Condyles):
        built = "left" if np.cross(medial, condyles.front) @ axis > 0 else "right"
        if bone_side(bone) not in ("none", built):
            return [f"frame_implausible: {bone} is built like a {built} one; header mirrored or side wrong"]
    if axis[2] < -UPRIGHT:
        return ["frame_implausible: the femoral head lies below the shaft; check the header"]
    wrong = {"left": medial[0] < -0.7, "right": medial[0] > 0.7}.get(bone_side(bone), False)
    if axis[2] > UPRIGHT and wrong:
        return [f"frame_implausible: the head of {bone} points away from the midline; check the header"]
    return []


def _condyles(facts: BoneFacts, head: Head, shaft: Shaft) -> Condyles | str:
    if shaft.kind != "mid_shaft":
        return f"no condyles: {shaft.below_head_mm:.0f} mm of bone below the head are no whole femur"
    if facts.grid is not None and facts.border:
        knee = facts.mesh.vertices_mm[int(shaft.axis.along_mm(facts.mesh.vertices_mm).argmin())]
        if touched_borders_near(knee, facts.border, facts.grid, BORDER_VOXELS).any():
            return "no condyles: the grid cuts the femur at its lower end"
    return find_condyles(facts.mesh, shaft, head.centre_mm)
