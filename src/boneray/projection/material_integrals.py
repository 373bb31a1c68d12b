"""Mass along each ray, kept apart by material, in one walk through the volume."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.projection.joseph import BLOCK, ray_length_mm, ray_lines
from boneray.projection.rays import in_threads, ray_fan


def material_integrals(
    density: NDArray, material: NDArray[np.integer], count: int, grid: Grid, camera: Camera
) -> NDArray[np.float32]:
    """Line integrals of `density`, one per material, by Joseph's method.

    Each of the four voxels that a sample is interpolated from adds to its own material, so the
    integrals of all materials together are the integral of the density.

    Args:
        density: (i, j, k) any quantity per volume, such as g/cm3.
        material: (i, j, k) whole numbers from 0 to count - 1.
        count: number of materials; at most 16.
        grid, camera: as for `line_integrals`.
    Returns:
        (count, rows, columns) float32, density times mm.
    Raises:
        GeometryError: shapes differ; a material number out of range.
    """
    if density.shape != material.shape or density.shape != grid.shape:
        raise GeometryError(
            f"density {density.shape}, material {material.shape} and grid {grid.shape} must have one shape"
        )
    low, high = int(material.min()), int(material.max())
    if not 0 < count <= 16 or low < 0 or high >= count:
        raise GeometryError(f"material numbers {low} to {high} do not lie in 0 to {count - 1} (at most 16 materials)")
    mass = np.ascontiguousarray(density, dtype=np.float32)
    kinds = np.ascontiguousarray(material, dtype=np.uint8)
    fan = ray_fan(camera, grid)
    rows, columns = fan.shape
    out = np.zeros((columns, rows, count), np.float32)

    def block(first: int) -> None:
        part = out[first : first + BLOCK]
        _material_block(mass, kinds, fan.start, fan.step, fan.length_mm, fan.forward_only, first, part)

    in_threads(block, range(0, columns, BLOCK))
    return np.ascontiguousarray(out.transpose(2, 1, 0))


@njit(cache=True, nogil=True)
def _material_block(density, material, start, step, length_mm, forward_only, first, out):  # pragma: no cover - compiled
    shape = np.array(density.shape)
    jump = np.array([shape[1] * shape[2], shape[2], 1])
    flat, kinds = density.reshape(-1), material.reshape(-1)
    ray, sums = np.empty(12), np.empty(out.shape[2])
    for b in range(out.shape[0]):
        for row in range(out.shape[1]):
            for main in range(3):
                if not ray_lines(shape, start, step, forward_only, main, first + b, row, ray):
                    continue
                u, v = (main + 1) % 3, (main + 2) % 3
                middle = 0.5 * (shape[main] - 1)
                last_u, last_v = max(shape[u] - 2, 0), max(shape[v] - 2, 0)
                du = jump[u] if shape[u] > 1 else 0
                dv = jump[v] if shape[v] > 1 else 0
                sums[:] = 0.0
                slab_first = max(int(np.floor(ray[0] + 0.5)), 0)
                slab_last = min(int(np.floor(ray[1] + 0.5)), shape[main] - 1)
                for slab in range(slab_first, slab_last + 1):
                    bottom, top = max(ray[0], slab - 0.5), min(ray[1], slab + 0.5)
                    if top <= bottom:
                        continue
                    x = 0.5 * (bottom + top) - middle
                    pu = min(max(ray[2] + x * ray[3], 0.0), shape[u] - 1.0)
                    pv = min(max(ray[4] + x * ray[5], 0.0), shape[v] - 1.0)
                    iu, iv = min(int(pu), last_u), min(int(pv), last_v)
                    fu, fv = pu - iu, pv - iv
                    at = slab * jump[main] + iu * jump[u] + iv * jump[v]
                    width = top - bottom
                    sums[kinds[at]] += width * (1.0 - fu) * (1.0 - fv) * flat[at]
                    sums[kinds[at + dv]] += width * (1.0 - fu) * fv * flat[at + dv]
                    sums[kinds[at + du]] += width * fu * (1.0 - fv) * flat[at + du]
                    sums[kinds[at + du + dv]] += width * fu * fv * flat[at + du + dv]
                scale = ray_length_mm(length_mm, first + b, row) / abs(ray[9 + main])
                for n in range(len(sums)):
                    out[b, row, n] = sums[n] * scale
