"""The shape of one vertebra: body, pedicles, arch, facets and processes.

Local frame: origin in the middle of the body, x to the patient's right, y anterior, z superior.
The section x = 0 is exact: its body is a quadrilateral with straight endplates (before their
hollow), a straight posterior wall, and an arch whose front is parallel to that wall.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneray.core.measurement import Landmark, Measurement
from boneray.phantom.pose import Pose, turn
from boneray.phantom.primitive import BODY, Primitive, ball, box, channel, cone
from boneray.phantom.scene import Material, Solid, known, landmark


@dataclass(frozen=True)
class VertebraShape:
    """Sizes of one vertebra in mm and degrees; `scale` of the pose multiplies the lengths.

    Attributes:
        top_tilt_deg, bottom_tilt_deg: slope of the endplates, positive where they open forwards.
        top_overhang_mm: how much further forward the upper than the lower anterior corner lies.
        hollow_mm: depth of each endplate in the middle.
        waist_mm: how far the front and side walls come in at mid height.
    """

    height_mm: float
    depth_mm: float
    half_width_mm: float
    top_tilt_deg: float
    bottom_tilt_deg: float
    top_overhang_mm: float
    hollow_mm: float
    waist_mm: float
    kidney_mm: float
    canal_mm: float
    canal_half_width_mm: float
    pedicle_mm: float
    transverse_mm: float
    transverse_lift_mm: float
    spinous_mm: float
    spinous_drop_deg: float
    spinous_half_height_mm: float
    facet_mm: float

    @property
    def back_mm(self) -> float:
        """y of the posterior wall."""
        return -self.depth_mm / 2

    @property
    def corners_mm(self) -> dict[str, NDArray[np.float64]]:
        """The four corners of the body in the section x = 0: where its lines meet, (3,) each."""
        back = self.back_mm
        top, bottom = self.depth_mm / 2 + self.top_overhang_mm / 2, self.depth_mm / 2 - self.top_overhang_mm / 2
        rise = np.tan(np.deg2rad(self.top_tilt_deg))
        fall = np.tan(np.deg2rad(self.bottom_tilt_deg))
        half = self.height_mm / 2
        return {
            "superior_posterior": np.array([0.0, back, half + rise * back]),
            "superior_anterior": np.array([0.0, top, half + rise * top]),
            "inferior_posterior": np.array([0.0, back, -half - fall * back]),
            "inferior_anterior": np.array([0.0, bottom, -half - fall * bottom]),
        }

    @property
    def spinous_axis(self) -> NDArray[np.float64]:
        """Unit vector along the spinous process, backwards and down."""
        drop = np.deg2rad(self.spinous_drop_deg)
        return np.array([0.0, -np.cos(drop), -np.sin(drop)])

    @property
    def spinous_tip_mm(self) -> NDArray[np.float64]:
        """The end of the spinous process, on its surface."""
        base = np.array([0.0, self.back_mm - self.canal_mm - 2.0, -0.22 * self.height_mm])
        return base + self.spinous_axis * self.spinous_mm

    def balls(self) -> list[tuple[NDArray[np.float64], float]]:
        """(centre, radius) of the outermost parts, for placing the bone in a cube."""
        side = np.array([self.transverse_mm, self.back_mm - 9.0, self.transverse_lift_mm])
        half = self.height_mm / 2
        return [
            (side, 4.0),
            (side * (-1, 1, 1), 4.0),
            (self.spinous_tip_mm, 3.0),
            (np.array([0.0, self.depth_mm / 2, half]), 1.0),
            (np.array([0.0, self.depth_mm / 2, -half]), 1.0),
            (np.array([0.0, self.back_mm - self.canal_mm, half + 3.0]), 2.0),
            (np.array([0.0, self.back_mm - self.canal_mm, -half - 8.0]), 2.0),
        ]


def drawn_vertebra(rng: np.random.Generator, level: int, deformity: str = "none") -> VertebraShape:
    """A vertebra of lumbar level 1..5 (0 and less are thoracic); wedge, crush and biconcave are fractures."""
    height = 25.0 * rng.uniform(0.9, 1.1)
    wedge = rng.normal(1.0 + (6.0 if level >= 5 else 0.8 * level), 1.5)
    hollow = rng.uniform(0.4, 1.3)
    if deformity == "wedge":
        wedge = -rng.uniform(12.0, 20.0)
        height *= 0.87
    elif deformity == "crush":
        height *= rng.uniform(0.58, 0.72)
    elif deformity == "biconcave":
        hollow = height * rng.uniform(0.14, 0.22)
    split = rng.uniform(0.35, 0.65)
    return VertebraShape(
        height_mm=float(height),
        depth_mm=float(30.0 * rng.uniform(0.9, 1.1)),
        half_width_mm=float((19.5 + 0.8 * level) * rng.uniform(0.92, 1.08)),
        top_tilt_deg=float(wedge * split),
        bottom_tilt_deg=float(wedge * (1 - split)),
        top_overhang_mm=float(rng.uniform(-1.5, 1.5)),
        hollow_mm=float(hollow),
        waist_mm=float(rng.uniform(0.8, 1.8)),
        kidney_mm=float(rng.uniform(2.0, 5.0)),
        canal_mm=float(rng.uniform(13.5, 18.0)),
        canal_half_width_mm=float(rng.uniform(10.0, 12.5)),
        pedicle_mm=float(rng.uniform(4.4, 5.8)),
        transverse_mm=float(rng.uniform(28.0, 36.0)),
        transverse_lift_mm=float(rng.uniform(-3.0, 8.0)),
        spinous_mm=float(rng.uniform(20.0, 27.0)),
        spinous_drop_deg=float(rng.uniform(5.0, 32.0)),
        spinous_half_height_mm=float(rng.uniform(6.5, 9.5)),
        facet_mm=float(rng.uniform(4.2, 5.4)),
    )


def similar_vertebra(rng: np.random.Generator, shape: VertebraShape, levels_up: int) -> VertebraShape:
    """A vertebra that many levels above one (negative: below) in the same spine: a little smaller upwards."""
    size = 1.0 - 0.025 * levels_up
    lengths = ("height_mm", "depth_mm", "half_width_mm", "transverse_mm")
    grown = {name: getattr(shape, name) * size * float(rng.uniform(0.97, 1.03)) for name in lengths}
    shifts = {
        "top_tilt_deg": float(rng.normal(0, 0.8)),
        "bottom_tilt_deg": float(rng.normal(0, 0.8)),
        "transverse_lift_mm": float(rng.normal(0, 2.0)),
        "spinous_drop_deg": float(rng.normal(0, 2.0) + 1.5 * levels_up),
    }
    return replace(shape, **grown, **{name: getattr(shape, name) + shift for name, shift in shifts.items()})


def vertebra_solid(shape: VertebraShape, bone: str, material: Material, pose: Pose) -> Solid:
    """The solid of a vertebra: arch with a true canal first, then the body in front of it."""
    back, canal = shape.back_mm, shape.canal_mm
    canal_middle = np.array([0.0, back - canal / 2, 0.0])
    parts = [part for side in (-1.0, 1.0) for part in _half_arch(shape, side)]
    parts += _spinous(shape)
    parts.append(channel(canal_middle, (shape.canal_half_width_mm, canal / 2)).removed())
    parts.append(_body(shape).joined(3.0))
    return Solid(bone, tuple(part.placed(pose) for part in parts), material.placed(pose))


def vertebra_truth(shape: VertebraShape, bone: str, pose: Pose) -> tuple[list[Measurement], list[Landmark]]:
    """Closed-form measurements of the mid-sagittal section and the landmarks, in the world.

    The corners are the intersections of the straight wall and endplate lines; the body's edges
    are rounded, so contact points lie up to 1 mm inside. The wedge angle has no sign.
    """
    corner = {name: pose.point(point) for name, point in shape.corners_mm.items()}
    marks = {name: landmark(f"{name}_corner", point) for name, point in corner.items()}
    top = corner["superior_anterior"] - corner["superior_posterior"]
    bottom = corner["inferior_anterior"] - corner["inferior_posterior"]
    pairs = {
        "anterior_body_height_mm": ("superior_anterior", "inferior_anterior"),
        "posterior_body_height_mm": ("superior_posterior", "inferior_posterior"),
        "superior_body_length_mm": ("superior_anterior", "superior_posterior"),
        "inferior_body_length_mm": ("inferior_anterior", "inferior_posterior"),
    }
    truth = [
        known(name, float(np.linalg.norm(corner[a] - corner[b])), bone, (marks[a], marks[b]))
        for name, (a, b) in pairs.items()
    ]
    truth.append(known("canal_length_mm", shape.canal_mm * pose.scale, bone))
    cosine = float(top @ bottom / (np.linalg.norm(top) * np.linalg.norm(bottom)))
    truth.append(known("wedge_angle_deg", float(np.rad2deg(np.arccos(min(cosine, 1.0)))), bone))
    centre = np.mean(list(corner.values()), axis=0)
    tip = landmark("spinous_process_tip", pose.point(shape.spinous_tip_mm))
    return truth, [landmark("body_centre", centre), tip]


def _body(shape: VertebraShape) -> Primitive:
    corner = shape.corners_mm
    sizes = (
        shape.back_mm,
        corner["superior_anterior"][1],
        corner["inferior_anterior"][1],
        shape.half_width_mm,
        corner["superior_posterior"][2],
        corner["superior_anterior"][2],
        corner["inferior_posterior"][2],
        corner["inferior_anterior"][2],
        shape.waist_mm,
        shape.hollow_mm,
        shape.kidney_mm,
        2.5,
    )
    heights = [point[2] for point in corner.values()]
    low = (-shape.half_width_mm, shape.back_mm - shape.kidney_mm, min(heights))
    high = (shape.half_width_mm, max(sizes[1], sizes[2]), max(heights))
    return Primitive(BODY, tuple(float(v) for v in sizes), low, high)


def _half_arch(shape: VertebraShape, side: float) -> list[Primitive]:
    """Pedicle, lamina, facets and transverse process of one side (+1 is the patient's right)."""
    back, canal, half = shape.back_mm, shape.canal_mm, shape.height_mm / 2
    pedicle_x = shape.canal_half_width_mm + shape.pedicle_mm - 1.0
    lamina_y = back - canal - 3.0
    facet = shape.facet_mm

    def at(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.array([side * x, y, z])

    joint = at(pedicle_x, back - 0.62 * canal, 0.0)
    hinge = at(pedicle_x - 4.0, back - canal, -4.0)
    tip = at(shape.transverse_mm, back - 9.0, shape.transverse_lift_mm)
    return [
        cone(
            at(pedicle_x, back + 5.0, 3.0), at(pedicle_x, back - 0.62 * canal, 2.0), shape.pedicle_mm, shape.pedicle_mm
        ),
        cone(joint, at(0.0, lamina_y, -0.22 * shape.height_mm), 5.0, 4.6).joined(3.0),
        cone(joint, at(pedicle_x + 1.5, back - 0.75 * canal, half + 1.5), facet, facet * 0.9).joined(3.0),
        cone(hinge, at(pedicle_x - 3.5, back - canal - 1.0, -half - 6.0), facet, facet).joined(3.0),
        cone(joint, tip, 5.0, 3.9).joined(3.0),
    ]


def _spinous(shape: VertebraShape) -> list[Primitive]:
    axis, length = shape.spinous_axis, shape.spinous_mm
    centre = shape.spinous_tip_mm - axis * length / 2
    half = (3.3, length / 2, shape.spinous_half_height_mm)
    tilt = turn((shape.spinous_drop_deg, 0.0, 0.0))
    knob = shape.spinous_tip_mm - axis * 4.0 + tilt[:, 2] * -0.35 * shape.spinous_half_height_mm
    return [box(centre, half, 3.0, tilt).joined(3.0), ball(knob, 3.9).joined(1.0)]
