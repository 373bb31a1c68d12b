"""Measurements of one rib along its centreline: length, chord, area, tilt and curvature.

The line ends at the centres of the rib's round ends, so a rod of length L with half balls at both
ends measures L. Which end is the head comes from the patient's frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import RIBS, bone_side
from boneray.core.measurement import Landmark
from boneray.geometry.centrelines import Centreline, centreline, mesh_centreline
from boneray.geometry.lines import axis_angle_deg
from boneray.morphometry.facts import TRUSTED_SHARE, BoneFacts
from boneray.morphometry.registry import Finding, Measure, measurement

SOURCE = "facts: morphometry, section 5"
# Arc lengths of ribs 1-12 of the phantom's typical chest; no published table was at hand, so the window is wide.
USUAL_LENGTH_MM = (106, 165, 211, 245, 267, 277, 279, 260, 231, 198, 132, 83)
PLAUSIBLE_FACTOR = (0.6, 1.8)
PLAUSIBLE_RADIUS_MM = (2.2, 9.0)
NEAR_BORDER_VOXELS = 2.0
WRONG_WAY = 0.2
STRAIGHT_MM = 3.0
ARC_MM = 20.0
SHARP_PER_MM = 1 / 14


@dataclass(frozen=True)
class Rib:
    """The centreline of a rib from its head to its front end, and the reasons to doubt it.

    Attributes:
        line: None if there is none; then `failure` says why.
        points_mm: (n, 3) RAS mm, head first.
    """

    line: Centreline | None
    points_mm: NDArray[np.float64]
    failure: str = ""
    doubts: tuple[str, ...] = ()


def costal(name: str, summary: str, *, unit: str, definition: str, normal: str = "") -> Callable[[Measure], Measure]:
    """Decorator: a measurement of every rib."""
    return measurement(
        name, summary, unit=unit, definition=definition, normal=normal, source=SOURCE, anatomy="ribs", bones=RIBS
    )


@costal(
    "rib_arc_length_mm",
    "length along the rib",
    unit="mm",
    definition="length of the centreline between the centres of its round ends",
)
def rib_arc_length_mm(facts: BoneFacts) -> Finding:
    """Arc length; the two end caps, one radius each, are not counted."""
    rib = facts.once(find_rib)
    return _finding(facts, rib, rib.line.length_mm) if rib.line else _without(rib)


@costal(
    "rib_chord_mm",
    "distance of the ends of the rib",
    unit="mm",
    definition="straight distance of the two ends of the centreline",
)
def rib_chord_mm(facts: BoneFacts) -> Finding:
    """Chord of the centreline."""
    rib = facts.once(find_rib)
    return _finding(facts, rib, rib.line.chord_mm) if rib.line else _without(rib)


@costal(
    "rib_arc_over_chord_percent",
    "how much longer the rib is than its chord",
    unit="percent",
    definition="arc length over chord; 100 for a straight rib, 157 for half a circle",
)
def rib_arc_over_chord_percent(facts: BoneFacts) -> Finding:
    """Arc over chord in percent."""
    rib = facts.once(find_rib)
    return _finding(facts, rib, 100 * rib.line.length_mm / rib.line.chord_mm) if rib.line else _without(rib)


@costal(
    "rib_area_mm2",
    "area between the rib and its chord",
    unit="mm2",
    definition="area of the polygon of centreline and chord, projected onto the plane that fits the line best",
)
def rib_area_mm2(facts: BoneFacts) -> Finding:
    """Area under the rib; loops to the other side of the chord count negative."""
    rib = facts.once(find_rib)
    if rib.line is None:
        return _without(rib)
    middle, axes, _ = _plane(rib.points_mm)
    x, y = ((rib.points_mm - middle) @ axes[:2].T).T
    return _finding(facts, rib, abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2)


@costal(
    "rib_plane_tilt_deg",
    "tilt of the rib against the transverse plane",
    unit="deg",
    definition="acute angle between the plane that fits the centreline best and the transverse plane of the patient",
)
def rib_plane_tilt_deg(facts: BoneFacts) -> Finding:
    """Tilt, 0-90; a nearly straight rib has no plane."""
    rib = facts.once(find_rib)
    if rib.line is None:
        return _without(rib)
    _, axes, spread = _plane(rib.points_mm)
    if spread[1] < STRAIGHT_MM:
        return Finding(None, "not_measurable", f"nearly straight: {spread[1]:.1f} mm off its chord (rms)", _marks(rib))
    return _finding(facts, rib, axis_angle_deg(axes[2], (0.0, 0.0, 1.0)))


@costal(
    "rib_max_curvature_per_m",
    "sharpest bend of the rib",
    unit="per_m",
    definition="largest curvature of circles through three points of the centreline 20 mm apart along it",
)
def rib_max_curvature_per_m(facts: BoneFacts) -> Finding:
    """Largest 1 / radius over 40 mm of the line, with the place."""
    rib = facts.once(find_rib)
    if rib.line is None:
        return _without(rib)
    bend = _bends(rib.points_mm)
    if len(bend) == 0:
        return Finding(None, "not_measurable", f"{rib.line.length_mm:.0f} mm long, {2 * ARC_MM:.0f} mm needed")
    sharpest = int(bend.argmax())
    place = rib.points_mm[(len(rib.points_mm) - len(bend)) // 2 + sharpest]
    return _finding(facts, rib, 1000 * float(bend[sharpest]), (Landmark("rib_sharpest_bend", tuple(place.tolist())),))


def circle_curvature(
    before: NDArray[np.float64], here: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 / radius, per mm, of the circles through three points (n, 3) each: 4 area / product of the sides."""
    a, b, c = here - before, after - here, after - before
    area = np.linalg.norm(np.cross(a, b), axis=1) / 2
    sides = [np.linalg.norm(side, axis=1) for side in (a, b, c)]
    return 4 * area / np.maximum(np.prod(sides, axis=0), 1e-12)


