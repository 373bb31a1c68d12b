"""The few shapes bones are made of, each a signed distance in its own frame.

A `Primitive` is only numbers; `field.py` evaluates them. Local millimetres; negative is inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.phantom.pose import Pose, frame_along

ELLIPSOID, CONE, BOX, CHANNEL, HALF_SPACE, PLATE, BODY = range(7)
UNION, SUBTRACT, INTERSECT = range(3)
UNBOUNDED_MM = 1e4
SIZES = 16


@dataclass(frozen=True)
class Primitive:
    """One shape with its place and how it joins what comes before it in a solid.

    Attributes:
        kind: ELLIPSOID ... BODY.
        sizes: up to 16 lengths in mm; their meaning depends on the kind.
        low_mm, high_mm: local bounding box, (x, y, z) each.
        pose: world from local.
        operation: UNION, SUBTRACT or INTERSECT.
        blend_mm: width of the smooth transition, 0 for a sharp edge.
    """

    kind: int
    sizes: tuple[float, ...]
    low_mm: tuple[float, ...]
    high_mm: tuple[float, ...]
    pose: Pose = field(default_factory=Pose)
    operation: int = UNION
    blend_mm: float = 0.0

    def placed(self, pose: Pose) -> Primitive:
        """The primitive carried along by `pose` (size and blend scale with it)."""
        return replace(self, pose=pose.after(self.pose), blend_mm=self.blend_mm * pose.scale)

    def joined(self, blend_mm: float) -> Primitive:
        """The same shape, added with a smooth transition."""
        return replace(self, operation=UNION, blend_mm=blend_mm)

    def removed(self, blend_mm: float = 0.0) -> Primitive:
        """The same shape, taken away."""
        return replace(self, operation=SUBTRACT, blend_mm=blend_mm)

    def kept(self, blend_mm: float = 0.0) -> Primitive:
        """The same shape, as the outline everything before it is cut to."""
        return replace(self, operation=INTERSECT, blend_mm=blend_mm)

    def bounds_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World bounding box: low and high corner, (3,) each."""
        low, high = np.array(self.low_mm), np.array(self.high_mm)
        middle = self.pose.point((low + high) / 2)
        half = self.pose.scale * np.abs(self.pose.rotation) @ ((high - low) / 2)
        return middle - half, middle + half

    def row(self) -> NDArray[np.float64]:
        """The numbers the kernel reads: kind, operation, blend, scale, shift, rotation, sizes."""
        sizes = np.zeros(SIZES)
        sizes[: len(self.sizes)] = self.sizes
        head = [self.kind, self.operation, self.blend_mm, self.pose.scale]
        return np.concatenate([head, self.pose.shift_mm, self.pose.rotation.ravel(), sizes])


def ellipsoid(centre_mm: ArrayLike, semi_axes_mm: ArrayLike, rotation: NDArray[np.float64] | None = None) -> Primitive:
    """An ellipsoid with its axes along x, y, z unless turned."""
    semi = tuple(float(v) for v in np.broadcast_to(np.asarray(semi_axes_mm, dtype=float), 3))
    return Primitive(ELLIPSOID, semi, _negative(semi), semi, _pose(centre_mm, rotation))


def ball(centre_mm: ArrayLike, radius_mm: float) -> Primitive:
    """A sphere."""
    return ellipsoid(centre_mm, (radius_mm, radius_mm, radius_mm))


def cone(start_mm: ArrayLike, end_mm: ArrayLike, start_radius_mm: float, end_radius_mm: float) -> Primitive:
    """The convex hull of two spheres: a capsule whose radius changes."""
    start, end = np.asarray(start_mm, dtype=float), np.asarray(end_mm, dtype=float)
    length = float(np.linalg.norm(end - start))
    widest = max(start_radius_mm, end_radius_mm)
    return Primitive(
        CONE,
        (length, start_radius_mm, end_radius_mm),
        (-widest, -widest, -start_radius_mm),
        (widest, widest, length + end_radius_mm),
        _pose(start, frame_along(end - start)),
    )


def tube(points_mm: NDArray[np.float64], radii_mm: NDArray[np.float64], blend_mm: float = 0.0) -> list[Primitive]:
    """Cones along a polyline of points (n, 3) with radii (n,)."""
    steps = range(len(points_mm) - 1)
    return [
        cone(points_mm[i], points_mm[i + 1], float(radii_mm[i]), float(radii_mm[i + 1])).joined(blend_mm) for i in steps
    ]


def box(
    centre_mm: ArrayLike, half_mm: ArrayLike, rounding_mm: float, rotation: NDArray[np.float64] | None = None
) -> Primitive:
    """A box with round edges; `half_mm` are its outer half edges."""
    half = tuple(float(v) for v in np.asarray(half_mm, dtype=float))
    return Primitive(BOX, (*half, rounding_mm), _negative(half), half, _pose(centre_mm, rotation))


def channel(centre_mm: ArrayLike, semi_axes_mm: tuple[float, float]) -> Primitive:
    """An elliptic cylinder without end along its z axis."""
    a, b = semi_axes_mm
    return Primitive(CHANNEL, (a, b), (-a, -b, -UNBOUNDED_MM), (a, b, UNBOUNDED_MM), _pose(centre_mm, None))


def half_space(point_mm: ArrayLike, outward: ArrayLike) -> Primitive:
    """Everything behind the plane through `point_mm` with normal `outward`."""
    far = (UNBOUNDED_MM,) * 3
    return Primitive(HALF_SPACE, (), _negative(far), far, _pose(point_mm, frame_along(outward)))


def plate(a_mm: ArrayLike, b_mm: ArrayLike, c_mm: ArrayLike, radius_mm: float) -> Primitive:
    """A triangle thickened by `radius_mm` on all sides."""
    corners = np.array([a_mm, b_mm, c_mm], dtype=float)
    low = tuple(float(v) for v in corners.min(axis=0) - radius_mm)
    high = tuple(float(v) for v in corners.max(axis=0) + radius_mm)
    return Primitive(PLATE, (*corners.ravel().tolist(), radius_mm), low, high)


def _pose(centre_mm: ArrayLike, rotation: NDArray[np.float64] | None) -> Pose:
    return Pose(np.eye(3) if rotation is None else rotation, 1.0, np.asarray(centre_mm, dtype=float))


def _negative(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-v for v in values)
