"""The landmarks of the pelvis, each an extreme point of a region of the APP frame.

Regions are given in inter-ASIS distances, so they hold for any size of pelvis. Rules and constants
follow Fischer et al. 2019 (Sci Rep 9:8405) for ASIS, PSIS and the band of the AIIS; tubercle,
ischial spine and promontory are extreme points of their own regions. docs/morphometry.md says what was tuned on what.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.geometry.extremes import extreme_point
from boneray.geometry.lines import unit
from boneray.morphometry.pelvic_frame import (
    LATERAL,
    SIDES,
    AnteriorPlane,
    PelvicBones,
    PelvicFrame,
    Point,
    Surface,
    anterior_plane,
)

FULL_NAMES = {
    "ASIS": "anterior_superior_iliac_spine",
    "AIIS": "anterior_inferior_iliac_spine",
    "PSIS": "posterior_superior_iliac_spine",
    "PT": "pubic_tubercle",
    "IS": "ischial_spine",
    "SP": "sacral_promontory",
    "PS": "pubic_symphysis",
}
MOST_PSIS_SLOPE, PSIS_STEP_MM, PSIS_BOTTOM = 0.11, 2.0, 0.2
AIIS_BAND, AIIS_END = (0.45, 0.85), 0.06
IS_BAND, BAND_STEP, LEAST_BAND = (0.0, 0.5), 0.02, 0.1

# Where each landmark lies in an adult: right, front, up of the symphysis in inter-ASIS distances
# and the spread of that, rounded from the manual landmarks of 19 adults (facts/morphometry-reference.json).
PRIOR = {
    "ASIS": ((0.50, 0.00, 0.39), (0.02, 0.02, 0.055)),
    "AIIS": ((0.42, -0.075, 0.245), (0.025, 0.02, 0.035)),
    "PSIS": ((0.19, -0.62, 0.49), (0.03, 0.07, 0.045)),
    "PT": ((0.11, 0.00, 0.00), (0.015, 0.01, 0.01)),
    "IS": ((0.22, -0.465, 0.09), (0.03, 0.035, 0.03)),
    "SP": ((0.00, -0.29, 0.47), (0.03, 0.05, 0.075)),
}


def key(name: str, side: str) -> str:
    """Short name of a landmark of one side, `ASIS_left`."""
    return f"{name}_{side}"


def full_name(short: str) -> str:
    """The name in files: `ASIS_left` is `anterior_superior_iliac_spine_left`."""
    name, _, side = short.partition("_")
    return f"{FULL_NAMES[name]}_{side}" if side else FULL_NAMES[name]


def find_landmarks(bones: PelvicBones, axes: Point) -> tuple[PelvicFrame, dict[str, Point]] | None:
    """The APP frame reached from first axes and every landmark found in it by its short name, RAS mm.

    None if the bones span no plane. A landmark whose region holds no bone is left out.
    """
    plane = anterior_plane(bones, axes)
    if plane is None or plane.frame.height_mm <= 0:
        return None
    frame = plane.frame
    found: dict[str, Point] = {"PS": plane.symphysis_mm}
    found |= {key("ASIS", side): point for side, point in plane.spines.items()}
    for side in SIDES:
        found[key("PT", side)] = pubic_tubercle(bones, frame, side)
        found[key("IS", side)] = ischial_spine(bones, frame, side)
        found[key("AIIS", side)] = inferior_spine(bones, frame, side)
    found |= {key("PSIS", side): point for side, point in posterior_spines(bones, plane).items()}
    if bones.sacrum is not None:
        found["SP"] = promontory(bones.sacrum, frame, found, bones.depth_mm)
    return frame, {name: point for name, point in found.items() if np.isfinite(point).all()}


def pubic_tubercle(bones: PelvicBones, frame: PelvicFrame, side: str) -> Point:
    """The tip of the pubis in front, lateral and a little below; the foremost pubic point lies 15 mm medial of it."""
    lateral, front, up = _outwards(bones.hips[side], frame, side)
    region = (lateral > 0.07) & (lateral < 0.16) & (up > -0.06) & (up < 0.08) & (front > -0.12)
    return _tip(bones, side, region, _direction(frame, side, (0.5, 1.0, -0.4)))


def ischial_spine(bones: PelvicBones, frame: PelvicFrame, side: str) -> Point:
    """The tip of the ischium that points medially, backwards and a little up, below half the height of the ASIS.

    A tip on the upper or lower limit is no summit but the shoulder of what lies beyond, the lower
    end of the sacroiliac part for one: that limit moves in by 2 % until the tip leaves it.
    """
    lateral, front, up = _outwards(bones.hips[side], frame, side)
    region = (lateral > 0.14) & (lateral < 0.33) & (front < -0.30)
    height = up * frame.width_mm / frame.height_mm
    direction = _direction(frame, side, (-0.7, -1.0, 0.3))
    low, high = IS_BAND
    first = np.full(3, np.nan)
    while high - low > LEAST_BAND:
        tip = _tip(bones, side, region & (height > low) & (height < high), direction)
        if not np.isfinite(tip).all():
            break
        first = tip if np.isnan(first).any() else first
        at = float(frame.local(tip)[2]) / frame.height_mm
        if at > high - BAND_STEP:
            high -= BAND_STEP
        elif at < low + BAND_STEP:
            low += BAND_STEP
        else:
            return tip
    return first


def inferior_spine(bones: PelvicBones, frame: PelvicFrame, side: str) -> Point:
    """The point that stands out most, forwards, between 45 and 85 % of the height of the ASIS.

    The front edge climbs towards the ASIS there, so its foremost point is often its upper end. What
    stands out is measured across the chord between the foremost points of both ends of the edge.
    """
    hip = bones.hips[side]
    height = frame.local(hip.points_mm)[:, 2] / frame.height_mm
    low, high = AIIS_BAND
    lower, upper = (
        frame.local(_tip(bones, side, (height > start) & (height < start + AIIS_END), frame.axes[1]))
        for start in (low, high - AIIS_END)
    )
    chord = upper - lower
    direction = np.array([0.0, chord[2], -chord[1]]) @ frame.axes
    if not np.isfinite(direction).all() or np.linalg.norm(direction) < 1e-6:
        return np.full(3, np.nan)
    return _tip(bones, side, (height > low) & (height < high), direction)


def posterior_spines(bones: PelvicBones, plane: AnteriorPlane) -> dict[str, Point]:
    """The rearmost points of both hip bones seen along the plane of all four superior spines (SISP).

    The plane depends on the points and is rebuilt until they stay. Where one point lies so much
    lower than the other that it must be a spine further down, its side is searched again above it.
    """
    spines, frame = plane.spines, plane.frame
    front_middle = (spines["left"] + spines["right"]) / 2
    floor = dict.fromkeys(SIDES, PSIS_BOTTOM * frame.height_mm)
    backwards = -frame.axes[1]
    found: dict[str, Point] = {}
    for _ in range(60):
        before = found
        found = {side: _rearmost(bones, frame, side, floor[side], backwards) for side in SIDES}
        across = found["right"] - found["left"]
        if not np.isfinite(across).all():
            return found
        slope = unit(across) @ frame.axes[2]
        if abs(slope) > MOST_PSIS_SLOPE:
            lower = "left" if slope > 0 else "right"
            floor[lower] = float(frame.local(found[lower])[2]) + PSIS_STEP_MM
            continue
        if before and max(np.abs(found[side] - before[side]).max() for side in SIDES) < 1e-6:
            break
        back = (found["left"] + found["right"]) / 2 - front_middle
        backwards = unit(back - (back @ frame.axes[0]) * frame.axes[0])
    return found


def promontory(sacrum: Surface, frame: PelvicFrame, found: dict[str, Point], depth_mm: float) -> Point:
    """The foremost point of the upper half of the sacrum near its middle, laid into the mid-plane of the sacrum.

    In a body with a plane of symmetry the mean of x at any (y, z) lies on that plane, so regression
    of x on y and z finds it, also where the sacrum stands askew in the pelvis.
    """
    local = frame.local(sacrum.points_mm)
    root = np.sqrt(sacrum.areas_mm2)[:, None]
    terms = np.column_stack([np.ones(len(local)), local[:, 1:]])
    plane = np.linalg.lstsq(terms * root, local[:, 0] * root[:, 0], rcond=None)[0]
    posterior = [abs(frame.local(found[name])[0]) for name in (key("PSIS", side) for side in SIDES) if name in found]
    reach = 0.5 * float(np.mean(posterior)) if posterior else 0.1 * frame.width_mm
    upper = local[:, 2] > (local[:, 2].min() + local[:, 2].max()) / 2
    near = upper & (np.abs(local[:, 0] - terms @ plane) < reach)
    tip = frame.local(extreme_point(sacrum.points_mm[near], sacrum.areas_mm2[near], frame.axes[1], depth_mm=depth_mm))
    return frame.world((plane @ (1.0, tip[1], tip[2]), tip[1], tip[2]))


def deviations(frame: PelvicFrame, found: dict[str, Point]) -> dict[str, Point]:
    """How many spreads each landmark lies from where adults have it: right, front, up, (3,) without sign."""
    out = {}
    for short, point in found.items():
        name, _, side = short.partition("_")
        if name in PRIOR:
            place, spread = (np.array(values) for values in PRIOR[name])
            local = frame.local(point) / frame.width_mm * (LATERAL.get(side, 1.0), 1.0, 1.0)
            out[short] = np.abs((local - place) / spread)
    return out


def oddness(frame: PelvicFrame, found: dict[str, Point]) -> float:
    """The median over landmarks of their mean deviation; adults have 0.3 to 1.3, a wrong pose above 2."""
    return float(np.median([d.mean() for d in deviations(frame, found).values()]))


def _outwards(hip: Surface, frame: PelvicFrame, side: str) -> NDArray[np.float64]:
    """Lateral, front and up of the points of a hip bone in inter-ASIS distances, (3, n)."""
    return (frame.local(hip.points_mm) / frame.width_mm * (LATERAL[side], 1.0, 1.0)).T


def _direction(frame: PelvicFrame, side: str, outwards: tuple[float, float, float]) -> Point:
    """World direction of (lateral, front, up)."""
    return (np.array(outwards) * (LATERAL[side], 1.0, 1.0)) @ frame.axes


def _tip(bones: PelvicBones, side: str, region: NDArray[np.bool_], direction: Point) -> Point:
    """The extreme point of a region of a hip bone."""
    hip = bones.hips[side]
    return extreme_point(hip.points_mm[region], hip.areas_mm2[region], direction, depth_mm=bones.depth_mm)


def _rearmost(bones: PelvicBones, frame: PelvicFrame, side: str, floor_mm: float, backwards: Point) -> Point:
    hip = bones.hips[side]
    above = frame.local(hip.points_mm)[:, 2] > floor_mm
    return extreme_point(hip.points_mm[above], hip.areas_mm2[above], backwards, depth_mm=bones.depth_mm)
