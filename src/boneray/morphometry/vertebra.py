"""Measurements of one vertebra in its mid-sagittal section: heights, lengths, canal, process, deformity.

Definitions follow Di Angelo and Di Stefano 2015 (a computational method for the geometric
characterisation of vertebrae); the algorithm is our own: mirror plane, outlines, lines that touch
the rims. A height or length between corners is that of the straight walls; `contact` is that of the
bone itself, which lies inside of them where the rims are round.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import VERTEBRAE
from boneray.core.measurement import Landmark, Status
from boneray.geometry.lines import angle_deg
from boneray.morphometry.facts import BoneFacts
from boneray.morphometry.registry import Finding, Measure, measurement
from boneray.morphometry.vertebral_body import CORNERS, Body
from boneray.morphometry.vertebral_parts import ROUND, Vertebra, find_vertebra

SOURCE = "Di Angelo and Di Stefano 2015"
# Mean length of the endplates between which a vertebra of an adult is plausible, by region.
PLAUSIBLE_LENGTH_MM = {"C": (10.0, 27.0), "T": (14.0, 45.0), "L": (21.0, 52.0)}
NO_BODY = {"C1": "C1 has no body", "C2": "the dens is part of the body of C2"}
COARSE_MM = 2.6
GRADE_VOXEL_MM = 2.0
UNSTEADY_MM = 1.5
NEAR_BORDER_VOXELS = 2.0
UNLIKE_NEIGHBOURS = 0.4
NARROW_CANAL_MM = 7.0
USUAL_PROPORTION = (0.45, 1.25)
GRADES = (0.20, 0.25, 0.40)


def vertebral(
    name: str, summary: str, *, definition: str, normal: str = "", source: str = SOURCE
) -> Callable[[Measure], Measure]:
    """Decorator: a measurement of every vertebra; its unit is the last word of its name."""
    unit = name.rsplit("_", 1)[1]
    return measurement(
        name,
        summary,
        unit=unit,
        definition=definition,
        normal=normal,
        source=source,
        anatomy="vertebra",
        bones=VERTEBRAE,
    )


@vertebral(
    "anterior_body_height_mm",
    "AVBH, height of the anterior wall",
    definition="distance of the corners where the line of the anterior wall meets those of both endplates",
    normal="lumbar 25-30 mm, thoracic 17-24 mm",
)
def anterior_body_height_mm(facts: BoneFacts) -> Finding:
    """AVBH from corner to corner."""
    return _between(facts, "superior_anterior", "inferior_anterior")


@vertebral(
    "posterior_body_height_mm",
    "PVBH, height of the posterior wall",
    definition="distance of the corners where the line of the posterior wall meets those of both endplates",
    normal="lumbar 23-29 mm, thoracic 17-24 mm",
)
def posterior_body_height_mm(facts: BoneFacts) -> Finding:
    """PVBH from corner to corner."""
    return _between(facts, "superior_posterior", "inferior_posterior")


@vertebral(
    "superior_body_length_mm",
    "SVBL, length of the upper endplate",
    definition="distance of the corners where the line of the upper endplate meets those of both walls",
    normal="lumbar 30-36 mm",
)
def superior_body_length_mm(facts: BoneFacts) -> Finding:
    """SVBL from corner to corner."""
    return _between(facts, "superior_posterior", "superior_anterior")


@vertebral(
    "inferior_body_length_mm",
    "IVBL, length of the lower endplate",
    definition="distance of the corners where the line of the lower endplate meets those of both walls",
    normal="lumbar 30-36 mm",
)
def inferior_body_length_mm(facts: BoneFacts) -> Finding:
    """IVBL from corner to corner."""
    return _between(facts, "inferior_posterior", "inferior_anterior")


@vertebral(
    "anterior_contact_height_mm",
    "AVBH between points of the bone",
    definition="distance of the points of the outline nearest to the two anterior corners",
    normal="lumbar 25-30 mm, thoracic 17-24 mm",
)
def anterior_contact_height_mm(facts: BoneFacts) -> Finding:
    """AVBH as a reader who clicks on the bone has it."""
    return _between(facts, "superior_anterior", "inferior_anterior", contact=True)


@vertebral(
    "posterior_contact_height_mm",
    "PVBH between points of the bone",
    definition="distance of the points of the outline nearest to the two posterior corners",
    normal="lumbar 23-29 mm, thoracic 17-24 mm",
)
def posterior_contact_height_mm(facts: BoneFacts) -> Finding:
    """PVBH as a reader who clicks on the bone has it."""
    return _between(facts, "superior_posterior", "inferior_posterior", contact=True)


@vertebral(
    "superior_contact_length_mm",
    "SVBL between points of the bone",
    definition="distance of the points of the outline nearest to the two upper corners",
    normal="lumbar 30-36 mm",
)
def superior_contact_length_mm(facts: BoneFacts) -> Finding:
    """SVBL as a reader who clicks on the bone has it."""
    return _between(facts, "superior_posterior", "superior_anterior", contact=True)


@vertebral(
    "inferior_contact_length_mm",
    "IVBL between points of the bone",
    definition="distance of the points of the outline nearest to the two lower corners",
    normal="lumbar 30-36 mm",
)
def inferior_contact_length_mm(facts: BoneFacts) -> Finding:
    """IVBL as a reader who clicks on the bone has it."""
    return _between(facts, "inferior_posterior", "inferior_anterior", contact=True)


@vertebral(
    "middle_body_height_mm",
    "MVBH, height at half depth",
    definition="distance of upper and lower outline at half depth, at right angles to the mean endplate",
    normal="lumbar 23-28 mm",
)
def middle_body_height_mm(facts: BoneFacts) -> Finding:
    """MVBH, hollows of the endplates taken off."""
    found = facts.once(find_vertebra)
    if found.body is None or found.section is None or facts.bone in NO_BODY:
        return _no_body(facts, found)
    ends = found.section.to_world(found.body.middle)
    marks = _marks({"superior_middle": ends[0], "inferior_middle": ends[1]})
    return _finding(facts, found, found.body.middle_height_mm, marks)


@vertebral(
    "wedge_angle_deg",
    "angle between the endplates",
    definition="angle between the lines of upper and lower endplate, without sign",
    normal="L5 8-10 degrees, others below 8",
)
def wedge_angle_deg(facts: BoneFacts) -> Finding:
    """Wedge angle, 0 or more."""
    found = facts.once(find_vertebra)
    if found.body is None or facts.bone in NO_BODY:
        return _no_body(facts, found)
    angle = angle_deg(*(np.append(found.body.endplate(name), 0.0) for name in ("superior", "inferior")))
    return _finding(facts, found, angle, _corner_marks(found, *CORNERS))


@vertebral(
    "canal_length_mm",
    "VCL, depth of the spinal canal",
    definition="shortest distance from the posterior wall to lamina or spinous process in the mid-sagittal section",
    normal="lumbar 15-18 mm, thoracic 13-15 mm; stenosis below 12 mm",
)
def canal_length_mm(facts: BoneFacts) -> Finding:
    """VCL; not measurable where body and arch are one outline or the arch is missing."""
    found = facts.once(find_vertebra)
    if found.canal is None or found.section is None or facts.bone == "C1":
        return _no_arch(facts, found)
    ends = found.section.to_world(np.stack([found.canal.front, found.canal.back]))
    marks = _marks({"canal_front": ends[0], "canal_back": ends[1]})
    narrow = found.canal.length_mm < NARROW_CANAL_MM
    more = (f"a canal of {found.canal.length_mm:.1f} mm: partly filled?",) if narrow else ()
    return _finding(facts, found, found.canal.length_mm, marks, more)


@vertebral(
    "spinous_process_length_mm",
    "SPL, length of arch and spinous process",
    definition="extent of their outline along its main axis in the mid-sagittal section, lamina included",
    normal="lumbar 25-40 mm",
)
def spinous_process_length_mm(facts: BoneFacts) -> Finding:
    """SPL; the outline holds the lamina, 2-3 mm of the length."""
    found = facts.once(find_vertebra)
    if found.process is None or facts.bone == "C1":
        return _no_arch(facts, found)
    length = float(np.linalg.norm(found.process.tip - found.process.front))
    return _finding(facts, found, length, _process_marks(found))


@vertebral(
    "spinous_process_angle_deg",
    "SPA, slope of the spinous process",
    definition="angle of its main axis, backwards, to the line of the upper endplate, forwards; 180 is level with it",
    normal="90-180 degrees, depends on the level",
)
def spinous_process_angle_deg(facts: BoneFacts) -> Finding:
    """SPA; the axis points backwards by construction, so the angle does not fold over."""
    found = facts.once(find_vertebra)
    if found.process is None or facts.bone == "C1":
        return _no_arch(facts, found)
    if found.body is None or facts.bone in NO_BODY:
        return _no_body(facts, found)
    axis = found.process.tip - found.process.front
    angle = angle_deg(np.append(axis, 0.0), np.append(found.body.endplate("superior"), 0.0))
    stubby = found.process.elongation < ROUND
    more = (f"the process is as high as long (ratio {found.process.elongation:.1f})",) if stubby else ()
    marks = _process_marks(found) + _corner_marks(found, "superior_posterior", "superior_anterior")
    return _finding(facts, found, angle, marks, more)


@vertebral(
    "genant_grade",
    "deformity of the body, 0 to 3",
    definition="largest loss of anterior or middle height against the posterior one, or of posterior height against "
    "the neighbouring vertebrae; below 20 % is 0, to 25 % is 1, to 40 % is 2, above is 3",
    normal="0",
    source="after Genant et al. 1993, J Bone Miner Res 8:1137; from heights instead of by eye",
)
def genant_grade(facts: BoneFacts) -> Finding:
    """Genant-like grade; without neighbours a vertebra that lost all its heights alike is not noticed."""
    found = facts.once(find_vertebra)
    if found.body is None or facts.bone in NO_BODY:
        return _no_body(facts, found)
    posterior = _height(found.body, "posterior")
    losses = {
        "wedge": 1 - _height(found.body, "anterior") / posterior,
        "biconcave": 1 - found.body.middle_height_mm / posterior,
    }
    near = [_height(body, "posterior") for body in _neighbouring_bodies(facts)]
    if near:
        losses["crush"] = 1 - posterior / float(np.mean(near))
    kind, loss = max(losses.items(), key=lambda item: item[1])
    grade = float(np.searchsorted(GRADES, loss, side="right"))
    voxel = _voxel_mm(facts)
    more = [f"{kind}, {loss:.0%} lost"] if grade else []
    doubts = [f"voxels of {voxel:.1f} mm are too coarse to grade fractures"] if voxel > GRADE_VOXEL_MM else []
    finding = _finding(facts, found, grade, _corner_marks(found, *CORNERS), tuple(doubts))
    said = "; ".join([*more, *([finding.reason] if finding.reason else [])])
    return Finding(finding.value, finding.status, said, finding.landmarks, finding.confidence)


def _between(facts: BoneFacts, first: str, second: str, *, contact: bool = False) -> Finding:
    found = facts.once(find_vertebra)
    if found.body is None or facts.bone in NO_BODY:
        return _no_body(facts, found)
    points = found.body.contacts if contact else found.body.corners
    marks = _corner_marks(found, first, second, contact=contact)
    return _finding(facts, found, float(np.linalg.norm(points[first] - points[second])), marks)


def _finding(
    facts: BoneFacts, found: Vertebra, value: float, marks: tuple[Landmark, ...], more: tuple[str, ...] = ()
) -> Finding:
    """The value with every doubt; without it where the grid cuts the bone at the points it rests on."""
    cut = _cut_at(facts, marks)
    if cut:
        return Finding(None, "not_measurable", cut, marks)
    doubts = [*doubts_of(facts), *more]
    status: Status = "low_confidence" if doubts else "ok"
    return Finding(value, status, "; ".join(doubts), marks, confidence_of(facts, found))


def _bone_doubts(facts: BoneFacts, found: Vertebra) -> list[str]:
    doubts = []
    if facts.border:
        doubts.append(f"cut by the grid ({', '.join(facts.border)})")
    if _voxel_mm(facts) > COARSE_MM:
        doubts.append(f"voxels of {_voxel_mm(facts):.1f} mm")
    if found.body is None or facts.bone in NO_BODY:
        return doubts
    if found.body.spread_mm > UNSTEADY_MM:
        doubts.append(f"neighbouring sections differ by {found.body.spread_mm:.1f} mm")
    if not plausible(facts, found.body):
        low, high = PLAUSIBLE_LENGTH_MM[facts.bone[0]]
        length = _mean_length(found.body)
        doubts.append(
            f"scale_implausible: endplates {length:.0f} mm long, {low:.0f}-{high:.0f} mm expected; check the spacing"
        )
    share = _mean_height(found.body) / _mean_length(found.body)
    if not USUAL_PROPORTION[0] <= share <= USUAL_PROPORTION[1]:
        doubts.append(f"height is {share:.0%} of length: incomplete or badly broken")
    near = _neighbouring_bodies(facts)
    if near:
        usual = float(np.mean([_mean_height(body) for body in near]))
        if abs(_mean_height(found.body) / usual - 1) > UNLIKE_NEIGHBOURS:
            doubts.append(f"height {_mean_height(found.body):.0f} mm, that of its neighbours {usual:.0f} mm")
    return doubts


def _neighbouring_bodies(facts: BoneFacts) -> list[Body]:
    """The bodies of the vertebrae above and below that were measured with this one, are whole and plausible."""
    position = VERTEBRAE.index(facts.bone)
    names = [VERTEBRAE[n] for n in (position - 1, position + 1) if 0 <= n < len(VERTEBRAE)]
    bodies = []
    for name in names:
        if name in NO_BODY or name not in facts.siblings:
            continue
        found, _ = whole_body(facts.siblings[name])
        if found is not None and found.body is not None and plausible(facts.siblings[name], found.body):
            bodies.append(found.body)
    return bodies


def whole_body(facts: BoneFacts) -> tuple[Vertebra | None, str]:
    """The vertebra if its body was found and is not cut by the grid; else None and why not."""
    found = facts.once(find_vertebra)
    if found.body is None or facts.bone in NO_BODY:
        return None, f"{facts.bone}: {_no_body(facts, found).reason}"
    cut = _cut_at(facts, _corner_marks(found, *CORNERS))
    return (None, f"{facts.bone}: {cut}") if cut else (found, "")


def doubts_of(facts: BoneFacts) -> list[str]:
    """Every reason to trust the numbers of a vertebra less."""
    found = facts.once(find_vertebra)
    return [*found.doubts, *_bone_doubts(facts, found)]


def confidence_of(facts: BoneFacts, found: Vertebra) -> float:
    """Share kept, times what is left of 1 after the asymmetry (0 at 4 mm) and the spread of corners (0 at 3 mm)."""
    asymmetry = 0.0 if found.section is None else found.section.plane.residual_mm
    spread = 0.0 if found.body is None else found.body.spread_mm
    return float(facts.kept_share * np.clip(1 - asymmetry / 4, 0, 1) * np.clip(1 - spread / 3, 0, 1))


def _cut_at(facts: BoneFacts, marks: tuple[Landmark, ...]) -> str:
    """Says so if one of the points lies at a face of the grid that the bone touches."""
    if facts.grid is None or not facts.border:
        return ""
    index = facts.grid.to_index(np.array([mark.point_mm for mark in marks]))
    names = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    for axis, (low, high) in enumerate(names):
        if low in facts.border and index[:, axis].min() < NEAR_BORDER_VOXELS:
            return f"cut by the grid ({low})"
        if high in facts.border and index[:, axis].max() > facts.grid.shape[axis] - 1 - NEAR_BORDER_VOXELS:
            return f"cut by the grid ({high})"
    return ""


def _no_body(facts: BoneFacts, found: Vertebra) -> Finding:
    if facts.bone in NO_BODY:
        return Finding(None, "not_measurable", NO_BODY[facts.bone])
    if found.section is None:
        return Finding(None, "failed", found.failure)
    return Finding(None, "not_measurable", found.failure or "the body has no four walls")


def _no_arch(facts: BoneFacts, found: Vertebra) -> Finding:
    if facts.bone == "C1":
        return Finding(None, "not_measurable", NO_BODY["C1"])
    if found.section is None:
        return Finding(None, "failed", found.failure)
    return Finding(None, "not_measurable", found.failure or "no arch behind the body in the mid-sagittal section")


def _height(body: Body, wall: str) -> float:
    return float(np.linalg.norm(body.corners[f"superior_{wall}"] - body.corners[f"inferior_{wall}"]))


def _length(body: Body, plate: str) -> float:
    return float(np.linalg.norm(body.corners[f"{plate}_anterior"] - body.corners[f"{plate}_posterior"]))


def _mean_length(body: Body) -> float:
    return (_length(body, "superior") + _length(body, "inferior")) / 2


def plausible(facts: BoneFacts, body: Body) -> bool:
    """True if the endplates are as long as those of an adult in that region."""
    low, high = PLAUSIBLE_LENGTH_MM[facts.bone[0]]
    return low <= _mean_length(body) <= high


def _voxel_mm(facts: BoneFacts) -> float:
    """Mean edge of a voxel; 0 for a mesh."""
    return 0.0 if facts.grid is None else float(facts.grid.voxel_volume_mm3 ** (1 / 3))


def _mean_height(body: Body) -> float:
    return (_height(body, "anterior") + _height(body, "posterior")) / 2


def _corner_marks(found: Vertebra, *names: str, contact: bool = False) -> tuple[Landmark, ...]:
    if found.section is None or found.body is None:
        return ()
    points = found.body.contacts if contact else found.body.corners
    kind = "contact" if contact else "corner"
    return _marks({f"{name}_{kind}": found.section.to_world(points[name]) for name in names})


def _process_marks(found: Vertebra) -> tuple[Landmark, ...]:
    if found.section is None or found.process is None:
        return ()
    ends = found.section.to_world(np.stack([found.process.front, found.process.tip]))
    return _marks({"spinous_process_front": ends[0], "spinous_process_tip": ends[1]})


def _marks(points: dict[str, NDArray[np.float64]]) -> tuple[Landmark, ...]:
    return tuple(Landmark(name, (float(p[0]), float(p[1]), float(p[2]))) for name, p in points.items())
