"""Signed distances of primitives on a voxel box. Single-threaded, so the same seed gives the same bytes.

The sphere-swept cone, the ellipsoid bound and the triangle distance are textbook signed
distances (collected by I. Quilez, iquilezles.org/articles/distfunctions), written anew here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAR_MM = 1e3


@njit(cache=True)
def _blended_min(a, b, width):
    gap = width - abs(a - b)
    return min(a, b) if gap <= 0.0 else min(a, b) - gap * gap / (4.0 * width)


@njit(cache=True)
def _ellipsoid(x, y, z, s):
    u, v, w = x / s[0], y / s[1], z / s[2]
    rho = math.sqrt(u * u + v * v + w * w)
    slope = math.sqrt((u / s[0]) ** 2 + (v / s[1]) ** 2 + (w / s[2]) ** 2)
    if slope < 1e-9:
        return -min(s[0], s[1], s[2])
    return rho * (rho - 1.0) / slope


@njit(cache=True)
def _cone(x, y, z, s):
    length, r0, r1 = s[0], s[1], s[2]
    r = math.sqrt(x * x + y * y)
    sine = (r0 - r1) / length
    cosine = math.sqrt(1.0 - sine * sine)
    along = cosine * z - sine * r
    if along < 0.0:
        return math.sqrt(r * r + z * z) - r0
    if along > cosine * length:
        return math.sqrt(r * r + (z - length) ** 2) - r1
    return cosine * r + sine * z - r0


@njit(cache=True)
def _box(x, y, z, s):
    qx, qy, qz = abs(x) - s[0] + s[3], abs(y) - s[1] + s[3], abs(z) - s[2] + s[3]
    outside = math.sqrt(max(qx, 0.0) ** 2 + max(qy, 0.0) ** 2 + max(qz, 0.0) ** 2)
    return outside + min(max(qx, qy, qz), 0.0) - s[3]


@njit(cache=True)
def _ellipse(x, y, a, b):
    u, v = x / a, y / b
    rho = math.sqrt(u * u + v * v)
    slope = math.sqrt((u / a) ** 2 + (v / b) ** 2)
    return -min(a, b) if slope < 1e-9 else rho * (rho - 1.0) / slope


@njit(cache=True)
def _edge_squared(px, py, pz, ex, ey, ez):
    t = (px * ex + py * ey + pz * ez) / (ex * ex + ey * ey + ez * ez)
    t = min(max(t, 0.0), 1.0)
    return (px - t * ex) ** 2 + (py - t * ey) ** 2 + (pz - t * ez) ** 2


@njit(cache=True)
def _plate(x, y, z, s):
    abx, aby, abz = s[3] - s[0], s[4] - s[1], s[5] - s[2]
    bcx, bcy, bcz = s[6] - s[3], s[7] - s[4], s[8] - s[5]
    cax, cay, caz = s[0] - s[6], s[1] - s[7], s[2] - s[8]
    ax, ay, az = x - s[0], y - s[1], z - s[2]
    bx, by, bz = x - s[3], y - s[4], z - s[5]
    cx, cy, cz = x - s[6], y - s[7], z - s[8]
    nx, ny, nz = aby * bcz - abz * bcy, abz * bcx - abx * bcz, abx * bcy - aby * bcx
    # Inside the prism over the triangle the plane is nearest, outside one of the edges.
    left_ab = (ny * abz - nz * aby) * ax + (nz * abx - nx * abz) * ay + (nx * aby - ny * abx) * az
    left_bc = (ny * bcz - nz * bcy) * bx + (nz * bcx - nx * bcz) * by + (nx * bcy - ny * bcx) * bz
    left_ca = (ny * caz - nz * cay) * cx + (nz * cax - nx * caz) * cy + (nx * cay - ny * cax) * cz
    if left_ab >= 0.0 and left_bc >= 0.0 and left_ca >= 0.0:
        return abs(nx * ax + ny * ay + nz * az) / math.sqrt(nx * nx + ny * ny + nz * nz) - s[9]
    squared = min(_edge_squared(ax, ay, az, abx, aby, abz), _edge_squared(bx, by, bz, bcx, bcy, bcz))
    return math.sqrt(min(squared, _edge_squared(cx, cy, cz, cax, cay, caz))) - s[9]


@njit(cache=True)
def _body(x, y, z, s):
    """Vertebral body; sizes as in `vertebra_shape.BodyShape.primitive`. Exact walls where x = 0."""
    back, front_top, front_bottom, half_width = s[0], s[1], s[2], s[3]
    top_back, top_front, bottom_back, bottom_front = s[4], s[5], s[6], s[7]
    waist, dip, kidney, rounding = s[8], s[9], s[10], s[11]
    height = min(max((z - bottom_front) / (top_front - bottom_front), 0.0), 1.0)
    narrow = waist * 4.0 * height * (1.0 - height)
    front = front_bottom + height * (front_top - front_bottom) - narrow
    wide = half_width - narrow
    middle, depth = (front + back) / 2.0, (front - back) / 2.0
    bulge = kidney * min((x / wide) ** 2, 1.0) * min(max((middle - y) / depth, 0.0), 1.0)
    wall = _ellipse(x, y + bulge - middle, wide, depth)
    rho = (x / wide) ** 2 + ((y - middle) / depth) ** 2
    hollow = dip * max(1.0 - rho, 0.0)
    slope_top = (top_front - top_back) / (front_top - back)
    slope_bottom = (bottom_front - bottom_back) / (front_bottom - back)
    above = (z - top_back - slope_top * (y - back) + hollow) / math.sqrt(1.0 + slope_top**2)
    below = (bottom_back + slope_bottom * (y - back) + hollow - z) / math.sqrt(1.0 + slope_bottom**2)
    return -_blended_min(-wall, -max(above, below), rounding)


@njit(cache=True)
def _distance(kind, x, y, z, s):
    if kind == 0:
        return _ellipsoid(x, y, z, s)
    if kind == 1:
        return _cone(x, y, z, s)
    if kind == 2:
        return _box(x, y, z, s)
    if kind == 3:
        return _ellipse(x, y, s[0], s[1])
    if kind == 4:
        return z
    if kind == 5:
        return _plate(x, y, z, s)
    return _body(x, y, z, s)


@njit(cache=True)
def join(field, origin_mm, spacing_mm, low, high, row):
    """Join one primitive (`Primitive.row`) into `field`, in place, within voxels low..high (exclusive)."""
    kind, operation, blend, scale = int(row[0]), int(row[1]), row[2], row[3]
    shift, turn, sizes = row[4:7], row[7:16], row[16:]
    width = max(blend, 1e-6)
    for i in range(low[0], high[0]):
        px = (origin_mm[0] + i * spacing_mm - shift[0]) / scale
        for j in range(low[1], high[1]):
            py = (origin_mm[1] + j * spacing_mm - shift[1]) / scale
            for k in range(low[2], high[2]):
                pz = (origin_mm[2] + k * spacing_mm - shift[2]) / scale
                x = turn[0] * px + turn[3] * py + turn[6] * pz
                y = turn[1] * px + turn[4] * py + turn[7] * pz
                z = turn[2] * px + turn[5] * py + turn[8] * pz
                here = scale * _distance(kind, x, y, z, sizes)
                before = float(field[i, j, k])
                if operation == 0:
                    field[i, j, k] = np.float32(_blended_min(before, here, width))
                elif operation == 1:
                    field[i, j, k] = np.float32(-_blended_min(-before, here, width))
                else:
                    field[i, j, k] = np.float32(-_blended_min(-before, -here, width))
