"""A scene on a grid: HU with partial volume at every surface, and bone ids."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.phantom.field import FAR_MM, join
from boneray.phantom.primitive import SUBTRACT, UNION, Primitive
from boneray.phantom.scene import Blob, Outline, Scene, Solid

LATTICE = 12
AIR_HU, FAT_HU = -1000.0, -90.0
# Taking something away bares a surface whose cortex reaches this deep into what remains.
CORTEX_REACH_MM = 6.0


def rasterise(scene: Scene, grid: Grid) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """HU (int16) and bone ids (uint8) on an isotropic grid that is symmetric about x = 0, shape (i, j, k)."""
    origin, spacing = np.array(grid.origin_mm), grid.spacing_mm[0]
    hu = np.empty(grid.shape, dtype=np.float32)
    ids = np.zeros(grid.shape, dtype=np.uint8)
    _paint_body(hu, origin, spacing, _outline_row(scene.outline))
    for blob in scene.blobs:
        low, high = _voxels(*_blob_bounds_mm(blob), grid)
        row = np.array([*blob.centre_mm, *blob.semi_axes_mm, blob.hu, blob.edge_mm])
        _paint_blob(hu, origin, spacing, low, high, row)
    for solid in scene.solids:
        _add_solid(hu, ids, solid, grid)
    _add_noise(hu, origin, spacing, *_lattice(scene.outline, float(grid.size_mm[0])))
    whole = np.clip(np.rint(hu), AIR_HU, 3071).astype(np.int16)
    if scene.mirrored:
        return np.ascontiguousarray(whole[::-1]), np.ascontiguousarray(ids[::-1])
    return whole, ids


def _add_solid(hu: NDArray[np.float32], ids: NDArray[np.uint8], solid: Solid, grid: Grid) -> None:
    spacing = grid.spacing_mm[0]
    bounds = [part.bounds_mm() for part in solid.primitives if part.operation == UNION]
    low, high = _voxels(
        np.min([b[0] for b in bounds], axis=0) - spacing, np.max([b[1] for b in bounds], axis=0) + spacing, grid
    )
    if np.any(high <= low):
        return
    field = np.full(high - low, FAR_MM, dtype=np.float32)
    origin = np.array(grid.origin_mm) + low * spacing
    for part in solid.primitives:
        start, stop = _voxels(*_reach_mm(part, spacing), grid)
        start, stop = np.maximum(start, low) - low, np.minimum(stop, high) - low
        if np.all(stop > start):
            join(field, origin, spacing, start, stop, part.row())
    bone_id = BONES[solid.bone].bone_id if solid.bone else 0
    _paint_solid(hu, ids, field, origin, spacing, low, bone_id, solid.material.row())


def _reach_mm(part: Primitive, spacing_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World box outside of which the primitive cannot change a visible distance."""
    if part.operation not in (UNION, SUBTRACT):
        return np.full(3, -1e9), np.full(3, 1e9)
    low, high = part.bounds_mm()
    margin = part.blend_mm + (1.5 * spacing_mm if part.operation == UNION else CORTEX_REACH_MM + spacing_mm)
    return low - margin, high + margin


