"""A small z-buffer: shaded triangles from one direction, without a graphics library."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.mesh import Mesh

AMBIENT = 0.32
LEAST_AREA = 1e-12  # pixels; a triangle below it is seen from its edge
EDGE = 1e-9  # share of a triangle by which a pixel on its border may lie outside
_LENGTH = math.hypot(0.35, 0.45, 0.82)
LAMP = (-0.35 / _LENGTH, 0.45 / _LENGTH, 0.82 / _LENGTH)


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
    normals = (_vertex_normals(mesh) @ np.array(view.axes).T)[faces]
    low = np.clip(np.floor(corners[..., :2].min(axis=1)), 0, None).astype(np.int64)
    high = np.minimum(np.ceil(corners[..., :2].max(axis=1)), np.array(view.shape[::-1]) - 1).astype(np.int64)
    _fill(picture, depth, corners, normals, low, high, np.array(colour, np.float64))


@njit(cache=True, nogil=True)
def _fill(
    picture: NDArray[np.uint8],
    depth: NDArray[np.float64],
    corners: NDArray[np.float64],
    normals: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    colour: NDArray[np.float64],
) -> None:
    """Every pixel from low to high of each of n triangles: corners (n, 3, 3) as `_screen`, normals (n, 3, 3)."""
    for face in range(len(corners)):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[face, 0], corners[face, 1], corners[face, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) <= LEAST_AREA:
            continue
        for row in range(low[face, 1], high[face, 1] + 1):
            for column in range(low[face, 0], high[face, 0] + 1):
                u = ((bx - column) * (cy - row) - (by - row) * (cx - column)) / area
                v = ((cx - column) * (ay - row) - (cy - row) * (ax - column)) / area
                w = ((ax - column) * (by - row) - (ay - row) * (bx - column)) / area
                if min(u, v, w) < -EDGE:
                    continue
                z = u * az + v * bz + w * cz
                if z <= depth[row, column]:
                    continue
                depth[row, column] = z
                normal = u * normals[face, 0] + v * normals[face, 1] + w * normals[face, 2]
                light = _light(normal[0], normal[1], normal[2])
                for channel in range(3):
                    picture[row, column, channel] = round(light * colour[channel])
                picture[row, column, 3] = 255


def _screen(mesh: Mesh, view: Viewpoint) -> NDArray[np.float64]:
    """(column, row, depth towards the eye) of the vertices, in pixels."""
    local = (mesh.vertices_mm - np.array(view.centre_mm)) @ np.array(view.axes).T / view.mm_per_pixel
    rows, columns = view.shape
    return np.stack([local[:, 0] + (columns - 1) / 2, (rows - 1) / 2 - local[:, 1], local[:, 2]], axis=1)


def _vertex_normals(mesh: Mesh) -> NDArray[np.float64]:
    weighted = mesh.face_normals * mesh.face_areas_mm2[:, None]
    sums = np.zeros_like(mesh.vertices_mm)
    for corner in range(3):
        np.add.at(sums, mesh.faces[:, corner], weighted)
    return sums


@njit(cache=True, nogil=True)
def _light(x: float, y: float, z: float) -> float:
    """Brightness 0..1 of an unscaled normal in view axes: one lamp above the left shoulder of the eye."""
    length = np.sqrt(x * x + y * y + z * z)
    cosine = (x * LAMP[0] + y * LAMP[1] + z * LAMP[2]) / length if length > 0 else 0.0
    return AMBIENT + (1.0 - AMBIENT) * max(cosine, 0.0)
