"""An X-ray camera: point source (or parallel beam), flat detector, pose in RAS mm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.errors import GeometryError


@dataclass(frozen=True)
class Camera:
    """Geometry of one radiograph.

    The camera frame has x along detector columns, y along detector rows (downwards in the
    picture) and z along the central ray from source to detector. The source is its origin; a
    parallel camera has no source and its origin is a point on the central ray.

    Attributes:
        kind: perspective or parallel.
        detector_shape: (rows, columns) in pixels.
        pixel_mm: (row, column) pixel pitch on the detector.
        source_detector_mm: distance from the camera origin to the detector plane along z.
        principal_point_px: (row, column) where the central ray meets the detector; pixel centres
            are at whole numbers.
        world_from_camera: 4x4 rigid pose (row-major tuple of 16).
    """

    kind: Literal["perspective", "parallel"]
    detector_shape: tuple[int, int]
    pixel_mm: tuple[float, float]
    source_detector_mm: float
    principal_point_px: tuple[float, float]
    world_from_camera: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, count in (
            ("detector_shape", 2),
            ("pixel_mm", 2),
            ("principal_point_px", 2),
            ("world_from_camera", 16),
        ):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), count))
        object.__setattr__(self, "detector_shape", tuple(int(n) for n in self.detector_shape))
        object.__setattr__(self, "source_detector_mm", _numbers("source_detector_mm", self.source_detector_mm, 1)[0])
        if self.kind not in ("perspective", "parallel"):
            raise GeometryError(f"camera kind '{self.kind}' is unknown; use perspective or parallel")
        if min(self.detector_shape) < 1:
            raise GeometryError(f"detector shape {self.detector_shape} must be two positive numbers (rows, columns)")
        if min(self.pixel_mm) <= 0:
            raise GeometryError(f"pixel pitch {self.pixel_mm} mm must be two positive numbers")
        if self.source_detector_mm <= 0:
            raise GeometryError(f"source-detector distance {self.source_detector_mm} mm must be positive")
        rotation = self.pose[:3, :3]
        rigid = np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-4) and np.linalg.det(rotation) > 0
        if not rigid or not np.allclose(self.pose[3], (0, 0, 0, 1), atol=1e-6):
            raise GeometryError("camera pose is not a rotation and a shift; check for a mirrored or scaled matrix")

    @property
    def pose(self) -> NDArray[np.float64]:
        """world_from_camera as a 4x4 array."""
        return np.array(self.world_from_camera).reshape(4, 4)

    @property
    def source_mm(self) -> NDArray[np.float64]:
        """The camera origin in the world, (3,): the focal spot of a perspective camera."""
        return self.pose[:3, 3]

    @property
    def central_ray(self) -> NDArray[np.float64]:
        """Unit world direction from source to detector, (3,)."""
        return self.pose[:3, 2]

    @property
    def image_from_world(self) -> NDArray[np.float64]:
        """3x4 matrix P: homogeneous (column, row, 1) pixels ~ P @ (x, y, z, 1) RAS mm."""
        camera_from_world = np.linalg.inv(self.pose)
        row_mm, column_mm = self.pixel_mm
        row0, column0 = self.principal_point_px
        if self.kind == "perspective":
            focal = self.source_detector_mm
            intrinsic = np.array([[focal / column_mm, 0.0, column0], [0.0, focal / row_mm, row0], [0.0, 0.0, 1.0]])
            return intrinsic @ camera_from_world[:3]
        projection = np.zeros((3, 4))
        projection[0] = camera_from_world[0] / column_mm
        projection[1] = camera_from_world[1] / row_mm
        projection[:2, 3] += (column0, row0)
        projection[2, 3] = 1.0
        return projection

    def project(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """(column, row) pixels of RAS points (..., 3); points level with or behind the source are NaN."""
        points = np.asarray(point_mm, dtype=float)
        image = points @ self.image_from_world[:, :3].T + self.image_from_world[:, 3]
        depth = image[..., 2:]
        return np.where(depth > 0, image[..., :2] / np.where(depth > 0, depth, 1.0), np.nan)

    def pixel_to_world(self, pixel: ArrayLike) -> NDArray[np.float64]:
        """RAS mm of (column, row) pixels (..., 2) on the detector plane."""
        pixels = np.asarray(pixel, dtype=float)
        row_mm, column_mm = self.pixel_mm
        row0, column0 = self.principal_point_px
        x = (pixels[..., 0] - column0) * column_mm
        y = (pixels[..., 1] - row0) * row_mm
        local = np.stack([x, y, np.full_like(x, self.source_detector_mm)], axis=-1)
        return local @ self.pose[:3, :3].T + self.pose[:3, 3]

    def ray(self, pixel: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Back-projection: a point on the ray and its unit direction for (column, row) pixels (..., 2)."""
        target = self.pixel_to_world(pixel)
        if self.kind == "perspective":
            start = np.broadcast_to(self.source_mm, target.shape)
            step = target - start
            return start, step / np.linalg.norm(step, axis=-1, keepdims=True)
        direction = np.broadcast_to(self.central_ray, target.shape)
        return target - self.source_detector_mm * direction, direction

    def moved(self, world_from_world: ArrayLike) -> Camera:
        """The camera after a rigid 4x4 motion of the world."""
        return replace(self, world_from_camera=tuple((np.asarray(world_from_world) @ self.pose).ravel()))

    def resized(self, shape: tuple[int, int]) -> Camera:
        """The same detector read out with (rows, columns) pixels: same outline, other pitch."""
        rows, columns = (new / old for new, old in zip(shape, self.detector_shape, strict=True))
        row0, column0 = self.principal_point_px
        return replace(
            self,
            detector_shape=shape,
            pixel_mm=(self.pixel_mm[0] / rows, self.pixel_mm[1] / columns),
            principal_point_px=((row0 + 0.5) * rows - 0.5, (column0 + 0.5) * columns - 0.5),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the schema of `cameras` in case.json and of cameras.json."""
        return {
            "kind": self.kind,
            "detector_shape": list(self.detector_shape),
            "pixel_mm": list(self.pixel_mm),
            "source_detector_mm": self.source_detector_mm,
            "principal_point_px": list(self.principal_point_px),
            "world_from_camera": self.pose.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Camera:
        """The camera that `to_dict` wrote; a missing key is a GeometryError."""
        keys = (
            "kind",
            "detector_shape",
            "pixel_mm",
            "source_detector_mm",
            "principal_point_px",
            "world_from_camera",
        )
        if not isinstance(values, dict):
            raise GeometryError(f"camera is {values!r}; see the schema in docs/case-folder.md")
        missing = [key for key in keys if key not in values]
        if missing:
            raise GeometryError(f"camera lacks {', '.join(missing)}; see the schema in docs/case-folder.md")
        return cls(*(values[key] for key in keys))


def orbit_camera(
    angle_deg: float,
    *,
    cranial_deg: float = 0.0,
    roll_deg: float = 0.0,
    detector_tilt_deg: tuple[float, float] = (0.0, 0.0),
    principal_offset_mm: tuple[float, float] = (0.0, 0.0),
    centre_mm: ArrayLike = (0.0, 0.0, 0.0),
    detector_shape: tuple[int, int] = (256, 256),
    detector_mm: tuple[float, float] = (384.0, 384.0),
    source_object_mm: float = 1000.0,
    source_detector_mm: float = 1500.0,
    kind: Literal["perspective", "parallel"] = "perspective",
) -> Camera:
    """A camera on an orbit about `centre_mm`, as on a C-arm; its central beam meets the centre.

    0 degrees is AP (source in front of the patient, patient's left at the right of the picture),
    90 degrees is the left lateral (source at the patient's right, anterior at the right of the
    picture); the angle turns the source from anterior towards the patient's right. Head is up.
    For a parallel camera `detector_mm` is the beam's cross-section and distances only place it.

    Args:
        angle_deg: longitude of the source, see above.
        cranial_deg: how far the beam is tilted towards the head (caudal is negative): the detector
            moves to the head and the source to the feet, at every longitude.
        roll_deg: turn of the detector about the central beam, clockwise as seen from the source.
        detector_tilt_deg: angles of the beam to the detector's normal, (0018,1530) and (0018,1531)
            in DICOM: positive leans the beam towards higher columns, and towards lower rows. A
            tilted detector is an ordinary camera too: its z is the detector's normal and its
            principal point the foot of the perpendicular from the source, far from the middle.
        principal_offset_mm: (row, column) from the detector's middle to where the central beam
            meets it.
        source_object_mm: from the source to `centre_mm`.
        source_detector_mm: from the source to the detector along the central beam.
    """
    primary, secondary = np.deg2rad(detector_tilt_deg)
    if max(abs(primary), abs(secondary)) >= np.pi / 2:
        raise GeometryError(f"detector tilt {detector_tilt_deg} degrees must lie within -90..90")
    beam = np.array([np.sin(primary) * np.cos(secondary), -np.sin(secondary), np.cos(primary) * np.cos(secondary)])
    untilted = _axis_rotation(0, -secondary) @ _axis_rotation(1, primary)  # takes `beam` to the z axis
    axes = _orbit_axes(angle_deg, cranial_deg) @ _axis_rotation(2, np.deg2rad(roll_deg))
    pose = np.eye(4)
    pose[:3, :3] = axes @ untilted
    pose[:3, 3] = np.asarray(centre_mm, dtype=float) - source_object_mm * axes[:, 2]
    foot_mm = np.zeros(2)  # (x, y) from the foot of the perpendicular to where the beam meets the detector
    if kind == "perspective":
        foot_mm = source_detector_mm * beam[:2]
    elif any(detector_tilt_deg):
        raise GeometryError("a parallel beam has no tilted detector; tilt the view itself, or use a perspective camera")
    rows, columns = detector_shape
    pixel_mm = (detector_mm[0] / rows, detector_mm[1] / columns)
    return Camera(
        kind,
        detector_shape,
        pixel_mm,
        source_detector_mm * beam[2],
        (
            (rows - 1) / 2 + (principal_offset_mm[0] - foot_mm[1]) / pixel_mm[0],
            (columns - 1) / 2 + (principal_offset_mm[1] - foot_mm[0]) / pixel_mm[1],
        ),
        tuple(pose.ravel()),
    )


def orbit_angles(direction: ArrayLike) -> tuple[float, float]:
    """(angle_deg, cranial_deg) of a beam along the world `direction`: the inverse of `orbit_camera`."""
    right, front, up = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    return float(np.rad2deg(np.arctan2(-right, -front))), float(np.rad2deg(np.arcsin(np.clip(up, -1.0, 1.0))))


def jittered(
    camera: Camera,
    rng: np.random.Generator,
    *,
    centre_mm: ArrayLike,
    rotation_deg: float = 10.0,
    shift_mm: float = 5.0,
) -> Camera:
    """The camera turned about each world axis through `centre_mm` and shifted, uniformly within the limits."""
    angles = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg, 3))
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        rotation = _axis_rotation(axis, angle) @ rotation
    centre = np.asarray(centre_mm, dtype=float)
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = centre - rotation @ centre + rng.uniform(-shift_mm, shift_mm, 3)
    return camera.moved(motion)


def _orbit_axes(angle_deg: float, cranial_deg: float) -> NDArray[np.float64]:
    """Camera x, y, z as columns, in the world: the orbit frame before roll and tilt."""
    angle, cranial = np.deg2rad((angle_deg, cranial_deg))
    level = np.array([-np.sin(angle), -np.cos(angle), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    z = np.cos(cranial) * level + np.sin(cranial) * up
    y = np.sin(cranial) * level - np.cos(cranial) * up
    return np.stack([np.cross(y, z), y, z], axis=1)


def _axis_rotation(axis: int, angle: float) -> NDArray[np.float64]:
    a, b = [i for i in range(3) if i != axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _numbers(name: str, value: object, count: int) -> tuple[float, ...]:
    """`count` finite numbers from nested sequences; GeometryError otherwise."""
    try:
        values = np.ravel(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        values = np.empty(0)
    if len(values) != count or not np.all(np.isfinite(values)):
        raise GeometryError(f"camera {name} {value!r} must be {count} finite number{'s' if count > 1 else ''}")
    return tuple(float(v) for v in values)
