"""The shape of a hip bone.

Local frame of a RIGHT hip bone: origin in the middle of the acetabulum, x lateral (the
patient's right), y anterior, z superior; its own size is that of a pelvis with ASIS
235 mm apart. The left one is its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.measurement import Landmark
from boneray.phantom.pose import Pose
from boneray.phantom.primitive import Primitive, ball, cone, half_space, plate, tube
from boneray.phantom.scene import Material, Solid, landmark

Point = NDArray[np.float64]


@dataclass(frozen=True)
class HipShape:
    """Key points of a hip bone, mm in the local frame, and the radii around them."""

    points_mm: dict[str, Point]
    socket_radius_mm: float
    plate_mm: float
    ramus_mm: float

    @property
    def knobs_mm(self) -> dict[str, float]:
        """Radii of the balls that carry the landmarks; they stand out of what surrounds them."""
        return {
            "asis": self.plate_mm + 4.0,
            "psis": self.plate_mm + 4.0,
            "tubercle": self.ramus_mm + 2.0,
            "spine": 6.5,
        }


# Typical positions: inter-ASIS 235, inter-PSIS 90, inter-PT 52, ischial spines 102 mm apart with
# hip centres 178 mm apart (spread of 19 adults in facts/morphometry.md, section 3).
_TYPICAL = {
    "asis": (27.0, 45.0, 75.0),
    "crest_front": (40.0, 20.0, 110.0),
    "crest_top": (34.0, -18.0, 126.0),
    "crest_back": (4.0, -56.0, 113.0),
    "crest_end": (-28.0, -82.0, 88.0),
    "psis": (-44.0, -90.0, 62.0),
    "piis": (-38.0, -74.0, 40.0),
    "aiis": (8.0, 30.0, 38.0),
    "roof": (0.0, -4.0, 32.0),
    "notch": (-16.0, -32.0, 26.0),
    "spine": (-36.0, -34.0, -6.0),
    "tuber": (-20.0, -30.0, -60.0),
    "tuber_front": (-30.0, -4.0, -66.0),
    "tubercle": (-62.0, 46.0, -20.0),
    "symphysis_top": (-80.0, 42.0, -26.0),
    "symphysis_bottom": (-80.0, 34.0, -50.0),
}

# Landmark name and the direction (lateral, anterior, superior) in which it is the extreme point.
_MARKED = {
    "asis": ("anterior_superior_iliac_spine", (0.0, 1.0, 0.0)),
    "psis": ("posterior_superior_iliac_spine", (0.0, -1.0, 0.0)),
    "tubercle": ("pubic_tubercle", (0.5, 1.0, -0.4)),
    "spine": ("ischial_spine", (-0.7, -1.0, 0.3)),
}


def drawn_hip(rng: np.random.Generator, head_radius_mm: float) -> HipShape:
    """A hip bone whose socket leaves room for cartilage around a head of that radius (model mm)."""
    spread = {name: np.array(point) + rng.normal(0, 1.5, 3) for name, point in _TYPICAL.items()}
    flare, tall = rng.normal(0, 4), rng.normal(1.0, 0.04)
    for name in ("asis", "crest_front", "crest_top", "crest_back"):
        spread[name] = spread[name] * (1, 1, tall) + (flare, 0, 0)
    for name in ("symphysis_top", "symphysis_bottom"):
        spread[name][0] = _TYPICAL[name][0]
    return HipShape(spread, head_radius_mm + 3.5, float(rng.uniform(4.5, 6.0)), float(rng.uniform(6.5, 8.5)))


def hip_solid(shape: HipShape, bone: str, material: Material, pose: Pose, *, side: str = "right") -> Solid:
    """The solid of a hip bone: socket cup, wing, crest, rami, marked points; the socket is hollowed out last."""
    mirror = _mirror(side)
    radius = shape.socket_radius_mm
    opening = np.array([0.74, 0.32, -0.59]) * mirror
    points = {name: point * mirror for name, point in shape.points_mm.items()}
    parts = [
        ball((0, 0, 0), radius + 7.0),
        half_space(opening * 0.35 * radius, -opening).removed(2.0),
        *_wing(points, shape.plate_mm),
        *_rami(points, shape.ramus_mm, radius, mirror),
        *(ball(points[name], reach) for name, reach in shape.knobs_mm.items()),
        ball((0, 0, 0), radius).removed(1.0),
    ]
    return Solid(bone, tuple(part.placed(pose) for part in parts), material)


def hip_landmarks(shape: HipShape, pose: Pose, side: str) -> list[Landmark]:
    """Spines and tubercle of one side: points on the surface, the extreme ones of facts/morphometry.md."""
    mirror = _mirror(side)
    found = []
    for key, (name, direction) in _MARKED.items():
        unit = np.array(direction) / np.linalg.norm(direction)
        point = (shape.points_mm[key] + shape.knobs_mm[key] * unit) * mirror
        found.append(landmark(f"{name}_{side}", pose.point(point)))
    return found


def _mirror(side: str) -> Point:
    return np.array([1.0 if side == "right" else -1.0, 1.0, 1.0])


def _wing(p: dict[str, Point], thick: float) -> list[Primitive]:
    corners = [
        ("aiis", "asis", "crest_front"),
        ("aiis", "crest_front", "roof"),
        ("roof", "crest_front", "crest_top"),
        ("roof", "crest_top", "notch"),
        ("notch", "crest_top", "crest_back"),
        ("notch", "crest_back", "crest_end"),
        ("notch", "crest_end", "piis"),
        ("piis", "crest_end", "psis"),
    ]
    faces = [plate(p[a], p[b], p[c], thick).joined(3.0) for a, b, c in corners]
    crest = np.array([p[name] for name in ("asis", "crest_front", "crest_top", "crest_back", "crest_end", "psis")])
    rim = tube(crest, np.full(len(crest), thick + 2.0), 3.0)
    return [*faces, *rim, cone(p["aiis"], p["roof"], 8.0, 12.0).joined(4.0)]


def _rami(p: dict[str, Point], thick: float, cup_mm: float, mirror: Point) -> list[Primitive]:
    front = np.array([-0.75 * cup_mm, 0.55 * cup_mm, -2.0]) * mirror
    behind = np.array([-0.6 * cup_mm, -0.8 * cup_mm, -6.0]) * mirror
    return [
        cone(front, p["tubercle"], thick + 3.0, thick).joined(4.0),
        cone(p["tubercle"], p["symphysis_top"], thick, thick).joined(3.0),
        cone(p["symphysis_top"], p["symphysis_bottom"], thick, thick - 0.5).joined(3.0),
        cone(p["symphysis_bottom"], p["tuber_front"], thick - 1.0, thick).joined(3.0),
        cone(p["tuber_front"], p["tuber"], thick + 1.0, thick + 4.0).joined(4.0),
        cone(behind, p["tuber"], thick + 5.0, thick + 4.0).joined(5.0),
        cone(behind, p["notch"], thick + 4.0, thick + 2.0).joined(5.0),
        cone(behind, p["spine"], thick + 1.0, 4.5).joined(4.0),
    ]
