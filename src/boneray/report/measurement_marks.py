"""The lines, planes and circles that a measurement's landmarks span, in the world, before they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from boneray.core.measurement import Measurement
from boneray.geometry.lines import unit
from boneray.report.tables import readable

Points = Mapping[str, NDArray[np.float64]]
WHOLE = ("mm2", "mm3", "grade")
UNIT_TEXTS = {"deg": "°", "percent": " %", "per_m": " /m", "grade": "", "mm2": " sq mm", "mm3": " cu mm"}
SAME_SHARE, SAME_MM, EXACT_MM = 0.02, 0.3, 0.01
PARALLEL = 0.999
BEYOND = 0.15

# Lines through two landmarks, drawn a little beyond them.
AXES = {"condylar line": ("posterior_condyle_medial", "posterior_condyle_lateral")}
SHAFT, NECK = ("shaft_proximal", "shaft_distal"), ("femoral_head_centre", "neck_centre")
NECK_SHAFT_ANGLE = "neck_shaft_angle_deg"
PELVIC_ENDS = ("anterior_superior_iliac_spine", "posterior_superior_iliac_spine")
BALL = ("femoral_head_radius_mm", "femoral_head_centre")
OFFSET = ("femoral_offset_mm", "femoral_head_centre", "shaft_proximal", "shaft_distal")


@dataclass(frozen=True)
class Figure:
    """A line, plane or ball to draw: points (n, 3) RAS mm, a ball's being its centre."""

    kind: Literal["line", "plane", "ball"]
    title: str
    points: NDArray[np.float64]
    radius_mm: float = 0.0


def value_text(measurement: Measurement) -> str:
    """`neck shaft angle 127.3°`."""
    return f"{short_title(measurement)} {number_with_unit(measurement)}"


def short_title(measurement: Measurement) -> str:
    """The name in words, without its unit."""
    name, unit_word = measurement.name, measurement.unit
    return readable(name if unit_word == "grade" else name.removesuffix(f"_{unit_word}"))


def number_with_unit(measurement: Measurement) -> str:
    """The value with its unit, in letters that every font has; a dash where there is none."""
    if measurement.value is None:
        return "-"
    text = f"{measurement.value:.{0 if measurement.unit in WHOLE else 1}f}"
    return text + UNIT_TEXTS.get(measurement.unit, f" {measurement.unit}")


def points_of(measurements: Sequence[Measurement]) -> dict[str, NDArray[np.float64]]:
    """Every landmark once, by name."""
    return {mark.name: np.array(mark.point_mm) for m in measurements for mark in m.landmarks}


def figures_of(measurements: Sequence[Measurement]) -> list[Figure]:
    """All that can be drawn of the measurements of one bone.

    A length that is the distance of two of its landmarks is the line between them; axes, planes and
    the head's ball come from the names of landmarks.
    """
    points = points_of(measurements)
    found = [*_planes(points), *_balls(measurements, points)]
    for title, (first, second) in AXES.items():
        if first in points and second in points:
            step = BEYOND * (points[second] - points[first])
            found.append(Figure("line", title, np.stack([points[first] - step, points[second] + step])))
    found += _femoral_axes(measurements, points)
    found += _offset(measurements, points)
    drawn = {figure.title for figure in found}
    return found + [figure for m in measurements for figure in _length(m) if figure.title not in drawn]


def _length(measurement: Measurement) -> list[Figure]:
    """The line between the two of its landmarks that are as far apart as a length says."""
    value = measurement.value
    if measurement.unit != "mm" or value is None:
        return []
    near = []
    for first, second in combinations([np.array(mark.point_mm) for mark in measurement.landmarks], 2):
        off = abs(float(np.linalg.norm(first - second)) - value)
        if off <= (max(SAME_MM, SAME_SHARE * value) if len(measurement.landmarks) == 2 else EXACT_MM):
            near.append((off, Figure("line", value_text(measurement), np.stack([first, second]))))
    return [min(near, key=lambda pair: pair[0])[1]] if near else []


def _planes(points: Points) -> list[Figure]:
    """The anterior pelvic plane and that of the superior iliac spines."""
    front, back = ([points.get(_sided(name, side)) for side in ("left", "right")] for name in PELVIC_ENDS)
    symphysis = next((point for name, point in points.items() if "symphysis" in name), None)
    out = []
    if front[0] is not None and front[1] is not None:
        if symphysis is not None:
            out.append(Figure("plane", "anterior pelvic plane (APP)", np.stack([front[0], front[1], symphysis])))
        if back[0] is not None and back[1] is not None:
            corners = np.stack([front[0], front[1], back[1], back[0]])
            out.append(Figure("plane", "superior iliac spine plane (SISP)", corners))
    return out


def _sided(name: str, side: str) -> str:
    return f"{name}_{side}"


def _balls(measurements: Sequence[Measurement], points: Points) -> list[Figure]:
    name, centre = BALL
    radius = next((m for m in measurements if m.name == name and m.value is not None), None)
    if radius is None or radius.value is None or centre not in points:
        return []
    return [Figure("ball", value_text(radius), points[centre][None], radius.value)]


def _femoral_axes(measurements: Sequence[Measurement], points: Points) -> list[Figure]:
    """The axes of shaft and neck, led on to where they come nearest to each other."""
    if not set(SHAFT) <= set(points):
        return []
    top, bottom = (points[name] for name in SHAFT)
    up = unit(top - bottom)
    below = bottom - BEYOND * (top - bottom)
    if not set(NECK) <= set(points):
        return [Figure("line", "shaft axis", np.stack([top + BEYOND * (top - bottom), below]))]
    head, middle = (points[name] for name in NECK)
    along = unit(middle - head)
    offset, cosine = top - head, float(up @ along)
    if abs(cosine) > PARALLEL:
        return []
    on_neck = float(offset @ along - cosine * (offset @ up)) / (1 - cosine**2)
    on_shaft = float(cosine * (offset @ along) - offset @ up) / (1 - cosine**2)
    angle = next((m for m in measurements if m.name == NECK_SHAFT_ANGLE and m.value is not None), None)
    named = "neck axis" if angle is None else f"neck axis, {value_text(angle)}"
    return [
        Figure("line", "shaft axis", np.stack([top + on_shaft * up, below])),
        Figure("line", named, np.stack([head, head + on_neck * along])),
    ]


def _offset(measurements: Sequence[Measurement], points: Points) -> list[Figure]:
    """The perpendicular from the head centre to the shaft axis."""
    name, *marks = OFFSET
    offset = next((m for m in measurements if m.name == name and m.value is not None), None)
    if offset is None or not set(marks) <= set(points):
        return []
    centre, first, second = (points[mark] for mark in marks)
    axis = unit(second - first)
    foot = first + axis * ((centre - first) @ axis)
    return [Figure("line", value_text(offset), np.stack([centre, foot]))]
