"""The rays of a camera in voxel indices, as nine vectors that every projector starts from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import config
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid


@dataclass(frozen=True)
class RayFan:
    """All rays of one view: `position = start + t * step`, each linear in the pixel (column, row).

    Every table has three rows: the value at pixel (0, 0), its change per column, its change per row.

    Attributes:
        start: (3, 3) voxel indices (i, j, k) where t = 0: the source, or for a parallel beam a
            point of the plane through the camera's origin.
        step: (3, 3) voxel indices per unit of t; of a perspective camera t = 1 is the detector.
        length_mm: (3, 3) the step in camera-frame mm; its norm is the length of a unit of t.
        forward_only: True if matter at t < 0 (behind the source) does not count.
        shape: (rows, columns) of the detector.
    """

    start: NDArray[np.float64]
    step: NDArray[np.float64]
    length_mm: NDArray[np.float64]
    forward_only: bool
    shape: tuple[int, int]

    def turned(self) -> RayFan:
        """The same rays with columns and rows exchanged."""
        order = [0, 2, 1]
        return RayFan(self.start[order], self.step[order], self.length_mm[order], self.forward_only, self.shape[::-1])


def ray_fan(camera: Camera, grid: Grid) -> RayFan:
    """The rays of `camera` in voxel indices of `grid`."""
    index = grid.voxel_from_world
    turn = index[:3, :3] @ camera.pose[:3, :3]
    origin = index[:3, :3] @ camera.pose[:3, 3] + index[:3, 3]
    pixels = detector_mm(camera)
    if camera.kind == "perspective":
        start = np.zeros((3, 3))
        start[0] = origin
        return RayFan(start, pixels @ turn.T, pixels, True, camera.detector_shape)
    along = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    start = (pixels * (1.0, 1.0, 0.0)) @ turn.T
    start[0] += origin
    return RayFan(start, along @ turn.T, along, False, camera.detector_shape)


def detector_mm(camera: Camera) -> NDArray[np.float64]:
    """Camera-frame mm of pixel (0, 0), and the change per column and per row, (3, 3)."""
    row_mm, column_mm = camera.pixel_mm
    row0, column0 = camera.principal_point_px
    corner = (-column0 * column_mm, -row0 * row_mm, camera.source_detector_mm)
    return np.array([corner, (column_mm, 0.0, 0.0), (0.0, row_mm, 0.0)])


def in_threads(work: Callable[[int], None], parts: Iterable[int]) -> None:
    """Call `work` for every part, on as many threads as numba may use; the kernels release the lock.

    Own threads, not numba's: those may not be entered from two Python threads at once and do not
    survive a fork.
    """
    count = min(int(config.NUMBA_NUM_THREADS), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 64)
    if count <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(work, parts):
            pass
