"""Maximum-intensity projection: the largest value each ray meets, at the samples of Joseph's method."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.projection.joseph import BLOCK, bilinear, dense, flattened, ray_lines
from boneray.projection.rays import in_threads, ray_fan


def ray_maxima(data: NDArray, grid: Grid, camera: Camera) -> NDArray[np.floating]:
    """Largest interpolated value of `data` that each ray meets, (rows, columns).

    Rays that miss the volume give 0, and so do rays that meet nothing above it: for HU add 1000
    first. Of a mask, 0.5 is reached where the ray touches the surface, whatever its curvature.
    """
    stored = dense(data)
    flat, shape, jump = flattened(stored)
    fan = ray_fan(camera, grid)
    rows, columns = fan.shape
    out = np.zeros((columns, rows), stored.dtype)

    def block(first: int) -> None:
        _maxima_block(flat, shape, jump, fan.start, fan.step, fan.forward_only, first, min(first + BLOCK, columns), out)

    in_threads(block, range(0, columns, BLOCK))
    return out.T


@njit(cache=True, nogil=True)
def _maxima_block(flat, shape, jump, start, step, forward_only, first, last, out):  # pragma: no cover - compiled
    ray = np.empty(12)
    for column in range(first, last):
        for row in range(out.shape[1]):
            for main in range(3):
                if not ray_lines(shape, start, step, forward_only, main, column, row, ray):
                    continue
                u, v = (main + 1) % 3, (main + 2) % 3
                middle = 0.5 * (shape[main] - 1)
                slab_first = max(int(np.floor(ray[0] + 0.5)), 0)
                slab_last = min(int(np.floor(ray[1] + 0.5)), shape[main] - 1)
                for slab in range(slab_first, slab_last + 1):
                    x = 0.5 * (max(ray[0], slab - 0.5) + min(ray[1], slab + 0.5)) - middle
                    value, _, _ = bilinear(
                        flat,
                        slab * jump[main],
                        ray[2] + x * ray[3],
                        ray[4] + x * ray[5],
                        shape[u],
                        shape[v],
                        jump[u],
                        jump[v],
                    )
                    out[column, row] = max(out[column, row], value)