def _voxels(low_mm: NDArray, high_mm: NDArray, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last-plus-one voxel whose centres lie in a world box, clipped to the grid."""
    spacing, origin, shape = grid.spacing_mm[0], np.array(grid.origin_mm), np.array(grid.shape)
    low = np.clip(np.ceil((low_mm - origin) / spacing), 0, shape).astype(np.int64)
    high = np.clip(np.floor((high_mm - origin) / spacing) + 1, 0, shape).astype(np.int64)
    return low, high


def _blob_bounds_mm(blob: Blob) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre, reach = np.array(blob.centre_mm), np.array(blob.semi_axes_mm) * 1.3 + blob.edge_mm
    return centre - reach, centre + reach


def _outline_row(outline: Outline) -> NDArray[np.float64]:
    return np.array([*outline.centre_mm, *outline.semi_axes_mm, outline.fat_mm, outline.inner_hu])


def _lattice(outline: Outline, size_mm: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Random HU (n, n, n) with world origin and step (4,); the patient's noise at every resolution."""
    rng = np.random.Generator(np.random.PCG64(outline.noise_seed))
    values = rng.standard_normal((LATTICE, LATTICE, LATTICE)).astype(np.float32)
    step = size_mm * 1.05 / (LATTICE - 1)
    return values * np.float32(outline.noise_hu), np.array([*(-step * (LATTICE - 1) / 2,) * 3, step])


@njit(cache=True)
def _ramp(value, low, high):
    return min(max((value - low) / (high - low), 0.0), 1.0)


@njit(cache=True)
def _paint_body(hu, origin, spacing, body):
    for i in range(hu.shape[0]):
        u = (origin[0] + i * spacing - body[0]) / body[2]
        for j in range(hu.shape[1]):
            v = (origin[1] + j * spacing - body[1]) / body[3]
            depth = (1.0 - math.sqrt(u * u + v * v)) * min(body[2], body[3])
            skin = _ramp(depth, -spacing / 2, spacing / 2)
            base = FAT_HU + (body[5] - FAT_HU) * _ramp(depth, body[4] - 2.0, body[4] + 2.0)
            hu[i, j, :] = np.float32(AIR_HU + (base - AIR_HU) * skin)


@njit(cache=True)
def _add_noise(hu, origin, spacing, values, place):
    """Trilinear noise everywhere but in air, bone included."""
    column = np.empty(values.shape[2], dtype=np.float32)
    for i in range(hu.shape[0]):
        fi = (origin[0] + i * spacing - place[0]) / place[3]
        a = int(fi)
        s = fi - a
        for j in range(hu.shape[1]):
            fj = (origin[1] + j * spacing - place[1]) / place[3]
            b = int(fj)
            t = fj - b
            for c in range(values.shape[2]):
                front = values[a, b, c] * (1 - s) + values[a + 1, b, c] * s
                back = values[a, b + 1, c] * (1 - s) + values[a + 1, b + 1, c] * s
                column[c] = front * (1 - t) + back * t
            for k in range(hu.shape[2]):
                fk = (origin[2] + k * spacing - place[2]) / place[3]
                c = int(fk)
                if hu[i, j, k] > -950.0:
                    hu[i, j, k] += np.float32(column[c] + (column[c + 1] - column[c]) * (fk - c))


@njit(cache=True)
def _paint_blob(hu, origin, spacing, low, high, blob):
    thin = min(blob[3], blob[4], blob[5])
    for i in range(low[0], high[0]):
        u = (origin[0] + i * spacing - blob[0]) / blob[3]
        for j in range(low[1], high[1]):
            v = (origin[1] + j * spacing - blob[1]) / blob[4]
            for k in range(low[2], high[2]):
                w = (origin[2] + k * spacing - blob[2]) / blob[5]
                depth = (1.0 - math.sqrt(u * u + v * v + w * w)) * thin
                if hu[i, j, k] > -900.0:
                    share = _ramp(depth, -blob[7], blob[7])
                    hu[i, j, k] += np.float32((blob[6] - hu[i, j, k]) * share)


@njit(cache=True)
def _paint_solid(hu, ids, field, origin, spacing, low, bone_id, material):
    edge = max(0.8, spacing / 2)
    for i in range(field.shape[0]):
        x = origin[0] + i * spacing - material[5]
        for j in range(field.shape[1]):
            y = origin[1] + j * spacing - material[6]
            for k in range(field.shape[2]):
                distance = field[i, j, k]
                share = 0.5 - distance / spacing
                if share <= 0.0:
                    continue
                z = origin[2] + k * spacing - material[7]
                far = _ramp(x * material[8] + y * material[9] + z * material[10], 0.0, 1.0)
                inner = material[1] + (material[3] - material[1]) * far
                cortex = material[2] + (material[4] - material[2]) * far
                bone = material[0] + (inner - material[0]) * _ramp(-distance, cortex - edge, cortex + edge)
                p, q, r = low[0] + i, low[1] + j, low[2] + k
                hu[p, q, r] += np.float32((bone - hu[p, q, r]) * min(share, 1.0))
                if distance < 0.0 and bone_id > 0 and ids[p, q, r] == 0:
                    ids[p, q, r] = bone_id
