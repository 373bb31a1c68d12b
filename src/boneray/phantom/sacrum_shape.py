"""The shape of the sacrum with the coccyx.

Local frame: origin in the middle between the two acetabula, x to the patient's right, y
anterior, z superior, as in `hip_shape` with the hip centres 178 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.phantom.pose import Pose, turn
from boneray.phantom.primitive import Primitive, box, cone, tube
from boneray.phantom.scene import Material, Solid

ROUNDING_MM = 5.0


@dataclass(frozen=True)
class SacrumShape:
    """Slope of the upper endplate (degrees, forwards down), half sizes of S1 (mm) and its middle."""

    slope_deg: float
    half_mm: tuple[float, float, float]
    middle_mm: tuple[float, float, float]

    @property
    def promontory_mm(self) -> NDArray[np.float64]:
        """The most anterior point of the upper front edge, on the surface, x = 0."""
        inner = np.array([0.0, self.half_mm[1] - ROUNDING_MM, self.half_mm[2] - ROUNDING_MM])
        return np.array(self.middle_mm) + turn((-self.slope_deg, 0, 0)) @ inner + (0.0, ROUNDING_MM, 0.0)

    @property
    def plateau_mm(self) -> NDArray[np.float64]:
        """Middle of the upper endplate."""
        return np.array(self.middle_mm) + turn((-self.slope_deg, 0, 0)) @ np.array([0.0, 0.0, self.half_mm[2]])


def drawn_sacrum(rng: np.random.Generator) -> SacrumShape:
    """A sacrum with a slope of 25 to 48 degrees."""
    half = (25.0 * rng.uniform(0.93, 1.07), 16.0 * rng.uniform(0.93, 1.07), 15.0)
    return SacrumShape(float(rng.uniform(25, 48)), half, (0.0, -40.0 + rng.normal(0, 2), 84.0 + rng.normal(0, 3)))


def sacrum_solid(shape: SacrumShape, bone: str, material: Material, pose: Pose) -> Solid:
    """The solid of a sacrum: S1 block, curved column down to the coccyx, wings, median crest."""
    middle = np.array(shape.middle_mm)
    column = np.array([middle, (0, -62, 58), (0, -78, 34), (0, -84, 10), (0, -78, -10), (0, -66, -26)], dtype=float)
    parts: list[Primitive] = [
        box(middle, shape.half_mm, ROUNDING_MM, turn((-shape.slope_deg, 0, 0))),
        *tube(column, np.array([14.0, 14.0, 12.0, 9.5, 7.0, 5.5]), 3.0),
    ]
    for side in (-1.0, 1.0):
        wing = np.array([(side * 12, -44, 80), (side * 43, -57, 74), (side * 33, -70, 48), (side * 12, -82, 20)])
        parts += tube(wing, np.array([13.0, 12.0, 9.5, 7.5]), 5.0)
        parts.append(cone((side * 8, -60, 62), (side * 38, -62, 66), 14.0, 11.0).joined(5.0))
    parts.append(cone((0, -76, 72), (0, -92, 30), 6.0, 5.5).joined(5.0))
    return Solid(bone, tuple(part.placed(pose) for part in parts), material)
