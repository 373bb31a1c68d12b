"""A small z-buffer: shaded triangles from one direction, without a graphics library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.mesh import Mesh

AMBIENT = 0.32
CHUNK_PIXELS = 2_000_000


@dataclass(frozen=True)
class Viewpoint:
    """An orthographic view: rows of `axes` are the picture's right, its up, and towards the eye, in RAS."""

    axes: tuple[tuple[float, float, float], ...]
    centre_mm: tuple[float, float, float]
    mm_per_pixel: float
    shape: tuple[int, int]


def blank(view: Viewpoint) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A transparent picture (rows, columns, 4) and its empty depth (rows, columns)."""
    return np.zeros((*view.shape, 4), dtype=np.uint8), np.full(view.shape, -np.inf)


def draw(
    picture: NDArray[np.uint8], depth: NDArray[np.float64], mesh: Mesh, colour: tuple[int, int, int], view: Viewpoint
) -> None:
    """Paint one closed mesh into `picture` wherever it is nearer than `depth`; both are filled in place.

    Faces that look away from the eye are left out: on a closed surface they are hidden.
    """
    faces = mesh.faces[mesh.face_normals @ np.array(view.axes[2]) > 0]
    corners = _screen(mesh, view)[faces]
    normals = _vertex_normals(mesh) @ np.array(view.axes).T
    low = np.clip(np.floor(corners[..., :2].min(axis=1)), 0, None).astype(int)
    high = np.minimum(np.ceil(corners[..., :2].max(axis=1)), np.array(view.shape[::-1]) - 1).astype(int)
    widths = np.clip(high - low + 1, 0, None)
    counts = widths.prod(axis=1)
    parts = max(1, int(np.ceil(counts.sum() / CHUNK_PIXELS)))
    for part in np.array_split(np.arange(len(counts)), parts):
        _fill(picture, depth, corners[part], normals[faces[part]], low[part], widths[part], colour)


def _fill(
    picture: NDArray[np.uint8],
    depth: NDArray[np.float64],
    corners: NDArray[np.float64],
    normals: NDArray[np.float64],
    low: NDArray[np.int64],
    widths: NDArray[np.int64],
    colour: tuple[int, int, int],
) -> None:
    counts = widths.prod(axis=1)
    face = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = low[face, 0] + step % widths[face, 0]
    row = low[face, 1] + step // widths[face, 0]
    weights, inside = _barycentric(corners[face, :, :2], column, row)
    face, column, row, weights = face[inside], column[inside], row[inside], weights[inside]
    z = np.einsum("nk,nk->n", weights, corners[face, :, 2])
    order = np.argsort(z)
    face, column, row, weights, z = face[order], column[order], row[order], weights[order], z[order]
    near = z > depth[row, column]
    face, column, row, weights, z = face[near], column[near], row[near], weights[near], z[near]
    normal = np.einsum("nk,nkd->nd", weights, normals[face])
    picture[row, column, :3] = np.round(_light(normal)[:, None] * np.array(colour))
    picture[row, column, 3] = 255
    depth[row, column] = z


def _screen(mesh: Mesh, view: Viewpoint) -> NDArray[np.float64]:
    """(column, row, depth towards the eye) of the vertices, in pixels."""
    local = (mesh.vertices_mm - np.array(view.centre_mm)) @ np.array(view.axes).T / view.mm_per_pixel
    rows, columns = view.shape
    return np.stack([local[:, 0] + (columns - 1) / 2, (rows - 1) / 2 - local[:, 1], local[:, 2]], axis=1)


def _barycentric(
    corners: NDArray[np.float64], column: NDArray[np.int64], row: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    point = np.stack([column, row], axis=1)
    area = _cross(b - a, c - a)
    safe = np.where(np.abs(area) > 1e-12, area, np.inf)
    weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)], 1)
    weights /= safe[:, None]
    return weights, np.isfinite(safe) & (weights >= -1e-9).all(axis=1)


def _cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _vertex_normals(mesh: Mesh) -> NDArray[np.float64]:
    weighted = mesh.face_normals * mesh.face_areas_mm2[:, None]
    sums = np.zeros_like(mesh.vertices_mm)
    for corner in range(3):
        np.add.at(sums, mesh.faces[:, corner], weighted)
    return sums


def _light(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness 0..1 of unscaled normals in view axes: one lamp above the left shoulder of the eye."""
    lamp = np.array([-0.35, 0.45, 0.82])
    length = np.linalg.norm(normal, axis=1)
    cosine = np.divide(normal @ (lamp / np.linalg.norm(lamp)), length, out=np.zeros(len(normal)), where=length > 0)
    return AMBIENT + (1.0 - AMBIENT) * np.clip(cosine, 0.0, 1.0)
