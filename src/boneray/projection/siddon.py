"""Siddon's method: the exact path through voxels of constant value, stepped from face to face.

Siddon, "Fast calculation of the exact radiological path for a three-dimensional CT array", Med.
Phys. 1985. Voxels are boxes: exact for a box phantom, rougher than Joseph's interpolation for
everything smooth. The same walk finds where a ray enters and leaves each bone of a label map.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.projection.joseph import BLOCK, dense, flattened, ray_length_mm
from boneray.projection.rays import in_threads, ray_fan


def siddon_line_integrals(data: NDArray, grid: Grid, camera: Camera) -> NDArray[np.floating]:
    """Integral of `data` along each ray, every voxel a box; arguments and result as `line_integrals`."""
    stored = dense(data)
    flat, shape, jump = flattened(stored)
    fan = ray_fan(camera, grid)
    rows, columns = fan.shape
    out = np.zeros((columns, rows), stored.dtype)

    def block(first: int) -> None:
        part = out[first : first + BLOCK]
        _siddon_block(flat, shape, jump, fan.start, fan.step, fan.length_mm, fan.forward_only, first, part)

    in_threads(block, range(0, columns, BLOCK))
    return out.T


@njit(cache=True, nogil=True)
def _siddon_block(flat, shape, jump, start, step, length_mm, forward_only, first, out):  # pragma: no cover - compiled
    voxel, sign = np.empty(3, np.int64), np.empty(3, np.int64)
    time = np.empty(8)
    for b in range(out.shape[0]):
        for row in range(out.shape[1]):
            if not enter_volume(shape, start, step, forward_only, first + b, row, voxel, sign, time):
                continue
            # the walk of `next_voxel` with everything in registers
            place = voxel[0] * jump[0] + voxel[1] * jump[1] + voxel[2] * jump[2]
            now = time[0]
            end = time[1] - 1e-12 * max(abs(time[0]), abs(time[1]))  # rounding must not lead out of the volume
            at_i, at_j, at_k, pace_i, pace_j, pace_k = time[2], time[3], time[4], time[5], time[6], time[7]
            jump_i, jump_j, jump_k = sign[0] * jump[0], sign[1] * jump[1], sign[2] * jump[2]
            total = 0.0
            while True:
                value = flat[place]
                if at_i <= at_j and at_i <= at_k:
                    face, at_i, place = at_i, at_i + pace_i, place + jump_i
                elif at_j <= at_k:
                    face, at_j, place = at_j, at_j + pace_j, place + jump_j
                else:
                    face, at_k, place = at_k, at_k + pace_k, place + jump_k
                if face >= end:
                    total += (time[1] - now) * value
                    break
                total += (face - now) * value
                now = face
            out[b, row] = total * ray_length_mm(length_mm, first + b, row)


@njit(cache=True, nogil=True)
def enter_volume(shape, start, step, forward_only, column, row, voxel, sign, time):  # pragma: no cover - compiled
    """Put a ray at the first voxel it meets; False if it misses the volume.

    Fills voxel (index) and sign (direction) per axis, and time: [0] now, [1] when the ray leaves
    the volume, [2:5] when it meets the next face of each axis, [5:8] from face to face.
    """
    low, high = (0.0 if forward_only else -np.inf), np.inf
    for axis in range(3):
        s = start[0, axis] + column * start[1, axis] + row * start[2, axis]
        d = step[0, axis] + column * step[1, axis] + row * step[2, axis]
        if d == 0.0:
            if s <= -0.5 or s >= shape[axis] - 0.5:
                return False
            continue
        a, b = (-0.5 - s) / d, (shape[axis] - 0.5 - s) / d
        low, high = max(low, min(a, b)), min(high, max(a, b))
    if high <= low:
        return False
    time[0], time[1] = low, high
    for axis in range(3):
        s = start[0, axis] + column * start[1, axis] + row * start[2, axis]
        d = step[0, axis] + column * step[1, axis] + row * step[2, axis]
        place = s + low * d
        if d == 0.0:
            sign[axis], time[2 + axis], time[5 + axis] = 0, np.inf, np.inf
            voxel[axis] = min(max(int(np.floor(place + 0.5)), 0), shape[axis] - 1)
            continue
        sign[axis] = 1 if d > 0 else -1
        index = int(np.floor(place + 0.5)) if d > 0 else int(np.ceil(place + 0.5)) - 1
        voxel[axis] = min(max(index, 0), shape[axis] - 1)
        time[5 + axis] = 1.0 / abs(d)
        time[2 + axis] = max((voxel[axis] + 0.5 * sign[axis] - s) / d, low)
    return True


@njit(cache=True, nogil=True)
def next_voxel(shape, voxel, sign, time):  # pragma: no cover - compiled
    """Step to the next voxel of the ray; False once it leaves the volume (time[0] is then the exit)."""
    axis = 0
    if time[3] < time[2]:
        axis = 1
    if time[4] < time[2 + axis]:
        axis = 2
    if time[2 + axis] >= time[1]:
        time[0] = time[1]
        return False
    time[0] = time[2 + axis]
    time[2 + axis] += time[5 + axis]
    voxel[axis] += sign[axis]
    if voxel[axis] < 0 or voxel[axis] >= shape[axis]:
        time[0] = time[1]
        return False
    return True
