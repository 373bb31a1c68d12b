"""Stored pictures and their labels moved alike, as methods without a CT do it: see `StoredPairs`.

Pictures are changed as if the rays were parallel: the motion of the body within each picture's plane, about where the
middle of the grid is seen. What leaves the plane is lost, which is the error of this augmentation and not of ours.
A change of grey values by a factor and a constant is not made: pictures are standardised, which undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.models.registry import StoredPairs

Floats = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
STEP_MM = 1.0


@dataclass(frozen=True)
class Motion:
    """x -> middle + zoom * turn(half turn(x - middle)) + shift, in mm and RAS.

    Attributes:
        turn: (3,) rotation vector, radians; its part along a central ray turns that picture.
        half: turned by 180 degrees about the patient's long axis first.
        shift_mm: (3,).
    """

    zoom: float
    turn: Floats
    half: bool
    shift_mm: Floats

    @property
    def matrix(self) -> Floats:
        """(3, 3) without the shift."""
        turned: Floats = self.zoom * Rotation.from_rotvec(self.turn).as_matrix()
        return turned @ np.diag([-1.0, -1.0, 1.0]) if self.half else turned


def moved_alike(
    classes: NDArray[np.uint8],
    grid: Grid,
    radiographs: list[Radiograph],
    change: StoredPairs,
    *,
    seed: int,
    case_id: str,
    number: int,
) -> tuple[NDArray[np.uint8], list[Radiograph]]:
    """The class map and the pictures of sample `number` after a drawn change; untouched if nothing is to change."""
    if not (change.zoom or change.tilt_deg or any(change.shift) or change.half_turn):
        return classes, radiographs
    motion = drawn_motion(change, grid, radiographs, seed=seed, case_id=case_id, number=number)
    return moved_labels(classes, grid, motion), [moved_picture(r, grid, motion) for r in radiographs]


def drawn_motion(
    change: StoredPairs, grid: Grid, radiographs: list[Radiograph], *, seed: int, case_id: str, number: int
) -> Motion:
    """Zoom and tilt are those of one of the case's copies (0 is the case itself) where there are copies."""
    rng = generator(seed, "stored pair", case_id, number)
    shift = rng.normal(0.0, 1.0, 3) * change.shift * grid.size_mm
    half = bool(rng.random() < change.half_turn)
    zoom, tilt = 1.0, 0.0
    copy = int(rng.integers(0, change.copies + 1)) if change.copies else -1
    if copy != 0:
        fixed = rng if copy < 0 else generator(seed, "copy", case_id, copy)
        zoom = float(fixed.uniform(1 - change.zoom, 1 + change.zoom))
        tilt = float(np.deg2rad(fixed.normal(0.0, change.tilt_deg)))
    return Motion(zoom, tilt * _tilt_axis(radiographs), half, shift)


def moved_labels(classes: NDArray[np.uint8], grid: Grid, motion: Motion) -> NDArray[np.uint8]:
    """(I, J, K) classes where the body has gone, nearest voxel; the grid lies along the axes of the body."""
    spacing = np.array(grid.spacing_mm)
    back = np.linalg.inv(motion.matrix) * spacing / spacing[:, None]
    middle = (np.array(grid.shape) - 1) / 2
    offset = middle - back @ (middle + motion.shift_mm / spacing)
    return np.asarray(affine_transform(classes, back, offset, order=0, mode="constant", cval=0), np.uint8)


def moved_picture(radiograph: Radiograph, grid: Grid, motion: Motion) -> Radiograph:
    """The picture changed within its plane; what comes in from outside is its darkest value."""
    camera = radiograph.camera
    ray = camera.central_ray
    across = np.cross(ray, UP)
    across /= np.linalg.norm(across)
    plane = np.stack([across, np.cross(across, ray)], axis=1)  # (3, 2): to the side, and up
    angle = float(motion.turn @ ray)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    within = motion.zoom * turn @ np.diag([-1.0 if motion.half else 1.0, 1.0])
    middle, pixels = _pixels_per_mm(camera, grid, plane)
    forward = pixels @ within @ np.linalg.inv(pixels)
    back = np.linalg.inv(forward)
    offset = middle - back @ (middle + pixels @ plane.T @ motion.shift_mm)
    values = radiograph.line_integrals
    changed = affine_transform(values, back, offset, order=1, mode="constant", cval=float(values.min()))
    return Radiograph(np.asarray(changed, np.float32), camera, scaled=radiograph.scaled)


def _pixels_per_mm(camera: Camera, grid: Grid, plane: Floats) -> tuple[Floats, Floats]:
    """(row, column) of the grid's middle, and (2, 2) by which mm in the plane become rows and columns there."""
    centre = np.asarray(grid.centre_mm, float)
    at = np.asarray(camera.project(np.stack([centre, centre + STEP_MM * plane[:, 0], centre + STEP_MM * plane[:, 1]])))
    at = at[:, ::-1]
    return at[0], np.stack([at[1] - at[0], at[2] - at[0]], axis=1) / STEP_MM


def _tilt_axis(radiographs: list[Radiograph]) -> Floats:
    """The rotation vector that turns the first picture by 1 in its plane, and the one across from it as well."""
    first = radiographs[0].camera.central_ray
    last = radiographs[-1].camera.central_ray
    beside = last - (last @ first) * first
    size = np.linalg.norm(beside)
    return np.asarray(first + (beside / size if size > 1e-6 else 0.0), float)
