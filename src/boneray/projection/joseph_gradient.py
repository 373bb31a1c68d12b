"""Derivatives of Joseph's line integrals: with respect to the volume (the adjoint) and to the rays.

Joseph's method is linear in the voxels, so its gradient there is the transposed operation: every
ray hands its value back to the voxels it was interpolated from, with the same weights. With respect
to a ray it is the derivative of the bilinear interpolation at each sample, plus what the ends of
the ray contribute where it enters and leaves the volume.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.projection.joseph import BLOCK, bilinear, flattened, ray_length_mm, ray_lines, slab_sums
from boneray.projection.rays import RayFan, in_threads, ray_fan


def back_project(values: NDArray, grid: Grid, camera: Camera) -> NDArray[np.floating]:
    """The exact adjoint of `line_integrals`: sum over rays of value times weight, (i, j, k).

    Args:
        values: (rows, columns), one per ray; float64 stays double, any other becomes single.
        grid, camera: as for `line_integrals`.
    Returns:
        array on `grid`, so that <line_integrals(x), y> = <x, back_project(y)> for all x and y.
    """
    return adjoint(np.asarray(values), ray_fan(camera, grid), grid.shape)


def adjoint(values: NDArray, fan: RayFan, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """`back_project` for rays already in voxel indices."""
    kind = np.float64 if values.dtype == np.float64 else np.float32
    out = np.zeros(shape, kind)
    flat, sizes, jump = flattened(out)
    weights = np.ascontiguousarray(values.T, dtype=np.float64)
    for main in range(3):  # slabs of one axis never share a voxel, so threads can take some each

        def slabs(first: int, main: int = main) -> None:
            last = min(first + BLOCK, shape[main])
            _spread(flat, sizes, jump, fan.start, fan.step, fan.length_mm, fan.forward_only, main, first, last, weights)

        in_threads(slabs, range(0, shape[main], BLOCK))
    return out


def ray_partials(data: NDArray, fan: RayFan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Line integrals and their derivatives with respect to each ray.

    Args:
        data: dense (i, j, k) float array.
        fan: rays in voxel indices.
    Returns:
        (rows, columns) integrals and (rows, columns, 6) derivatives with respect to the ray's start
        and step in voxel indices, the length of a step in mm held fixed.
    """
    flat, sizes, jump = flattened(data)
    sums = slab_sums(data, fan, slopes=True)
    rows, columns = fan.shape
    out = np.zeros((columns, rows, 6))

    def block(first: int) -> None:
        last = min(first + BLOCK, columns)
        _partials(flat, sizes, jump, fan.start, fan.step, fan.length_mm, fan.forward_only, first, last, sums, out)

    in_threads(block, range(0, columns, BLOCK))
    return sums[0], out.transpose(1, 0, 2)


@njit(cache=True, nogil=True)
def _spread(
    flat, shape, jump, start, step, length_mm, forward_only, main, slab_from, slab_to, values
):  # pragma: no cover - compiled
    u, v = (main + 1) % 3, (main + 2) % 3
    columns, rows = values.shape
    ray = np.empty(12)
    middle = 0.5 * (shape[main] - 1)
    last_u, last_v = max(shape[u] - 2, 0), max(shape[v] - 2, 0)
    du = jump[u] if shape[u] > 1 else 0
    dv = jump[v] if shape[v] > 1 else 0
    for column in range(columns):
        for row in range(rows):
            if values[column, row] == 0.0 or not ray_lines(shape, start, step, forward_only, main, column, row, ray):
                continue
            scale = values[column, row] * ray_length_mm(length_mm, column, row) / abs(ray[9 + main])
            first = max(int(np.floor(ray[0] + 0.5)), slab_from)
            last = min(int(np.floor(ray[1] + 0.5)), slab_to - 1)
            for slab in range(first, last + 1):
                bottom, top = max(ray[0], slab - 0.5), min(ray[1], slab + 0.5)
                if top <= bottom:
                    continue
                x = 0.5 * (bottom + top) - middle
                pu = min(max(ray[2] + x * ray[3], 0.0), shape[u] - 1.0)
                pv = min(max(ray[4] + x * ray[5], 0.0), shape[v] - 1.0)
                iu, iv = min(int(pu), last_u), min(int(pv), last_v)
                fu, fv = pu - iu, pv - iv
                at = slab * jump[main] + iu * jump[u] + iv * jump[v]
                share = scale * (top - bottom)
                flat[at] += share * (1.0 - fu) * (1.0 - fv)
                flat[at + dv] += share * (1.0 - fu) * fv
                flat[at + du] += share * fu * (1.0 - fv)
                flat[at + du + dv] += share * fu * fv


