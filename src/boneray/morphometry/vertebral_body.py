"""The four walls of a vertebral body in its mid-sagittal section, and the corners where they meet.

A wall is hollow between its rims, so a line fitted to its points lies inside of them. The line of a
wall is therefore the one that touches both rims from outside, as a ruler laid against the bone.
Rims are rounded; the corner where two lines meet lies in the air, its contact is the bone nearest
to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from boneray.geometry.outlines import Polygon, resampled

STEP_MM = 0.25
ROUNDS = 40
SETTLED = 1e-10
MIDDLE_MM = 1.5
CORNERS = ("superior_posterior", "superior_anterior", "inferior_posterior", "inferior_anterior")


@dataclass(frozen=True)
class Body:
    """Corners of a vertebral body in (forward, up) mm of its section.

    Attributes:
        forward: unit vector (2,) along the mean of both endplates.
        corners: where the lines of the walls meet, by CORNERS, (2,) each: medians over all sections.
        contacts: the points of the outline in the plane itself nearest to them.
        spread_mm: largest distance of a corner of one section from its median, over the middle half.
        middle_height_mm: from endplate to endplate at half depth, hollows taken off.
        middle: the points of the endplates there, upper first, (2, 2).
    """

    forward: NDArray[np.float64]
    corners: dict[str, NDArray[np.float64]]
    contacts: dict[str, NDArray[np.float64]]
    spread_mm: float
    middle_height_mm: float
    middle: NDArray[np.float64]

    def endplate(self, name: str) -> NDArray[np.float64]:
        """Unit vector (2,) of the superior or inferior endplate, forwards."""
        along = self.corners[f"{name}_anterior"] - self.corners[f"{name}_posterior"]
        return along / np.linalg.norm(along)


def find_body(outline: Polygon, beside: tuple[Polygon, ...]) -> Body | None:
    """The body from its outline in the plane and those beside it, in axes whose first points about forward.

    None if the outline is too thin to have four walls.
    """
    fine = resampled(outline, STEP_MM)
    forward = _turned_to_endplates(fine)
    frame = np.stack([forward, [-forward[1], forward[0]]])
    found = [_corners(resampled(other, STEP_MM) @ frame.T) for other in (outline, *beside)]
    if not np.isfinite(found[0]).all():
        return None
    kept = np.array([corners for corners in found if np.isfinite(corners).all()])
    middle = np.median(kept, axis=0)
    off = np.linalg.norm(kept - middle, axis=2)
    points = np.concatenate([resampled(other, STEP_MM) for other in (outline, *beside)]) @ frame.T
    ends = _middle(points, middle)
    corners = middle @ frame
    nearest = fine[cKDTree(fine).query(corners)[1]]
    return Body(
        forward,
        dict(zip(CORNERS, corners, strict=True)),
        dict(zip(CORNERS, nearest, strict=True)),
        float(np.quantile(off, 0.5, axis=0).max()),
        float(ends[0, 1] - ends[1, 1]),
        ends @ frame,
    )


def supporting_line(along: NDArray[np.float64], outward: NDArray[np.float64]) -> tuple[float, float]:
    """Offset and slope of the line outward = offset + slope * along that touches points (n,) from outside, over
    the middle of their extent: the edge of their convex hull there."""
    middle = (along.min() + along.max()) / 2
    near = along < middle
    slope = 0.0
    first = last = 0
    for _ in range(ROUNDS):
        height = outward - slope * along
        first = int(np.where(near, height, -np.inf).argmax())
        last = int(np.where(near, -np.inf, height).argmax())
        run = along[last] - along[first]
        steeper = (outward[last] - outward[first]) / run if run > 0 else np.nan
        if not np.isfinite(steeper) or abs(steeper - slope) < SETTLED:
            break
        slope = float(steeper)
    return float(outward[first] - slope * along[first]), slope


def _turned_to_endplates(outline: Polygon) -> NDArray[np.float64]:
    """Unit vector (2,) midway between the lines of both endplates."""
    forward = np.array([1.0, 0.0])
    for _ in range(ROUNDS):
        frame = np.stack([forward, [-forward[1], forward[0]]])
        along, up = (outline @ frame.T).T
        turn = (np.arctan(supporting_line(along, up)[1]) - np.arctan(supporting_line(along, -up)[1])) / 2
        forward = np.cos(turn) * frame[0] + np.sin(turn) * frame[1]
        if abs(turn) < SETTLED:
            break
    return forward


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners (4, 2) of one outline in the frame of its endplates, in the order of CORNERS."""
    along, up = points.T
    upper, lower = supporting_line(along, up), supporting_line(along, -up)
    front, back = supporting_line(up, along), supporting_line(up, -along)
    plates = (upper, (-lower[0], -lower[1]))
    walls = ((-back[0], -back[1]), front)
    return np.array([_crossing(plate, wall) for plate in plates for wall in walls])


def _crossing(plate: tuple[float, float], wall: tuple[float, float]) -> tuple[float, float]:
    """Where up = a + b * along meets along = c + d * up."""
    (a, b), (c, d) = plate, wall
    if abs(1 - b * d) < 0.2:
        return np.nan, np.nan
    up = (a + b * c) / (1 - b * d)
    return c + d * up, up


def _middle(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the upper and the lower endplate at half depth, (2, 2): medians over 3 mm of depth."""
    ends = []
    for pair, sign in ((corners[:2], 1.0), (corners[2:], -1.0)):
        depth, height = pair.mean(axis=0)
        there = np.abs(points[:, 0] - depth) < MIDDLE_MM
        there &= sign * (points[:, 1] - corners[:, 1].mean()) > 0
        ends.append([depth, float(np.median(points[there, 1])) if there.any() else height])
    return np.array(ends)
