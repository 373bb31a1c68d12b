"""Depth of surfaces as a camera sees them: every ray is cast through the triangles themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone_name
from boneray.core.camera import Camera
from boneray.core.errors import DataError, GeometryError
from boneray.core.mesh import Mesh
from boneray.geometry.triangle_tree import TriangleTree, require_closed
from boneray.projection.depth import DepthMaps
from boneray.projection.joseph import BLOCK
from boneray.projection.rays import in_threads


def mesh_depth_maps(meshes: Mapping[int, Mesh], camera: Camera) -> DepthMaps:
    """Front and back depth of closed surfaces along the true rays of a camera.

    Args:
        meshes: surface of each bone, RAS mm, by bone id; the maps come in this order.
        camera: any pose; everything must lie between its source and its detector.
    Raises:
        DataError: no mesh, or one that is not closed.
        GeometryError: a bone reaches behind the source or beyond the detector.
    """
    if not meshes:
        raise DataError("no surface was given; depth maps need at least one bone")
    for bone_id, mesh in meshes.items():
        require_closed(mesh, bone_name(bone_id))
        require_in_beam(mesh.vertices_mm, camera, bone_name(bone_id))
    rows, columns = camera.detector_shape
    out = np.full((2, len(meshes), rows, columns), np.nan, np.float32)
    for number, mesh in enumerate(meshes.values()):
        tree = TriangleTree.of(mesh)
        box = _seen_box(mesh, camera)
        column = np.arange(box[1].start, box[1].stop)
        view = out[:, number]

        def block(first: int, tree: TriangleTree = tree, column: NDArray = column, view: NDArray = view) -> None:
            row = np.arange(first, min(first + BLOCK, rows))
            pixels = np.stack(np.broadcast_arrays(column[None], row[:, None]), -1).reshape(-1, 2).astype(float)
            start, direction = camera.ray(pixels)
            faces = tree.first_and_last(start, direction)
            for side in range(2):
                view[side, row[0] : row[-1] + 1, column[0] : column[-1] + 1] = faces[side].reshape(len(row), -1)

        if len(column):
            in_threads(block, range(box[0].start, box[0].stop, BLOCK))
    return DepthMaps(tuple(meshes), out[0], out[1])


def require_in_beam(points_mm: NDArray, camera: Camera, name: str) -> None:
    """Refuse points (n, 3) that do not lie between source and detector.

    Raises:
        GeometryError: with the distances; for a parallel beam, which has no source, only those
            beyond the detector are refused.
    """
    depth = (np.asarray(points_mm) - camera.source_mm) @ camera.central_ray
    if camera.kind == "perspective" and depth.min() <= 0:
        raise GeometryError(f"{name} reaches {-depth.min():.0f} mm behind the source; check the camera's pose")
    if depth.max() > camera.source_detector_mm:
        raise GeometryError(
            f"{name} reaches {depth.max():.0f} mm from the source, beyond the detector at "
            f"{camera.source_detector_mm:g} mm; the source-detector distance must exceed the source-object distance"
        )


def hidden_share(mesh: Mesh, camera: Camera, *, tolerance_mm: float = 0.05) -> float:
    """Share of a surface's area that is neither the first nor the last thing a ray meets, 0..1.

    It is told for the middle of every triangle, by the ray through it, whatever the pixels; no
    depth map holds what is hidden.
    """
    tree = TriangleTree.of(mesh)
    middle = mesh.face_centres_mm
    if camera.kind == "perspective":
        start = np.broadcast_to(camera.source_mm, middle.shape)
        along = middle - start
    else:
        along = np.broadcast_to(camera.central_ray, middle.shape)
        start = middle - ((middle - camera.source_mm) @ camera.central_ray)[:, None] * along
    length = np.linalg.norm(middle - start, axis=1)
    direction = (middle - start) / length[:, None]
    first, last = tree.first_and_last(start, direction)
    seen = (np.abs(first - length) <= tolerance_mm) | (np.abs(last - length) <= tolerance_mm)
    area = mesh.face_areas_mm2
    return float(area[~seen].sum() / area.sum())


def _seen_box(mesh: Mesh, camera: Camera) -> tuple[slice, slice]:
    """(rows, columns) of the picture that the surface can fall on."""
    rows, columns = camera.detector_shape
    column, row = camera.project(mesh.vertices_mm).T
    first = np.floor([row.min(), column.min()]).astype(int)
    last = np.ceil([row.max(), column.max()]).astype(int) + 1
    first, last = np.clip(first, 0, (rows, columns)), np.clip(last, 0, (rows, columns))
    return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))