def _bends(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Curvature per mm at every point of a line that has 20 mm of it to both sides."""
    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    step = max(1, round(ARC_MM * (len(points) - 1) / max(length, 1e-9)))
    if len(points) < 2 * step + 1:
        return np.zeros(0)
    return circle_curvature(points[: -2 * step], points[step:-step], points[2 * step :])


def find_rib(facts: BoneFacts) -> Rib:
    """The centreline of a rib, head first, with every reason to doubt it."""
    line = mesh_centreline(facts.mesh) if facts.mask is None else centreline(facts.mask)
    if line is None:
        return Rib(None, np.zeros((0, 3)), "too few voxels, not longer than thrice its radius, or a sponge: no line")
    outwards = -1.0 if bone_side(facts.bone) == "left" else 1.0
    way = line.points_mm[-1] - line.points_mm[0]
    points = line.points_mm if way[1] + outwards * way[0] >= 0 else line.points_mm[::-1]
    return Rib(line, points, doubts=tuple(_doubts(facts, line, points, outwards)))


def _doubts(facts: BoneFacts, line: Centreline, points: NDArray[np.float64], outwards: float) -> list[str]:
    doubts = []
    if line.kept_share < TRUSTED_SHARE:
        doubts.append(f"the line holds only {line.kept_share:.0%} of the bone")
    if line.parts > 1:
        doubts.append(f"joined from {line.parts} parts")
    if facts.border:
        doubts.append(f"cut by the grid ({', '.join(facts.border)})")
    if facts.grid is not None and max(facts.grid.spacing_mm) > line.radius_mm:
        doubts.append(f"voxels of {max(facts.grid.spacing_mm):.1f} mm, the rib's radius is {line.radius_mm:.1f} mm")
    chord = points[-1] - points[0]
    length = float(np.linalg.norm(chord))
    bow = points[len(points) // 2] - (points[0] + points[-1]) / 2
    if outwards * bow[0] < -WRONG_WAY * length:
        doubts.append(f"frame_implausible: {facts.bone} bows towards the other side by the header; check the header")
    if chord[2] > WRONG_WAY * length:
        doubts.append(f"frame_implausible: {facts.bone} rises to the front by the header; check the header")
    bend = _bends(points)
    if len(bend) and bend.max() > SHARP_PER_MM:
        doubts.append(f"a bend of {1 / bend.max():.0f} mm radius, as beside an implant or a break")
    doubts += _scale_doubts(facts, line)
    return doubts


def _scale_doubts(facts: BoneFacts, line: Centreline) -> list[str]:
    low, high = PLAUSIBLE_RADIUS_MM
    if not low <= line.radius_mm <= high:
        return [f"scale_implausible: radius {line.radius_mm:.1f} mm, {low}-{high} mm expected; check the spacing"]
    usual = USUAL_LENGTH_MM[int(facts.bone.rsplit("_", 1)[1]) - 1]
    low, high = (factor * usual for factor in PLAUSIBLE_FACTOR)
    if line.length_mm > high or (line.length_mm < low and not facts.border):
        return [
            f"scale_implausible: {line.length_mm:.0f} mm long, {low:.0f}-{high:.0f} mm expected; "
            "the rib is incomplete or the spacing wrong"
        ]
    return []


def _finding(facts: BoneFacts, rib: Rib, value: float, extra: tuple[Landmark, ...] = ()) -> Finding:
    assert rib.line is not None
    cut = _cut_end(facts, rib.points_mm[[0, -1]], rib.line.radius_mm)
    marks = _marks(rib) + extra
    if cut:
        return Finding(None, "not_measurable", f"an end is cut by the grid ({cut})", marks)
    confidence = rib.line.kept_share / rib.line.parts
    return Finding(value, "low_confidence" if rib.doubts else "ok", "; ".join(rib.doubts), marks, confidence)


def _without(rib: Rib) -> Finding:
    return Finding(None, "not_measurable", rib.failure)


def _cut_end(facts: BoneFacts, ends: NDArray[np.float64], radius_mm: float) -> str:
    """The face of the grid within a radius and two voxels of an end, if the bone touches it."""
    if facts.grid is None or not facts.border:
        return ""
    index = facts.grid.to_index(ends)
    reach = radius_mm / np.array(facts.grid.spacing_mm) + NEAR_BORDER_VOXELS
    names = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    for axis, (low, high) in enumerate(names):
        if low in facts.border and index[:, axis].min() < reach[axis]:
            return low
        if high in facts.border and index[:, axis].max() > facts.grid.shape[axis] - 1 - reach[axis]:
            return high
    return ""


def _plane(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Middle (3,), axes as rows (3, 3), normal last, and root mean square spread along them in mm (3,)."""
    middle = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - middle, full_matrices=False)
    return middle, axes, sizes / np.sqrt(len(points))


def _marks(rib: Rib) -> tuple[Landmark, ...]:
    if len(rib.points_mm) == 0:
        return ()
    chord = rib.points_mm[-1] - rib.points_mm[0]
    offset = rib.points_mm - rib.points_mm[0]
    off = offset - np.multiply.outer(offset @ chord / max(float(chord @ chord), 1e-12), chord)
    apex = rib.points_mm[int(np.linalg.norm(off, axis=1).argmax())]
    named = {"rib_head": rib.points_mm[0], "rib_apex": apex, "rib_front": rib.points_mm[-1]}
    return tuple(Landmark(name, tuple(point.tolist())) for name, point in named.items())
