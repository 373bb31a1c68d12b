"""Radiographs and cameras as a network sees them, as plain arrays; `Batch` holds them as tensors. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph


@dataclass(frozen=True)
class NetworkInput:
    """One patient: `images` (1, V, 1, H, W), `projections` (1, V, 3, 4), `depths` (1, V, 4), float32; see `Batch`."""

    images: NDArray[np.float32]
    projections: NDArray[np.float32]
    depths: NDArray[np.float32]


def network_input(pictures: Mapping[str, Radiograph], grid: Grid) -> NetworkInput:
    """What a network sees of pictures that have its size already."""
    matrices = [camera_matrices(picture.camera, grid) for picture in pictures.values()]
    return NetworkInput(
        np.stack([standardised(picture.line_integrals) for picture in pictures.values()])[None, :, None],
        np.stack([projection for projection, _ in matrices])[None],
        np.stack([depth for _, depth in matrices])[None],
    )


def standardised(line_integrals: NDArray) -> NDArray[np.float32]:
    """A picture with mean 0 and SD 1, so that its unknown scale and offset do not matter."""
    values = np.asarray(line_integrals, dtype=np.float32)
    spread = float(values.std())
    if not np.isfinite(spread) or spread <= 0:
        raise DataError("radiograph is blank: every pixel has the same value; check the picture and its camera")
    return (values - values.mean()) / np.float32(spread)


def camera_matrices(camera: Camera, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The (3, 4) projection and the (4,) depth row of `Batch` for one camera and working grid."""
    half = np.array(grid.size_mm) / 2
    world_from_cube = np.eye(4)
    world_from_cube[:3, :3] = grid.direction_matrix * half
    world_from_cube[:3, 3] = grid.centre_mm
    rows, columns = camera.detector_shape
    unit_from_pixel = np.array([[2 / columns, 0, 1 / columns - 1], [0, 2 / rows, 1 / rows - 1], [0, 0, 1.0]])
    projection = unit_from_pixel @ camera.image_from_world @ world_from_cube
    projection /= projection[2, 3]  # the grid centre has weight 1: well scaled in float32
    direction = camera.central_ray @ world_from_cube[:3, :3] / half.mean()
    return projection.astype(np.float32), np.append(direction, 0.0).astype(np.float32)
