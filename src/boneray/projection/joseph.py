"""Line integrals by Joseph's method, compiled.

Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE TMI 1982: along
the axis the ray crosses fastest (in voxels), step slice by slice and interpolate bilinearly in each.
Every slice stands for one voxel length, so a ray through a uniform block collects its exact
chord along the main axis, also where the body is cut by the volume's edge; the two cross
directions are cut at the outer voxel faces with the part of the slice that lies inside.

Two kernels give the same numbers. The general one takes any pose. Most radiographs have the
patient's long axis along the detector's rows or columns: then all rays of one detector column
share a plane with that axis, the interpolation across the plane is the same for the whole column,
and it is done once for a whole line of voxels instead of once per ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.projection.rays import RayFan, in_threads, ray_fan

# Detector columns carried through the volume together, so that lines of voxels are used while they are
# in the fast cache; where the next slab is the next line in memory, few are better.
BLOCK = 16
BLOCK_ALONG_MEMORY = 2
FAST = {"contract", "nsz", "arcp"}


@overload
def line_integrals(data: NDArray, grid: Grid, camera: Camera) -> NDArray[np.floating]: ...
@overload
def line_integrals(data: NDArray, grid: Grid, camera: Sequence[Camera]) -> list[NDArray[np.floating]]: ...
def line_integrals(data, grid, camera):
    """Integral of `data` along each detector ray.

    Args:
        data: (i, j, k) values per mm (attenuation), or 1 inside a mask to get chords in mm. A
            float64 array is integrated in double precision, any other in single. Arrays that are
            dense in any axis order are read in place.
        grid: where `data` lies.
        camera: any pose, perspective or parallel; or several cameras.
    Returns:
        (rows, columns) value times mm; one such array per camera if several are given. Rays that
        miss the volume give 0. The ray runs from the source to infinity; matter behind the source
        does not count.
    """
    stored = dense(data)
    if isinstance(camera, Camera):
        return _project(stored, ray_fan(camera, grid))
    return [_project(stored, ray_fan(one, grid)) for one in camera]


def dense(data: NDArray) -> NDArray[np.floating]:
    """`data` as float32 or float64 whose memory has no gaps; a copy only where it must be."""
    kind = np.float64 if data.dtype == np.float64 else np.float32
    values: NDArray[np.floating] = np.asarray(data, dtype=kind)
    order = np.argsort([-stride for stride in values.strides], kind="stable")
    return values if values.transpose(order).flags.c_contiguous else np.ascontiguousarray(values)


def flattened(data: NDArray) -> tuple[NDArray, NDArray[np.int64], NDArray[np.int64]]:
    """A dense array as (its memory, its shape, the jump in memory per step along each axis)."""
    jump = np.array(data.strides, dtype=np.int64) // data.itemsize
    return data.ravel(order="K"), np.array(data.shape, dtype=np.int64), jump


def _project(data: NDArray, fan: RayFan) -> NDArray[np.floating]:
    """(rows, columns) line integrals of dense `data`."""
    return slab_sums(data, fan, slopes=False)[0]


def slab_sums(data: NDArray, fan: RayFan, *, slopes: bool) -> NDArray[np.floating]:
    """What Joseph's method adds up along each ray.

    Args:
        data: dense (i, j, k) float array.
        fan: rays in voxel indices.
        slopes: also the sums that derivatives need.
    Returns:
        (1, rows, columns) line integrals; with slopes (5, rows, columns): the integral, then, with
        u and v the axes that follow the main axis of the ray, the sums over slabs of width x
        slope along u, width x slope along u x place, and the same for v; place is counted from
        the middle slab. All carry the factor mm per slab.
    """
    flat, shape, jump = flattened(data)
    rays, axis = arranged(fan, jump)
    if rays is not fan:
        return slab_sums(data, rays, slopes=slopes).transpose(0, 2, 1)
    rows, columns = fan.shape
    out = np.zeros((columns, 5 if slopes else 1, rows), data.dtype)
    middle = np.abs(fan.step[0] + 0.5 * columns * fan.step[1] + 0.5 * rows * fan.step[2])
    along_memory = axis is not None and jump[int(np.argmax(middle))] < jump[3 - axis - int(np.argmax(middle))]
    width = BLOCK_ALONG_MEMORY if along_memory else BLOCK

    def block(first: int) -> None:
        part = out[first : first + width]
        rays = (fan.start, fan.step, fan.length_mm, fan.forward_only)
        if axis is None:
            _any_block(flat, shape, jump, *rays, first, part)
        else:
            _plane_block(flat, shape, jump, *rays, axis, first, part)

    in_threads(block, range(0, columns, width))
    return out.transpose(1, 2, 0)


def arranged(fan: RayFan, jump: NDArray[np.int64]) -> tuple[RayFan, int | None]:
    """The rays as they are or with rows and columns exchanged, whichever reads memory better.

    Returns:
        the rays, and the axis that the rays of one column share a plane with if it is the one that
        is contiguous in memory; None for the general kernel.
    """
    nearest = int(np.argmin(jump))
    turned = fan.turned()
    for rays in (fan, turned):
        if shared_axis(rays) == nearest:
            return rays, nearest
    per_row, per_column = (np.abs(fan.step[n, nearest] + fan.start[n, nearest]) for n in (2, 1))
    return (fan if per_row >= per_column else turned), None


def shared_axis(fan: RayFan) -> int | None:
    """The array axis along which rays of one detector column differ, if it is one axis, else None.

    It must not be the main axis of any ray, which holds if it is not at the corners.
    """
    change = np.abs(np.stack([fan.start[2], fan.step[2]]))
    axis = int(np.argmax(change.sum(0)))
    others = [a for a in range(3) if a != axis]
    if change[:, others].max() > 1e-9 * change[:, axis].max():
        return None
    rows, columns = fan.shape
    for column in (0, columns - 1):
        for row in (0, rows - 1):
            step = np.abs(fan.step[0] + column * fan.step[1] + row * fan.step[2])
            if step[axis] > step[others].max():
                return None
    for row in (
        0,
        rows - 1,
    ):  # between the corners the larger of the other two is least in the middle or where they meet
        inner = fan.step[0] + np.linspace(0, columns - 1, 33)[:, None] * fan.step[1] + row * fan.step[2]
        if np.any(np.abs(inner[:, axis]) > 0.99 * np.abs(inner[:, others]).max(1)):
            return None
    return axis


@njit(cache=True, nogil=True, fastmath=FAST)
def _plane_block(flat, shape, jump, start, step, length_mm, forward_only, v, first, out):  # pragma: no cover - compiled
    """Detector columns from `first` on, where rays of one column differ along `v` only, the contiguous axis."""
    for main in range(3):
        if main != v:
            u = 3 - main - v
            _plane_block_along(flat, shape, jump, start, step, length_mm, forward_only, main, u, v, first, out)


@njit(cache=True, nogil=True, fastmath=FAST)
def _plane_block_along(
    flat, shape, jump, start, step, length_mm, forward_only, main, u, v, first, out
):  # pragma: no cover - compiled
    count, n_sums, rows = out.shape
    first_u = 1 if u == (main + 1) % 3 else 3  # where the sums of u and v belong
    first_v = 4 - first_u
    n_main, nu, nv = shape[main], shape[u], shape[v]
    enter, leave = np.empty(count), np.empty(count)
    slab_first, slab_last = n_main, -1
    for b in range(count):
        column = first + b
        dm = step[0, main] + column * step[1, main]
        du = step[0, u] + column * step[1, u]
        enter[b], leave[b] = 1.0, 0.0
        if abs(du) > abs(dm) or (abs(du) == abs(dm) and u < main):
            continue
        sm = start[0, main] + column * start[1, main]
        su = start[0, u] + column * start[1, u]
        low, high = _between_faces(sm, dm, su, du, n_main, nu, forward_only)
        enter[b], leave[b] = low, high
        if high > low:
            slab_first = min(slab_first, max(int(np.floor(low + 0.5)), 0))
            slab_last = max(slab_last, min(int(np.floor(high + 0.5)), n_main - 1))
    if slab_last < slab_first:
        return
    kind = flat.dtype.type
    line = np.empty(nv + 2, flat.dtype)  # one line of voxels along v, its ends repeated beyond the outer faces
    rise = np.empty(nv + 2, flat.dtype)
    place = np.empty(rows, np.uint32)
    part = np.empty(rows, flat.dtype)
    across, bend = np.zeros(nv + 2, flat.dtype), np.zeros(nv + 2, flat.dtype)  # the slope of `line` along u, its rise
    by_u, by_v = np.empty(rows, flat.dtype), np.empty(rows, flat.dtype)
    total = np.zeros((count, n_sums, rows), flat.dtype)
    beside = jump[u] if nu > 1 else 0
    for slab in range(slab_first, slab_last + 1):
        for b in range(count):
            bottom, top = max(enter[b], slab - 0.5), min(leave[b], slab + 0.5)
            if top <= bottom:
                continue
            column = first + b
            sm, dm = start[0, main] + column * start[1, main], step[0, main] + column * step[1, main]
            su, du = start[0, u] + column * start[1, u], step[0, u] + column * step[1, u]
            sv, dv = start[0, v] + column * start[1, v], step[0, v] + column * step[1, v]
            t = (0.5 * (bottom + top) - sm) / dm
            place_u = su + t * du
            pu = min(max(place_u, 0.0), nu - 1.0)
            iu = min(int(pu), max(nu - 2, 0))
            far = kind((pu - iu) * (top - bottom))
            near = kind((1.0 - pu + iu) * (top - bottom))
            base = slab * jump[main] + iu * jump[u]
            here, there = flat[base : base + nv], flat[base + beside : base + beside + nv]
            for k in range(nv):
                line[k + 1] = near * here[k] + far * there[k]
            line[0], line[nv + 1] = line[1], line[nv]
            for k in range(nv + 1):
                rise[k] = line[k + 1] - line[k]
            whole_first, whole_last, touched_first, touched_last = _rows_inside(
                sv, dv, start[2, v], step[2, v], (bottom - sm) / dm, (top - sm) / dm, nv, rows
            )
            at_zero, per_row = kind(sv + t * dv + 1.0), kind(start[2, v] + t * step[2, v])
            for row in range(np.uint32(whole_first), np.uint32(whole_last + 1)):
                position = at_zero + per_row * kind(np.int32(row))
                cell = np.int32(position)
                place[row] = np.uint32(cell)
                part[row] = position - kind(cell)
            sums = total[b, 0]
            for row in range(np.uint32(whole_first), np.uint32(whole_last + 1)):
                at = np.uint64(place[row])
                sums[row] += line[at] + part[row] * rise[at]
            if n_sums > 1:
                x = kind(0.5 * (bottom + top) - 0.5 * (n_main - 1))
                width = kind(top - bottom) if place_u == pu else kind(0)
                for k in range(nv):
                    across[k + 1] = width * (there[k] - here[k])
                across[0], across[nv + 1] = across[1], across[nv]
                for k in range(nv + 1):
                    bend[k] = across[k + 1] - across[k]
                for row in range(np.uint32(whole_first), np.uint32(whole_last + 1)):
                    at = np.uint64(place[row])
                    by_u[row] = across[at] + part[row] * bend[at]
                    by_v[row] = rise[at]
                _add_slopes(total[b, first_u], total[b, first_u + 1], by_u, x, whole_first, whole_last)
                _add_slopes(total[b, first_v], total[b, first_v + 1], by_v, x, whole_first, whole_last)
            for side in range(2):  # rays that cross an outer face of v within this slab
                edge_first = touched_first if side == 0 else whole_last + 1
                edge_last = whole_first - 1 if side == 0 else touched_last
                for row in range(edge_first, edge_last + 1):
                    sv_row, dv_row = sv + row * start[2, v], dv + row * step[2, v]
                    low, high = _between_faces(sm, dm, sv_row, dv_row, n_main, nv, forward_only)
                    low, high = max(low, bottom), min(high, top)
                    if high > low:
                        t_row = (0.5 * (low + high) - sm) / dm
                        pu_row, pv_row = su + t_row * du, sv_row + t_row * dv_row
                        value, slope_u, slope_v = bilinear(
                            flat, slab * jump[main], pu_row, pv_row, nu, nv, jump[u], jump[v]
                        )
                        sums[row] += kind((high - low) * value)
                        if n_sums > 1:
                            x_row = 0.5 * (low + high) - 0.5 * (n_main - 1)
                            total[b, first_u, row] += kind((high - low) * slope_u)
                            total[b, first_u + 1, row] += kind((high - low) * slope_u * x_row)
                            total[b, first_v, row] += kind((high - low) * slope_v)
                            total[b, first_v + 1, row] += kind((high - low) * slope_v * x_row)
    for b in range(count):
        if leave[b] <= enter[b]:
            continue
        column = first + b
        dm = abs(step[0, main] + column * step[1, main])
        for row in range(rows):
            scale = kind(ray_length_mm(length_mm, column, row) / dm)
            for n in range(n_sums):
                out[b, n, row] = total[b, n, row] * scale


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_slopes(sums, places, slope, x, first, last):  # pragma: no cover - compiled
    """Add slopes, and slopes times place x, for the rows from first to last."""
    for row in range(np.uint32(first), np.uint32(last + 1)):
        sums[row] += slope[row]
        places[row] += x * slope[row]


@njit(cache=True, nogil=True)
def ray_length_mm(length_mm, column, row):  # pragma: no cover - compiled
    """mm per unit of t of one ray."""
    squares = 0.0
    for axis in range(3):
        squares += (length_mm[0, axis] + column * length_mm[1, axis] + row * length_mm[2, axis]) ** 2
    return np.sqrt(squares)


@njit(cache=True, nogil=True)
def _between_faces(sm, dm, su, du, n_main, nu, forward_only):  # pragma: no cover - compiled
    """Where along the main axis a ray is inside the outer faces of the main axis and of one other."""
    low, high = -0.5, n_main - 0.5
    if abs(du) < 1e-12 * abs(dm):
        if su <= -0.5 or su >= nu - 0.5:
            return 1.0, 0.0
    else:
        a = sm + (-0.5 - su) * dm / du
        b = sm + (nu - 0.5 - su) * dm / du
        low, high = max(low, min(a, b)), min(high, max(a, b))
    if forward_only:
        if dm > 0:
            low = max(low, sm)
        else:
            high = min(high, sm)
    return low, high


@njit(cache=True, nogil=True)
def _rows_inside(sv, dv, sv_row, dv_row, t_bottom, t_top, nv, rows):  # pragma: no cover - compiled
    """Rows whose rays stay inside the faces of axis v through a slab, and rows that touch it at all.

    Returns (first, last) of both, inclusive; a ray crosses v at sv + row sv_row + t (dv + row dv_row).
    """
    whole_low, whole_high = 0.0, rows - 1.0
    touched_low, touched_high = np.inf, -np.inf
    for t in (t_bottom, t_top):
        at_zero, per_row = sv + t * dv, sv_row + t * dv_row
        if abs(per_row) < 1e-12:
            inside = -0.5 < at_zero < nv - 0.5
            low, high = (0.0, rows - 1.0) if inside else (rows + 1.0, -1.0)
        else:
            a, b = (-0.5 - at_zero) / per_row, (nv - 0.5 - at_zero) / per_row
            low, high = min(a, b), max(a, b)
        whole_low, whole_high = max(whole_low, low), min(whole_high, high)
        touched_low, touched_high = min(touched_low, low), max(touched_high, high)
    whole_first, whole_last = int(np.ceil(whole_low)), int(np.floor(whole_high))
    touched_first = int(max(np.floor(touched_low), 0.0))
    touched_last = int(min(np.ceil(touched_high), rows - 1.0))
    if whole_last < whole_first:
        whole_first, whole_last = touched_first, touched_first - 1
    return whole_first, whole_last, touched_first, touched_last


@njit(cache=True, nogil=True)
def bilinear(flat, base, pu, pv, nu, nv, jump_u, jump_v):  # pragma: no cover - compiled
    """(value, slope along u, slope along v) in the slab that begins at `base`.

    Positions beyond the outer voxel centres take the outermost value and have no slope there.
    """
    qu, qv = min(max(pu, 0.0), nu - 1.0), min(max(pv, 0.0), nv - 1.0)
    iu, iv = min(int(qu), max(nu - 2, 0)), min(int(qv), max(nv - 2, 0))
    fu, fv = qu - iu, qv - iv
    du = jump_u if nu > 1 else 0
    dv = jump_v if nv > 1 else 0
    at = base + iu * jump_u + iv * jump_v
    a, b, c, d = flat[at], flat[at + dv], flat[at + du], flat[at + du + dv]
    near, far = a + fv * (b - a), c + fv * (d - c)
    slope_u = far - near if qu == pu else 0.0
    slope_v = (b - a) + fu * ((d - c) - (b - a)) if qv == pv else 0.0
    return near + fu * (far - near), slope_u, slope_v


@njit(cache=True, nogil=True)
def ray_lines(shape, start, step, forward_only, main, column, row, out):  # pragma: no cover - compiled
    """One ray as a line over its main axis; False if another axis is its main one or it misses.

    Fills out with: enter and leave (main index), and for the two other axes in cyclic order the
    position at the middle slab and its slope per slab.
    """
    for axis in range(3):
        out[6 + axis] = start[0, axis] + column * start[1, axis] + row * start[2, axis]
        out[9 + axis] = step[0, axis] + column * step[1, axis] + row * step[2, axis]
    dm = out[9 + main]
    for axis in range(3):
        other = abs(out[9 + axis])
        if other > abs(dm) or (other == abs(dm) and axis < main):
            return False
    low, high = -0.5, shape[main] - 0.5
    middle = 0.5 * (shape[main] - 1)
    for n in range(2):
        axis = (main + 1 + n) % 3
        sm, su, du = out[6 + main], out[6 + axis], out[9 + axis]
        a, b = _between_faces(sm, dm, su, du, shape[main], shape[axis], forward_only)
        low, high = max(low, a), min(high, b)
        out[3 + 2 * n] = du / dm
        out[2 + 2 * n] = su + (middle - sm) * du / dm
    out[0], out[1] = low, high
    return high > low


@njit(cache=True, nogil=True, fastmath=FAST)
def _any_block(flat, shape, jump, start, step, length_mm, forward_only, first, out):  # pragma: no cover - compiled
    """Detector columns from `first` on of a view in any pose."""
    for main in range(3):
        _any_block_along(flat, shape, jump, start, step, length_mm, forward_only, main, first, out)


@njit(cache=True, nogil=True, fastmath=FAST)
def _any_block_along(
    flat, shape, jump, start, step, length_mm, forward_only, main, first, out
):  # pragma: no cover - compiled
    u, v = (main + 1) % 3, (main + 2) % 3
    count, n_sums, rows = out.shape
    kind = flat.dtype.type
    # per ray: enter, leave along the main axis; position at the middle slab and slope along u and v
    line = np.zeros((count, 6, rows), flat.dtype)
    total = np.zeros((count, n_sums, rows), flat.dtype)
    place, weight = np.empty(rows, np.uint32), np.empty(rows, flat.dtype)
    part_u, part_v = np.empty(rows, flat.dtype), np.empty(rows, flat.dtype)
    inside_u, inside_v = np.empty(rows, flat.dtype), np.empty(rows, flat.dtype)
    ray = np.empty(12)
    top_u, top_v = kind(shape[u] - 1), kind(shape[v] - 1)
    last_u, last_v = np.int32(max(shape[u] - 2, 0)), np.int32(max(shape[v] - 2, 0))
    ju, jv = np.int32(jump[u]), np.int32(jump[v])
    beside_u = np.uint64(jump[u] if shape[u] > 1 else 0)
    beside_v = np.uint64(jump[v] if shape[v] > 1 else 0)
    beside_both = beside_u + beside_v
    zero, half = kind(0), kind(0.5)
    middle = 0.5 * (shape[main] - 1)
    slab_first, slab_last = shape[main], np.int64(-1)
    for b in range(count):
        for row in range(rows):
            if ray_lines(shape, start, step, forward_only, main, first + b, row, ray):
                slab_first = min(slab_first, max(np.int64(np.floor(ray[0] + 0.5)), 0))
                slab_last = max(slab_last, min(np.int64(np.floor(ray[1] + 0.5)), shape[main] - 1))
                line[b, 0, row], line[b, 1, row] = kind(ray[0] - middle), kind(ray[1] - middle)
                for n in range(2, 6):
                    line[b, n, row] = kind(ray[n])
            else:
                line[b, 0, row] = kind(1)
    for slab in range(slab_first, slab_last + 1):
        bottom_face, top_face = kind(slab - middle - 0.5), kind(slab - middle + 0.5)
        plane = flat[slab * jump[main] :]
        for b in range(count):
            enter, leave = line[b, 0], line[b, 1]
            at_u, slope_u, at_v, slope_v = line[b, 2], line[b, 3], line[b, 4], line[b, 5]
            sums = total[b, 0]
            for row in range(np.uint32(rows)):
                bottom, top = max(enter[row], bottom_face), min(leave[row], top_face)
                weight[row] = max(top - bottom, zero)
                x = half * (bottom + top)
                place_u, place_v = at_u[row] + x * slope_u[row], at_v[row] + x * slope_v[row]
                pu, pv = min(max(place_u, zero), top_u), min(max(place_v, zero), top_v)
                inside_u[row] = weight[row] if pu == place_u else zero
                inside_v[row] = weight[row] if pv == place_v else zero
                iu, iv = min(np.int32(pu), last_u), min(np.int32(pv), last_v)
                part_u[row], part_v[row] = pu - kind(iu), pv - kind(iv)
                place[row] = np.uint32(iu * ju + iv * jv)
            for row in range(np.uint32(rows)):
                at = np.uint64(place[row])
                near, far = plane[at], plane[at + beside_u]
                near += part_v[row] * (plane[at + beside_v] - near)
                far += part_v[row] * (plane[at + beside_both] - far)
                sums[row] += weight[row] * (near + part_u[row] * (far - near))
            if n_sums == 1:
                continue
            sums_u, places_u, sums_v, places_v = total[b, 1], total[b, 2], total[b, 3], total[b, 4]
            for row in range(np.uint32(rows)):
                at = np.uint64(place[row])
                here, there = plane[at], plane[at + beside_u]
                rise, rise_there = plane[at + beside_v] - here, plane[at + beside_both] - there
                x = half * (max(enter[row], bottom_face) + min(leave[row], top_face))
                by_u = inside_u[row] * (there - here + part_v[row] * (rise_there - rise))
                by_v = inside_v[row] * (rise + part_u[row] * (rise_there - rise))
                sums_u[row] += by_u
                places_u[row] += x * by_u
                sums_v[row] += by_v
                places_v[row] += x * by_v
    for b in range(count):
        for row in range(rows):
            if line[b, 1, row] > line[b, 0, row]:
                column = first + b
                dm = abs(step[0, main] + column * step[1, main] + row * step[2, main])
                scale = kind(ray_length_mm(length_mm, column, row) / dm)
                for n in range(n_sums):
                    out[b, n, row] = total[b, n, row] * scale
