"""The posterior condylar line of a whole femur, against which the version of the neck is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.mesh import Mesh
from boneray.geometry.extremes import extreme_point, vertex_areas_mm2
from boneray.geometry.lines import unit
from boneray.morphometry.femoral_shaft import Shaft

DISTAL_SHARE, MIDDLE_SHARE = 0.16, (0.35, 0.65)
LEAST_WIDENING, LEAST_RISE_MM = 1.7, 8.0
LEVEL_MM, DEPTH_MM = 3.0, 1.0


@dataclass(frozen=True, eq=False)
class Condyles:
    """The rearmost points of both condyles.

    Attributes:
        medial_mm, lateral_mm: on the side of the head and on the other side, (3,) RAS mm.
        front: unit direction at right angles to the shaft axis and to the line between them, (3,).
    """

    medial_mm: NDArray[np.float64]
    lateral_mm: NDArray[np.float64]
    front: NDArray[np.float64]


def find_condyles(mesh: Mesh, shaft: Shaft, head_mm: NDArray[np.float64]) -> Condyles | str:
    """The condyles at the lower end of a whole femur, or why there are none.

    The condyles lie behind the line of the shaft, which gives a first backward direction. Of each
    half of the lower end the rearmost point is taken, and the line through both gives the next
    direction, until it stays. A femur that ends above its condyles is widest at its very end.
    """
    axis = shaft.axis.direction
    along = shaft.axis.along_mm(mesh.vertices_mm)
    bottom, length = float(along.min()), float(np.ptp(along))
    distal = along < bottom + DISTAL_SHARE * length
    points, areas = mesh.vertices_mm[distal], vertex_areas_mm2(mesh)[distal]
    offset = points - shaft.axis.point_mm
    offset = offset - np.outer(offset @ axis, axis)
    back = areas @ offset / areas.sum()
    if np.linalg.norm(back) < 1e-6:
        return "the lower end lies evenly about the shaft axis; it has no back"
    back = unit(back)
    problem = _not_a_knee(mesh, along, np.cross(axis, back), bottom, length)
    if problem:
        return problem
    for _ in range(20):
        across = np.cross(axis, back)
        side = offset @ across
        middle = (side.min() + side.max()) / 2
        ends = [
            extreme_point(points[half], areas[half], back, depth_mm=DEPTH_MM) for half in (side > middle, side < middle)
        ]
        line = ends[0] - ends[1]
        line = unit(line - axis * (line @ axis))
        better = np.cross(line, axis)
        stays = float(np.linalg.norm(better - back)) < 1e-9
        back = better
        if stays:
            break
    medially = (head_mm - shaft.axis.point_mm) @ line
    medial, lateral = ends if medially > 0 else ends[::-1]
    return Condyles(medial, lateral, -back)


def _not_a_knee(
    mesh: Mesh, along: NDArray[np.float64], across: NDArray[np.float64], bottom: float, length: float
) -> str:
    """Why the lower end is no pair of condyles; empty if it may be."""
    side = mesh.vertices_mm @ across
    level = np.floor((along - bottom) / LEVEL_MM).astype(int)
    count = int(level.max()) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, level, side)
    np.maximum.at(high, level, side)
    width = np.where(high > low, high - low, 0.0)
    height = (np.arange(count) + 0.5) * LEVEL_MM
    middle = width[(height > MIDDLE_SHARE[0] * length) & (height < MIDDLE_SHARE[1] * length)]
    end = height < DISTAL_SHARE * length
    widest = int(np.argmax(np.where(end, width, 0.0)))
    narrow = float(np.median(middle))
    if width[widest] < LEAST_WIDENING * narrow:
        return f"no condyles: the lower end is {width[widest]:.0f} mm wide on a shaft of {narrow:.0f} mm"
    if height[widest] < LEAST_RISE_MM:
        return "no condyles: the bone is widest at its lower end, so it is cut there"
    return ""
