"""Similarity poses: how a bone modelled in its own millimetres lies in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Pose:
    """world = scale * rotation @ local + shift_mm.

    Attributes:
        rotation: (3, 3), proper.
        scale: size of the bone relative to its model.
        shift_mm: (3,) world position of the local origin.
    """

    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    scale: float = 1.0
    shift_mm: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def point(self, local_mm: ArrayLike) -> NDArray[np.float64]:
        """World points of local points (..., 3)."""
        return self.scale * np.asarray(local_mm, dtype=float) @ self.rotation.T + self.shift_mm

    def direction(self, local: ArrayLike) -> NDArray[np.float64]:
        """World directions of local directions (..., 3)."""
        return np.asarray(local, dtype=float) @ self.rotation.T

    def after(self, inner: Pose) -> Pose:
        """This pose applied to what `inner` has placed."""
        return Pose(self.rotation @ inner.rotation, self.scale * inner.scale, self.point(inner.shift_mm))

    def moved(self, shift_mm: ArrayLike) -> Pose:
        """The same pose, shifted in the world."""
        return Pose(self.rotation, self.scale, self.shift_mm + np.asarray(shift_mm, dtype=float))


def turn(angles_deg: ArrayLike) -> NDArray[np.float64]:
    """Rotation about world x, then y, then z, right-handed, (3, 3)."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.asarray(angles_deg, dtype=float))):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


def frame_along(direction: ArrayLike) -> NDArray[np.float64]:
    """A rotation whose third column is `direction` (normalised); the roll about it is arbitrary."""
    z = np.asarray(direction, dtype=float)
    z = z / np.linalg.norm(z)
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def drawn_pose(rng: np.random.Generator, *, scale: tuple[float, float], rotation_deg: float) -> Pose:
    """A pose without shift, uniform within +-`rotation_deg` per axis and the limits of scale."""
    angles = rng.uniform(-rotation_deg, rotation_deg, 3)
    return Pose(turn(angles), float(rng.uniform(*scale)))


def framed(
    pose: Pose,
    rng: np.random.Generator,
    *,
    balls: Sequence[tuple[ArrayLike, float]],
    half_mm: float,
    shift_mm: float,
) -> Pose:
    """The pose shifted so that the bone fills the cube: middle of its extent, plus a random shift.

    Args:
        balls: (local centre, local radius) of the parts that must lie inside.
        half_mm: half the edge of the cube about the world origin.
        shift_mm: largest random shift per axis; less where the bone needs the room.
    """
    centres = pose.point(np.array([np.asarray(centre, dtype=float) for centre, _ in balls]))
    radii = pose.scale * np.array([radius for _, radius in balls])[:, None]
    low, high = (centres - radii).min(axis=0), (centres + radii).max(axis=0)
    room = np.clip(half_mm - (high - low) / 2, 0.0, shift_mm)
    return pose.moved(-(low + high) / 2 + room * rng.uniform(-1, 1, 3))
