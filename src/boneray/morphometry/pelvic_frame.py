"""The frame of the anterior pelvic plane (APP), found by repeating: extreme points, plane, extreme points.

The plane goes through both anterior superior iliac spines and the symphysis. Its own axes tell
which points are the most anterior ones, so it is found by repetition, from the patient's axes or,
where the pose is not known, from each of the 24 ways to lay the principal axes of the bones along
right, front and up. Left and right come from the names of the hip bones, never from their shape.

Source: Fischer et al. 2019, Sci Rep 9:8405, iterated anterior pelvic plane; the start from 24 poses
and the search for the symphysis are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from boneray.core.mesh import Mesh
from boneray.geometry.extremes import extreme_point, vertex_areas_mm2
from boneray.geometry.lines import unit

Point = NDArray[np.float64]

MOST_ROUNDS, SAME_AXES = 60, 1e-9
CLOSEST_PAIRS = 25
SIDES = ("left", "right")
LATERAL = {"left": -1.0, "right": 1.0}


@dataclass(frozen=True, eq=False)
class Surface:
    """The points of one bone, (n, 3) RAS mm, and the area that belongs to each, (n,)."""

    points_mm: Point
    areas_mm2: Point

    @classmethod
    def of(cls, mesh: Mesh) -> Surface:
        """The vertices of a mesh."""
        return cls(mesh.vertices_mm, vertex_areas_mm2(mesh))

    def mirrored(self) -> Surface:
        """The same surface reflected in the plane x = 0."""
        return Surface(self.points_mm * (-1.0, 1.0, 1.0), self.areas_mm2)

    def thinned(self, count: int) -> Surface:
        """About `count` of the points, evenly picked."""
        step = max(1, len(self.points_mm) // count)
        return Surface(self.points_mm[::step], self.areas_mm2[::step])


@dataclass(frozen=True, eq=False)
class PelvicBones:
    """Both hip bones, perhaps the sacrum, and how deep below a summit its points are averaged."""

    hips: dict[str, Surface]
    sacrum: Surface | None
    depth_mm: float

    def mirrored(self) -> PelvicBones:
        """The same bones reflected in the plane x = 0, with their names kept."""
        hips = {side: hip.mirrored() for side, hip in self.hips.items()}
        return PelvicBones(hips, None if self.sacrum is None else self.sacrum.mirrored(), self.depth_mm)

    def thinned(self, count: int) -> PelvicBones:
        """The same bones with about `count` points each; good enough to tell poses apart."""
        hips = {side: hip.thinned(count) for side, hip in self.hips.items()}
        return PelvicBones(hips, None if self.sacrum is None else self.sacrum.thinned(count), self.depth_mm)


@dataclass(frozen=True, eq=False)
class PelvicFrame:
    """A frame of the pelvis.

    Attributes:
        origin_mm: (3,) RAS mm; the symphysis for the APP.
        axes: rows are the pelvis's own right, front and up, (3, 3), right-handed.
        width_mm: distance of the anterior superior iliac spines, the unit of the pelvis.
        height_mm: mean height of these spines above the origin.
    """

    origin_mm: Point
    axes: Point
    width_mm: float
    height_mm: float

    def local(self, points_mm: ArrayLike) -> Point:
        """Coordinates (right, front, up) in mm of world points (..., 3)."""
        return (np.asarray(points_mm, dtype=float) - self.origin_mm) @ self.axes.T

    def world(self, local_mm: ArrayLike) -> Point:
        """World points of coordinates (..., 3)."""
        return np.asarray(local_mm, dtype=float) @ self.axes + self.origin_mm


@dataclass(frozen=True, eq=False)
class AnteriorPlane:
    """The APP with the points that span it, RAS mm; `spines` by side."""

    frame: PelvicFrame
    spines: dict[str, Point]
    symphysis_mm: Point


def anterior_plane(bones: PelvicBones, axes: Point) -> AnteriorPlane | None:
    """The APP reached from first axes (rows right, front, up), or None if the points span no plane."""
    joint = symphyseal_gap(bones)
    plane, seen = None, [axes]
    for _ in range(MOST_ROUNDS):
        plane = _next_plane(bones, seen[-1], joint)
        if plane is None or any(np.abs(plane.frame.axes - before).max() < SAME_AXES for before in seen):
            return plane
        seen.append(plane.frame.axes)
    return plane


def symphyseal_gap(bones: PelvicBones) -> Point:
    """Where both hip bones come closest, (3,): the mean middle of the closest pairs of points, either way."""
    left, right = (bones.hips[side].points_mm for side in SIDES)
    return (_closest_middle(left, right) + _closest_middle(right, left)) / 2


def _closest_middle(first: Point, second: Point) -> Point:
    distance, partner = cKDTree(second).query(first)
    closest = np.argsort(distance, kind="stable")[:CLOSEST_PAIRS]
    return np.asarray((first[closest] + second[partner[closest]]).mean(axis=0) / 2)


def unknown_pose_axes(bones: PelvicBones) -> Iterator[Point]:
    """The proper ways to lay the principal axes of the bones along right, front and up, (3, 3) each.

    Ways that put the left hip bone on the right are left out.
    """
    surfaces = [*bones.hips.values(), *([bones.sacrum] if bones.sacrum else [])]
    points = np.concatenate([s.points_mm for s in surfaces])
    areas = np.concatenate([s.areas_mm2 for s in surfaces])
    centred = points - areas @ points / areas.sum()
    principal = np.linalg.eigh((centred * areas[:, None]).T @ centred)[1].T
    middle = {side: hip.areas_mm2 @ hip.points_mm / hip.areas_mm2.sum() for side, hip in bones.hips.items()}
    to_right = middle["right"] - middle["left"]
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            axes = principal[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(axes) > 0 and axes[0] @ to_right > 0:
                yield axes


def _next_plane(bones: PelvicBones, axes: Point, joint: Point) -> AnteriorPlane | None:
    local = {side: hip.points_mm @ axes.T for side, hip in bones.hips.items()}
    level = np.mean([p[(LATERAL[side] * p[:, 0]).argmax(), 2] for side, p in local.items()])
    bottom = np.mean([p[:, 2].min() for p in local.values()])
    split = (level + bottom) / 2
    spines, pubis = {}, {}
    for side, points in local.items():
        upper = points[:, 2] > split
        spines[side] = _foremost(bones, side, upper, axes)
        pubis[side] = _foremost(bones, side, ~upper, axes)
    along = pubis["right"] - pubis["left"]
    share = (joint - pubis["left"]) @ along / max(float(along @ along), 1e-9)
    return _plane(spines, pubis["left"] + share * along)


def _foremost(bones: PelvicBones, side: str, chosen: NDArray[np.bool_], axes: Point) -> Point:
    hip = bones.hips[side]
    return extreme_point(hip.points_mm[chosen], hip.areas_mm2[chosen], axes[1], depth_mm=bones.depth_mm)


def _plane(spines: dict[str, Point], symphysis_mm: Point) -> AnteriorPlane | None:
    across = spines["right"] - spines["left"]
    upward = (spines["right"] + spines["left"]) / 2 - symphysis_mm
    front = np.cross(upward, across)
    if not np.isfinite(front).all() or np.linalg.norm(front) < 1.0:
        return None
    right, front = unit(across), unit(front)
    axes = np.stack([right, front, np.cross(right, front)])
    width, height = float(np.linalg.norm(across)), float(upward @ axes[2])
    return AnteriorPlane(PelvicFrame(symphysis_mm, axes, width, height), spines, symphysis_mm)
