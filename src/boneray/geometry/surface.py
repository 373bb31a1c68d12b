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
VOLUME_WITHIN = 0.002  # share of the voxels' volume at which the search for a level ends
MOST_LEVELS = 12
FRAGMENT_VOXELS = 50


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


def faithful_mesh(labels: LabelMap, bone_id: int, *, smooth_voxels: float = 0.8) -> Mesh:
    """The closed surface of one bone as it is handed out: smooth, and true to its voxels. RAS mm, faces outwards.

    As `bone_mesh`, with two differences. The level of the cut is chosen for each bone so that the mesh
    encloses the volume of its voxels; and no voxel's centre changes sides, so that the surface stays within a
    voxel of the label's and thin parts are not lost.

    Raises:
        DataError: the label does not occur.
    """
    if bone_id == 0:
        raise ConfigError("label 0 is background and has no surface; ask for a bone id")
    return _faithful(labels, bone_id, _bone_box(labels, bone_id), smooth_voxels)


def faithful_meshes(labels: LabelMap, *, smooth_voxels: float = 0.8) -> dict[str, Mesh]:
    """`faithful_mesh` of every bone of a label map, by name."""
    boxes = ndimage.find_objects(labels.data)
    return {
        bone_name(number): _faithful(labels, number, box, smooth_voxels)
        for number, box in enumerate(boxes, start=1)
        if box is not None
    }


def fragments(labels: LabelMap, *, under_voxels: int = FRAGMENT_VOXELS) -> dict[str, tuple[int, ...]]:
    """Voxels of each loose part (26-connected) of fewer than `under_voxels`, by bone; the largest part never counts.

    Bones without such a part are left out.
    """
    found = {}
    for number, box in enumerate(ndimage.find_objects(labels.data), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(labels.data[box] == number, structure=np.ones((3, 3, 3), dtype=bool))
        sizes = np.sort(np.bincount(parts.ravel(), minlength=count + 1)[1:])
        small = tuple(int(size) for size in sizes[:-1] if size < under_voxels)
        if small:
            found[bone_name(number)] = small
    return found


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


def _faithful(labels: LabelMap, bone_id: int, box: tuple[slice, ...], smooth_voxels: float) -> Mesh:
    mask = np.pad(labels.data[box] == bone_id, PAD_VOXELS)
    sigma_voxels = smoothing_mm(labels.grid, smooth_voxels) / np.array(labels.grid.spacing_mm)
    field = ndimage.gaussian_filter(mask.astype(np.float32), sigma_voxels, mode="constant")
    start = np.array([s.start for s in box]) - PAD_VOXELS
    wanted = float(mask.sum()) * labels.grid.voxel_volume_mm3
    level = float(np.partition(field.ravel(), -int(mask.sum()))[-int(mask.sum())])  # as many voxels lie above it
    level = float(np.clip(level, 0.05, 0.95))
    low, high = 0.01, 0.99  # the volume falls as the level rises
    mesh = _level_surface(_sided(field, mask, level), start, labels.grid, level)
    best, slope = mesh, -2.0
    for _ in range(MOST_LEVELS):
        excess = mesh.volume_mm3 / wanted - 1.0
        if abs(excess) <= abs(best.volume_mm3 / wanted - 1.0):
            best = mesh
        if abs(excess) <= VOLUME_WITHIN:
            break
        low, high = (level, high) if excess > 0 else (low, level)
        following = level - excess / slope
        if not low < following < high:
            following = (low + high) / 2.0
        mesh = _level_surface(_sided(field, mask, following), start, labels.grid, following)
        change = (mesh.volume_mm3 / wanted - 1.0 - excess) / (following - level)
        slope = change if change < -1e-3 else slope
        level = following
    return best


def _sided(field: NDArray[np.float32], mask: NDArray[np.bool_], level: float) -> NDArray[np.float32]:
    """The field with every voxel of the mask above the level and every other below it."""
    margin = np.float32(0.1 * min(level, 1.0 - level))
    above, below = np.float32(level) + margin, np.float32(level) - margin
    return np.where(mask, np.maximum(field, above), np.minimum(field, below))


def _bone_box(labels: LabelMap, bone_id: int) -> tuple[slice, ...]:
    mask = labels.data == bone_id
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if filled.size == 0:
            raise DataError(f"bone {bone_name(bone_id)} (label {bone_id}) does not occur in the label map")
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _level_surface(occupancy: NDArray[np.float32], start: NDArray[np.int64], grid: Grid, level: float = 0.5) -> Mesh:
    from skimage.measure import marching_cubes

    index, faces, _, _ = marching_cubes(occupancy, level)
    mesh = Mesh(grid.to_world(index + start), faces.astype(np.int64))
    if mesh.volume_mm3 < 0:
        return Mesh(mesh.vertices_mm, mesh.faces[:, ::-1].copy())
    return mesh
