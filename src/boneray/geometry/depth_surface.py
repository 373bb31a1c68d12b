"""From depth maps of one camera to points, a closed surface and a volume.

Depth is counted along the ray of each pixel: from the source, or for a parallel beam from the plane
through the camera's origin. Pixels without bone are NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError, GeometryError
from boneray.core.mesh import Mesh


def points_of_depth(depth_mm: NDArray, camera: Camera) -> NDArray[np.float64]:
    """RAS mm of all pixels that hold a depth, (n, 3), in the order of the array (..., rows, columns)."""
    start, direction = pixel_rays(camera)
    depth = np.asarray(depth_mm, dtype=float)
    _require_shape(depth, camera)
    return (start + depth[..., None] * direction)[np.isfinite(depth)]


def pixel_rays(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and unit direction of the ray of every pixel, (rows, columns, 3) each."""
    rows, columns = camera.detector_shape
    row, column = np.mgrid[0:rows, 0:columns]
    return camera.ray(np.stack([column, row], -1).astype(float))


def surface_of_depth(front_mm: NDArray, back_mm: NDArray, camera: Camera) -> Mesh:
    """A closed surface, faces outwards: both depth maps as sheets, joined along the rim of the bone.

    A square of four pixels is part of a sheet if all four hold both depths, so the outline is that
    of the pixel centres: it lies within the bone by up to one pixel.

    Args:
        front_mm, back_mm: (rows, columns), NaN where there is no bone.
    Raises:
        DataError: no square of four pixels holds bone.
    """
    valid = np.isfinite(front_mm) & np.isfinite(back_mm)
    _require_shape(valid, camera)
    square = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:] & valid[1:, 1:]
    if not square.any():
        raise DataError(
            f"no square of four pixels holds bone ({int(valid.sum())} valid pixels); a surface needs at least one"
        )
    start, direction = pixel_rays(camera)
    low, high = np.minimum(front_mm, back_mm), np.maximum(front_mm, back_mm)
    sheets = [(start + np.where(valid, d, 0.0)[..., None] * direction).reshape(-1, 3) for d in (low, high)]
    corners, pixel = _corners(square)
    count = len(pixel)
    a, b, c, d = corners.T  # top left, top right, bottom right, bottom left
    front = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    edges = np.concatenate([np.stack(pair, 1) for pair in ((a, b), (b, c), (c, d), (d, a))])
    rim = _unshared(edges, count)
    p, q = rim.T
    wall = np.concatenate([np.stack([p, q, q + count], 1), np.stack([p, q + count, p + count], 1)])
    faces = np.concatenate([front, front[:, ::-1] + count, wall])
    vertices = np.concatenate([sheet[pixel] for sheet in sheets])
    mesh = Mesh(vertices, faces.astype(np.int64))
    if mesh.volume_mm3 < 0:
        return Mesh(vertices, mesh.faces[:, ::-1].copy())
    return mesh


def volume_of_depth_mm3(front_mm: NDArray, back_mm: NDArray, camera: Camera) -> float:
    """Volume between two depth maps, mm^3: each pixel is a thin pyramid (a prism in a parallel beam) cut twice.

    A pixel of area A seen under the angle t fills the solid angle A cos^3(t) / SDD^2, and between
    the distances f and b a volume of that times (b^3 - f^3) / 3.
    """
    valid = np.isfinite(front_mm) & np.isfinite(back_mm)
    _require_shape(valid, camera)
    front, back = np.asarray(front_mm, float)[valid], np.asarray(back_mm, float)[valid]
    area = camera.pixel_mm[0] * camera.pixel_mm[1]
    if camera.kind == "parallel":
        return float(area * (back - front).sum())
    cosine = pixel_rays(camera)[1][valid] @ camera.central_ray
    angle = area * cosine**3 / camera.source_detector_mm**2
    return float((angle * (back**3 - front**3)).sum() / 3.0)


def _corners(square: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(squares, 4) corner numbers, and the flat pixel of each number.

    Where two squares touch only at a corner, that pixel gets two numbers, so that the surface stays
    a surface there.
    """
    rows, columns = square.shape[0] + 1, square.shape[1] + 1
    wide = np.pad(square, 1)
    above_left, above_right = wide[:-1, :-1], wide[:-1, 1:]
    below_left, below_right = wide[1:, :-1], wide[1:, 1:]
    touching = (above_left & below_right & ~above_right & ~below_left) | (
        above_right & below_left & ~above_left & ~below_right
    )
    r, c = np.nonzero(square)
    places = np.stack([r * columns + c, r * columns + c + 1, (r + 1) * columns + c + 1, (r + 1) * columns + c], 1)
    lower = np.zeros_like(places, dtype=bool)
    lower[:, :2] = True  # the square below a pixel sees it at its own top
    names = places + np.where(touching.ravel()[places] & lower, rows * columns, 0)
    used, corners = np.unique(names, return_inverse=True)
    return corners.reshape(places.shape).astype(np.int64), used % (rows * columns)


def _unshared(edges: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The directed edges (n, 2) whose reverse does not occur."""
    there, back = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    return edges[~np.isin(there, back)]


def _require_shape(values: NDArray, camera: Camera) -> None:
    if values.shape[-2:] != camera.detector_shape:
        raise GeometryError(
            f"depth map of {values.shape[-2:]} pixels does not fit its camera of {camera.detector_shape}; resize one"
        )
