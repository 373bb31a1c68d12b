"""The shape of the proximal right femur: head, neck, trochanters and shaft.

Local frame of a RIGHT femur: origin where neck axis and shaft axis meet, z up along the shaft
axis, y anterior, x lateral. In RAS+ the patient's right is +x, so a right femur lies at +x of the
body and its head is medial, towards -x; a left femur is the mirror image (x -> -x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneray.core.measurement import Landmark, Measurement
from boneray.phantom.pose import Pose
from boneray.phantom.primitive import Primitive, ball, cone, ellipsoid
from boneray.phantom.scene import Material, Solid, known, landmark

SHAFT_END_MM = 260.0


@dataclass(frozen=True)
class FemurShape:
    """Sizes of one proximal femur in mm and degrees; `scale` of the pose multiplies the lengths."""

    head_radius_mm: float
    neck_length_mm: float
    neck_shaft_angle_deg: float
    anteversion_deg: float
    neck_waist: float
    neck_base: float
    shaft_radius_mm: float
    shaft_taper_mm: float
    greater_rise_mm: float
    greater_radius_mm: float
    lesser_drop_mm: float
    lesser_radius_mm: float

    @property
    def neck_direction(self) -> NDArray[np.float64]:
        """Unit vector from the shaft axis to the head; its angle to distal (-z) is the neck-shaft angle."""
        angle, version = np.deg2rad(self.neck_shaft_angle_deg), np.deg2rad(self.anteversion_deg)
        return np.array([-np.sin(angle) * np.cos(version), np.sin(angle) * np.sin(version), -np.cos(angle)])

    @property
    def head_mm(self) -> NDArray[np.float64]:
        """Centre of the femoral head."""
        return self.neck_direction * self.neck_length_mm

    @property
    def greater_mm(self) -> NDArray[np.float64]:
        """Centre of the tip of the greater trochanter: lateral, up and a little behind."""
        return self._turned((0.42 * self.shaft_radius_mm, -4.0, self.greater_rise_mm))

    @property
    def lesser_mm(self) -> NDArray[np.float64]:
        """Centre of the lesser trochanter: medial and behind."""
        reach = self.shaft_radius_mm - 1.0
        return self._turned((-0.6 * reach, -0.8 * reach, -self.lesser_drop_mm))

    def balls(self, below_mm: float) -> list[tuple[NDArray[np.float64], float]]:
        """(centre, radius) of the outermost parts down to `below_mm` under the origin."""
        return [
            (self.head_mm, self.head_radius_mm + 1.0),
            (self.greater_mm, self.greater_radius_mm + 1.0),
            (np.array([0.0, 0.0, -below_mm]), self.shaft_radius_mm),
        ]

    def _turned(self, point: tuple[float, float, float]) -> NDArray[np.float64]:
        """A point given in the plane of the neck, turned with the anteversion."""
        c, s = np.cos(np.deg2rad(self.anteversion_deg)), np.sin(np.deg2rad(self.anteversion_deg))
        x, y, z = point
        return np.array([c * x + s * y, -s * x + c * y, z])


def drawn_femur(rng: np.random.Generator, deformity: str = "none") -> FemurShape:
    """A proximal femur; coxa_vara and coxa_valga move the neck-shaft angle out of 115-140 degrees."""
    limits = {"coxa_vara": (98.0, 113.0), "coxa_valga": (142.0, 152.0)}.get(deformity, (115.0, 140.0))
    head = 21.9 * rng.uniform(0.95, 1.05)
    return FemurShape(
        head_radius_mm=float(head),
        neck_length_mm=float(rng.uniform(45.0, 55.0)),
        neck_shaft_angle_deg=float(rng.uniform(*limits)),
        anteversion_deg=float(rng.uniform(-5.0, 30.0)),
        neck_waist=float(rng.uniform(0.58, 0.68)),
        neck_base=float(rng.uniform(0.66, 0.78)),
        shaft_radius_mm=float(rng.uniform(10.5, 13.3)),
        shaft_taper_mm=float(rng.uniform(0.8, 1.8)),
        greater_rise_mm=float(rng.uniform(12.0, 19.0)),
        greater_radius_mm=float(rng.uniform(8.5, 11.5)),
        lesser_drop_mm=float(rng.uniform(18.0, 26.0)),
        lesser_radius_mm=float(rng.uniform(6.5, 8.5)),
    )


def femur_solid(shape: FemurShape, bone: str, material: Material, pose: Pose) -> Solid:
    """The solid of a right femur. The head joins last and sharply on its free side: it stays a sphere."""
    radius, head = shape.head_radius_mm, shape.head_mm
    wide, narrow = shape.shaft_radius_mm, shape.shaft_radius_mm - shape.shaft_taper_mm
    below = np.array([0.0, 0.0, -1.0])
    greater, lesser = shape.greater_mm, shape.lesser_mm
    parts: list[Primitive] = [
        cone((0, 0, 2.0), 45.0 * below, wide + 0.5, narrow),
        cone(45.0 * below, SHAFT_END_MM * below, narrow, narrow - 0.5).joined(4.0),
        cone(greater, greater * (0.75, 1.0, -0.35), shape.greater_radius_mm, shape.greater_radius_mm + 1.5).joined(8.0),
        ellipsoid(lesser, (shape.lesser_radius_mm, shape.lesser_radius_mm, 1.5 * shape.lesser_radius_mm)).joined(6.0),
        cone(head, np.zeros(3), shape.neck_waist * radius, shape.neck_base * radius).joined(7.0),
        ball(head, radius).joined(3.0),
    ]
    shaft = replace(
        material,
        far_inner_hu=20.0,
        far_cortex_mm=material.cortex_mm * 1.7,
        ramp_from_mm=(0.0, 0.0, 0.0),
        ramp_to_mm=(0.0, 0.0, -45.0),
    )
    return Solid(bone, tuple(part.placed(pose) for part in parts), shaft.placed(pose))


def femur_truth(shape: FemurShape, bone: str, pose: Pose, below_mm: float) -> tuple[list[Measurement], list[Landmark]]:
    """Closed-form measurements and landmarks of a right femur, in the world.

    Neck-shaft angle: between the direction to the head and the distal shaft, obtuse. Offset:
    distance of the head centre from the line of the shaft axis. The distal shaft landmark lies on
    the axis, `below_mm` under the origin of the shape; the proximal one under the lesser trochanter,
    or 10 mm (times scale) above the distal one where the field of view ends sooner.
    """
    start_mm = min(shape.lesser_drop_mm + 1.5 * shape.lesser_radius_mm, below_mm - 10.0)
    points = {
        "femoral_head_centre": shape.head_mm,
        "neck_centre": shape.neck_direction * (shape.neck_length_mm - 1.3 * shape.head_radius_mm),
        "shaft_proximal": np.array([0.0, 0.0, -start_mm]),
        "shaft_distal": np.array([0.0, 0.0, -below_mm]),
    }
    marks = [landmark(name, pose.point(point)) for name, point in points.items()]
    offset = pose.scale * shape.neck_length_mm * np.sin(np.deg2rad(shape.neck_shaft_angle_deg))
    head, _, proximal, distal = marks
    truth = [
        known("femoral_head_radius_mm", pose.scale * shape.head_radius_mm, bone, (head,)),
        known("neck_shaft_angle_deg", shape.neck_shaft_angle_deg, bone, tuple(marks)),
        known("femoral_offset_mm", float(offset), bone, (head, proximal, distal)),
    ]
    return truth, marks