@njit(cache=True, nogil=True)
def _partials(
    flat, shape, jump, start, step, length_mm, forward_only, first, last, sums, out
):  # pragma: no cover - compiled
    ray, own, add = np.empty(12), np.empty(6), np.empty(5)
    for column in range(first, last):
        for row in range(out.shape[1]):
            for main in range(3):
                if not ray_lines(shape, start, step, forward_only, main, column, row, ray):
                    continue
                for n in range(5):
                    add[n] = sums[n, row, column]
                own[:] = 0.0
                scale = ray_length_mm(length_mm, column, row) / abs(ray[9 + main])
                _ray_partials(flat, shape, jump, main, ray, scale, forward_only, add, own)
                for n in range(6):
                    out[column, row, n] = own[n]


@njit(cache=True, nogil=True)
def _ray_partials(flat, shape, jump, main, ray, scale, forward_only, sums, out):  # pragma: no cover - compiled
    """Add to out the derivatives by start (3) and step (3), from the sums along the ray."""
    sm, dm = ray[6 + main], ray[9 + main]
    middle = 0.5 * (shape[main] - 1)
    out[3 + main] -= sums[0] / dm  # the slabs are longer for a ray that crosses them slowly
    for n in range(2):
        axis = (main + 1 + n) % 3
        by_place, by_slope = sums[1 + 2 * n], sums[2 + 2 * n]
        da = ray[9 + axis]
        # place at the middle slab = s + (middle - sm) d / dm; slope = d / dm
        out[axis] += by_place
        out[main] -= by_place * da / dm
        by_ratio = by_place * (middle - sm) + by_slope
        out[3 + axis] += by_ratio / dm
        out[3 + main] -= by_ratio * da / dm**2
    for leaving in range(2):
        _end_partials(flat, shape, jump, main, ray, leaving, scale, forward_only, out)


@njit(cache=True, nogil=True)
def _end_partials(flat, shape, jump, main, ray, leaving, scale, forward_only, out):  # pragma: no cover - compiled
    """Add what the motion of one end of the ray contributes."""
    u, v = (main + 1) % 3, (main + 2) % 3
    sm, dm, end = ray[6 + main], ray[9 + main], ray[leaving]
    if end == -0.5 or end == shape[main] - 0.5:
        return  # a face of the main axis: the end does not move along it
    slab = min(max(int(np.floor(end + 0.5)), 0), shape[main] - 1)
    bottom, top = max(ray[0], slab - 0.5), min(ray[1], slab + 0.5)
    x = 0.5 * (bottom + top) - 0.5 * (shape[main] - 1)
    value, slope_u, slope_v = bilinear(
        flat, slab * jump[main], ray[2] + x * ray[3], ray[4] + x * ray[5], shape[u], shape[v], jump[u], jump[v]
    )
    # the sample in the cut slab moves with half the motion of the end, and the slab grows or shrinks
    along = 0.5 * (top - bottom) * (slope_u * ray[3] + slope_v * ray[5])
    by_end = scale * (along + value if leaving else along - value)
    if forward_only and end == sm:
        out[main] += by_end
        return
    best, which, face = np.inf, -1, 0.0
    for n in range(2):
        axis = (main + 1 + n) % 3
        sa, da = ray[6 + axis], ray[9 + axis]
        if abs(da) < 1e-12 * abs(dm):
            continue
        for side in range(2):
            wall = -0.5 if side == 0 else shape[axis] - 0.5
            miss = abs(sm + (wall - sa) * dm / da - end)
            if miss < best:
                best, which, face = miss, axis, wall
    if which < 0:
        return
    sa, da = ray[6 + which], ray[9 + which]
    reach = (face - sa) / da
    out[main] += by_end
    out[3 + main] += by_end * reach
    out[which] -= by_end * dm / da
    out[3 + which] -= by_end * reach * dm / da
