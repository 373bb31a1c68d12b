"""Angles between vertebrae: segments, lumbar lordosis, thoracic kyphosis and the Cobb angle.

All angles are taken in the frame of the spine itself: up from the lowest to the highest body, right
as the mean of the vertebrae's own right sides. So they do not change when the patient is turned.
An endplate's slope forwards comes from the corners of the body, its slope sideways from the
surface of the endplate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import VERTEBRAE
from boneray.core.measurement import Landmark
from boneray.geometry.lines import unit
from boneray.morphometry.facts import BoneFacts
from boneray.morphometry.registry import Finding, measurement
from boneray.morphometry.vertebra import confidence_of, doubts_of, plausible, whole_body
from boneray.morphometry.vertebral_parts import Vertebra, find_vertebra, lateral

SPINE = "spine"
AGAINST, ALIKE = -0.2, 0.3
LEAST_VERTEBRAE = 3
FACING = 0.7
DEPTH_PART, SIDE_PART, HEIGHT_PART = (0.15, 0.85), 0.45, 0.3
ROUNDS = 12
STEADY_MM = 0.15


@dataclass(frozen=True)
class Endplate:
    """One endplate in the world.

    Attributes:
        middle_mm: between its posterior and anterior corner, (3,) RAS mm.
        forward, right: unit vectors in it, (3,).
    """

    middle_mm: NDArray[np.float64]
    forward: NDArray[np.float64]
    right: NDArray[np.float64]


@dataclass(frozen=True)
class Spine:
    """The vertebrae whose bodies are whole, from above, in the frame of their column.

    Attributes:
        endplates: (superior, inferior) by name of the vertebra.
        right, forward, up: unit vectors, (3,).
        doubts: what is wrong with the column as a whole.
    """

    endplates: dict[str, tuple[Endplate, Endplate]]
    right: NDArray[np.float64]
    forward: NDArray[np.float64]
    up: NDArray[np.float64]
    doubts: tuple[str, ...] = ()

    def sagittal_deg(self, plate: Endplate) -> float:
        """How much an endplate rises forwards, seen from the side."""
        return float(np.degrees(np.arctan2(plate.forward @ self.up, plate.forward @ self.forward)))

    def coronal_deg(self, plate: Endplate) -> float:
        """How much an endplate rises to the right, seen from the front."""
        return float(np.degrees(np.arctan2(plate.right @ self.up, plate.right @ self.right)))


@measurement(
    "segmental_angle_deg",
    "angle of a motion segment",
    unit="deg",
    definition="angle in the sagittal plane of the spine from the lower endplate of the next vertebra below to the "
    "upper endplate of this one; positive opens forwards (lordosis)",
    normal="",
    source="facts: morphometry, section 4",
    anatomy=SPINE,
    bones=VERTEBRAE[2:-1],
)
def segmental_angle_deg(facts: BoneFacts) -> Finding:
    """Segmental lordosis of this vertebra and the one below."""
    below = VERTEBRAE[VERTEBRAE.index(facts.bone) + 1]
    if below == "L6" and below not in facts.siblings:
        return Finding(None, "not_measurable", "no vertebra below")
    return _sagittal(facts, facts.bone, below)


@measurement(
    "lumbar_lordosis_deg",
    "lordosis from L1 to L5",
    unit="deg",
    definition="angle in the sagittal plane of the spine between the upper endplate of L1 and the lower endplate "
    "of L5, positive for lordosis",
    normal="to S1 40-60 degrees; to L5 less by the segment L5-S1",
    source="facts: morphometry, section 4",
    anatomy=SPINE,
    bones=("L1", "L2", "L3", "L4", "L5"),
    together=True,
    under=SPINE,
)
def lumbar_lordosis_deg(facts: BoneFacts) -> Finding:
    """Lordosis of the lumbar spine without its last disc."""
    return _sagittal(facts, "L1", "L5")


@measurement(
    "thoracic_kyphosis_deg",
    "kyphosis from T4 to T12",
    unit="deg",
    definition="angle in the sagittal plane of the spine between the upper endplate of T4 and the lower endplate "
    "of T12, positive for kyphosis",
    normal="20-50 degrees",
    source="facts: morphometry, section 4",
    anatomy=SPINE,
    bones=("T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12"),
    together=True,
    under=SPINE,
)
def thoracic_kyphosis_deg(facts: BoneFacts) -> Finding:
    """Kyphosis of the thoracic spine."""
    lordosis = _sagittal(facts, "T4", "T12")
    if lordosis.value is None:
        return lordosis
    return Finding(-lordosis.value, lordosis.status, lordosis.reason, lordosis.landmarks, lordosis.confidence)


@measurement(
    "cobb_angle_deg",
    "largest sideways bend",
    unit="deg",
    definition="largest angle in the coronal plane of the spine between the upper endplate of one vertebra and the "
    "lower endplate of one further down, of all that are whole",
    normal="below 10 degrees; scoliosis from 10",
    source="facts: morphometry, section 4; after Cobb 1948",
    anatomy=SPINE,
    bones=VERTEBRAE[2:],
    together=True,
    under=SPINE,
)
def cobb_angle_deg(facts: BoneFacts) -> Finding:
    """Cobb angle; the reason names the end vertebrae."""
    spine = _spine_of(facts)
    if spine is None or len(spine.endplates) < LEAST_VERTEBRAE:
        count = 0 if spine is None else len(spine.endplates)
        return Finding(None, "not_measurable", f"{count} whole vertebrae, {LEAST_VERTEBRAE} needed")
    names = list(spine.endplates)
    slopes = {name: tuple(spine.coronal_deg(plate) for plate in spine.endplates[name]) for name in names}
    pairs = [(upper, lower) for n, upper in enumerate(names) for lower in names[n + 1 :]]
    upper, lower = max(pairs, key=lambda pair: abs(slopes[pair[0]][0] - slopes[pair[1]][1]))
    found = _finding(facts, spine, abs(slopes[upper][0] - slopes[lower][1]), upper, lower)
    said = "; ".join([f"between {upper} and {lower}", *([found.reason] if found.reason else [])])
    return Finding(found.value, found.status, said, found.landmarks, found.confidence)


def find_spine(facts: BoneFacts) -> Spine | None:
    """The column of all vertebrae measured together with one, or None if fewer than two are whole."""
    usable = {}
    for name in VERTEBRAE[2:]:
        found = whole_body(facts.siblings[name])[0] if name in facts.siblings else None
        if found is not None and found.body is not None and plausible(facts.siblings[name], found.body):
            usable[name] = (found, facts.siblings[name])
    usable = _alike(usable)
    if len(usable) < 2:
        return None
    plates = {name: (_endplate(v, f, "superior"), _endplate(v, f, "inferior")) for name, (v, f) in usable.items()}
    middles = np.array([(upper.middle_mm + lower.middle_mm) / 2 for upper, lower in plates.values()])
    up = unit(middles[0] - middles[-1])
    right = np.mean([lateral(v.section) for v, _ in usable.values() if v.section is not None], axis=0)
    right = unit(right - up * (right @ up))
    doubts = []
    if up[2] < AGAINST:
        doubts.append("frame_implausible: lower vertebrae lie above upper ones by the header; check the header")
    order = (middles[:-1] - middles[1:]) @ up
    if order.min() <= 0:
        wrong = list(plates)[int(order.argmin())]
        doubts.append(f"the vertebra below {wrong} does not lie below it")
    return Spine(plates, right, np.cross(up, right), up, tuple(doubts))


def _alike(vertebrae: dict[str, tuple[Vertebra, BoneFacts]]) -> dict[str, tuple[Vertebra, BoneFacts]]:
    """Those that face the way most of them face; a fragment at the edge of the grid can face any way."""
    ways = {n: (v.section.forward, v.section.up) for n, (v, _) in vertebrae.items() if v.section is not None}
    sums = np.sum(list(ways.values()), axis=0) if ways else np.zeros((2, 3))
    usual = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return {n: vertebrae[n] for n, (ahead, up) in ways.items() if ahead @ usual[0] > ALIKE and up @ usual[1] > ALIKE}


def _spine_of(facts: BoneFacts) -> Spine | None:
    """The column, found once for all vertebrae that were measured together."""
    return next((other for other in facts.siblings.values()), facts).once(find_spine)


def _sagittal(facts: BoneFacts, upper: str, lower: str) -> Finding:
    """Lordosis between the upper endplate of one vertebra and the lower endplate of another."""
    absent = [name for name in (upper, lower) if name not in facts.siblings]
    if absent:
        return Finding(None, "not_measurable", f"{' and '.join(absent)} not there")
    spine = _spine_of(facts)
    for name in (upper, lower):
        if spine is None or name not in spine.endplates:
            reason = whole_body(facts.siblings[name])[1] or f"{name} is a fragment, or there is no second vertebra"
            return Finding(None, "not_measurable", reason)
    assert spine is not None
    angle = spine.sagittal_deg(spine.endplates[upper][0]) - spine.sagittal_deg(spine.endplates[lower][1])
    return _finding(facts, spine, angle, upper, lower)


def _finding(facts: BoneFacts, spine: Spine, value: float, upper: str, lower: str) -> Finding:
    doubts = list(spine.doubts)
    for name in (upper, lower):
        doubts += [f"{name}: {doubt}" for doubt in doubts_of(facts.siblings[name])]
    marks = tuple(
        Landmark(f"{name}_{plate}_middle", tuple(spine.endplates[name][n].middle_mm.tolist()))
        for name, plate, n in ((upper, "superior", 0), (lower, "inferior", 1))
    )
    pair = [facts.siblings[name] for name in (upper, lower)]
    confidence = min(confidence_of(other, other.once(find_vertebra)) for other in pair)
    return Finding(value, "low_confidence" if doubts else "ok", "; ".join(doubts), marks, confidence)


def _endplate(found: Vertebra, facts: BoneFacts, name: str) -> Endplate:
    """Direction forwards from the corners, sideways from the faces of the endplate beside the middle plane."""
    section, body = found.section, found.body
    assert section is not None and body is not None
    corners = section.to_world(np.stack([body.corners[f"{name}_posterior"], body.corners[f"{name}_anterior"]]))
    forward = unit(corners[1] - corners[0])
    right = lateral(section)
    outward = np.cross(right, forward) * (1.0 if name == "superior" else -1.0)
    offset = facts.mesh.face_centres_mm - corners[0]
    depth = float(np.linalg.norm(corners[1] - corners[0]))
    along, side, height = offset @ forward, offset @ right, offset @ outward
    reach = HEIGHT_PART * float(np.linalg.norm(body.corners["superior_anterior"] - body.corners["inferior_anterior"]))
    chosen = facts.mesh.face_normals @ outward > FACING
    chosen &= (along > DEPTH_PART[0] * depth) & (along < DEPTH_PART[1] * depth)
    chosen &= (np.abs(side) < SIDE_PART * depth) & (np.abs(height) < reach)
    slope = _slope(along[chosen], side[chosen], height[chosen], facts.mesh.face_areas_mm2[chosen])
    return Endplate(corners.mean(axis=0), forward, unit(right + slope * outward))


def _slope(
    along: NDArray[np.float64], side: NDArray[np.float64], height: NDArray[np.float64], areas: NDArray[np.float64]
) -> float:
    """Rise of the endplate per mm to the right, by least absolute residuals beside a hollow in both directions."""
    if len(along) < 10:
        return 0.0
    scale = max(float(np.abs(side).max()), 1e-6)
    x, y = (along - along.mean()) / scale, side / scale
    matrix = np.column_stack([np.ones_like(x), x, y, x**2, y**2])
    share = areas
    for _ in range(ROUNDS):
        root = np.sqrt(share)
        found = np.linalg.lstsq(matrix * root[:, None], height * root, rcond=None)[0]
        share = areas / np.maximum(np.abs(height - matrix @ found), STEADY_MM)
    return float(found[2] / scale)
