"""Bone surfaces: from labels to a triangle mesh, and what is done to the mesh afterwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.bones import bone_name
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap

PAD_VOXELS = 3


def bone_mesh(labels: LabelMap, bone_id: int, *, smooth_voxels: float = 0.8) -> Mesh:
    """The closed surface of one bone, RAS mm, faces outwards.

    The bone is cropped, padded, smoothed by a Gaussian and cut at one half by marching cubes, so
    a bone that meets the border of the grid is closed there. The Gaussian is round in mm; a part
    too thin to survive it makes the whole bone fall back to the unsmoothed mask only if nothing
    is left.

    Args:
        labels: bone ids on any grid, also oblique or anisotropic.
        bone_id: label to take; 0 is background and not allowed.
        smooth_voxels: sigma of the Gaussian in mean voxel edges; 0 for none. A convex surface of
            radius R shrinks by sigma^2 / R (see `smoothing_mm`).
    Raises:
        DataError: the label does not occur.
    """
    if bone_id == 0:
        raise ConfigError("label 0 is background and has no surface; ask for a bone id")
    box = _bone_box(labels, bone_id)
    occupancy = np.pad(labels.data[box] == bone_id, PAD_VOXELS).astype(np.float32)
    sigma_voxels = smoothing_mm(labels.grid, smooth_voxels) / np.array(labels.grid.spacing_mm)
    smooth = ndimage.gaussian_filter(occupancy, sigma_voxels, mode="constant") if smooth_voxels > 0 else occupancy
    if smooth.max() <= 0.5:
        smooth = occupancy
    start = np.array([s.start for s in box]) - PAD_VOXELS
    return _level_surface(smooth, start, labels.grid)


def smoothing_mm(grid: Grid, smooth_voxels: float) -> float:
    """Sigma in mm of a Gaussian of `smooth_voxels` mean (geometric) voxel edges."""
    return float(smooth_voxels * grid.voxel_volume_mm3 ** (1 / 3))


def largest_component(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    """The largest 26-connected part of a mask (i, j, k) and the share of its voxels that it holds.

    An empty mask gives an empty mask and 0.
    """
    parts, count = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
    if count == 0:
        return np.zeros_like(mask, dtype=bool), 0.0
    sizes = np.bincount(parts.ravel())[1:]
    return parts == 1 + int(sizes.argmax()), float(sizes.max() / sizes.sum())


def simplified(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with at most about `faces` triangles (quadric edge collapse); a smaller mesh is returned as it is."""
    if faces < 4:
        raise ConfigError(f"a closed surface needs at least 4 faces, {faces} were asked for")
    if len(mesh.faces) <= faces:
        return mesh
    import fast_simplification

    points, triangles = fast_simplification.simplify(
        np.ascontiguousarray(mesh.vertices_mm, dtype=np.float64),
        np.ascontiguousarray(mesh.faces, dtype=np.int32),
        target_count=faces,
    )
    return Mesh(np.asarray(points, dtype=np.float64), np.asarray(triangles, dtype=np.int64))


def smoothed(mesh: Mesh, iterations: int = 10) -> Mesh:
    """The mesh after Taubin smoothing (lambda 0.5, mu 0.53), which keeps the volume nearly.

    Source: Taubin 1995, A signal processing approach to fair surface design.
    """
    import trimesh

    body = trimesh.Trimesh(mesh.vertices_mm.copy(), mesh.faces.copy(), process=False)
    trimesh.smoothing.filter_taubin(body, lamb=0.5, nu=0.53, iterations=iterations)
    return Mesh(np.array(body.vertices, dtype=np.float64), mesh.faces.copy())


def _bone_box(labels: LabelMap, bone_id: int) -> tuple[slice, ...]:
    mask = labels.data == bone_id
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if filled.size == 0:
            raise DataError(f"bone {bone_name(bone_id)} (label {bone_id}) does not occur in the label map")
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _level_surface(occupancy: NDArray[np.float32], start: NDArray[np.int64], grid: Grid) -> Mesh:
    from skimage.measure import marching_cubes

    index, faces, _, _ = marching_cubes(occupancy, 0.5)
    mesh = Mesh(grid.to_world(index + start), faces.astype(np.int64))
    if mesh.volume_mm3 < 0:
        return Mesh(mesh.vertices_mm, mesh.faces[:, ::-1].copy())
    return mesh
