"""What the morphometry tests measure: real bones as meshes and masks, turned, mirrored, cut and made noisy."""

import csv

import numpy as np
from scipy import ndimage

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.geometry.interior import inside

RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])
Z013_NAMES = {
    "Sacrum": "sacrum",
    "Hip_R": "hip_right",
    "Hip_L": "hip_left",
    "Femur_R": "femur_right",
    "Femur_L": "femur_left",
}
PELVIS = ("sacrum", "hip_right", "hip_left")


def z013(test_data, *names):
    """Meshes of VSDFullBody z013 by bone, RAS mm (the file is LPS)."""
    from scipy.io import loadmat

    bodies = loadmat(test_data / "meshes_VSD_z013" / "z013.mat", squeeze_me=True, struct_as_record=False)["B"]
    found = {}
    for body in bodies:
        name = Z013_NAMES.get(body.name)
        if name in names:
            points = np.asarray(body.mesh.vertices, dtype=float) * RAS_FROM_LPS
            found[name] = Mesh(points, np.asarray(body.mesh.faces, dtype=np.int64) - 1)
    return found


def raters(test_data, bone):
    """Points (20, 3) RAS mm of 5 raters x 4 trials by landmark; `bone` is Femur or Pelvis."""
    points = {}
    with (test_data / "meshes_VSD_z013" / "landmarks_all_raters_z013.csv").open() as file:
        for row in csv.DictReader(file):
            if row["bone"] == bone:
                point = [float(row[f"{axis}_mm"]) for axis in "xyz"]
                points.setdefault(row["landmark"], []).append(RAS_FROM_LPS * point)
    return {name: np.array(found) for name, found in points.items()}


def voxelised(meshes, spacing_mm, margin_mm=8.0):
    """Label map of meshes by bone on an isotropic grid; where bones overlap the first one stays."""
    points = np.concatenate([mesh.vertices_mm for mesh in meshes.values()])
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    shape = tuple(np.ceil((high - low) / spacing_mm).astype(int))
    grid = Grid(shape, (spacing_mm,) * 3, tuple(low))
    data = np.zeros(shape, np.uint8)
    for name, mesh in meshes.items():
        data[inside(mesh, grid) & (data == 0)] = BONES[name].bone_id
    return LabelMap(data, grid)


def turned(mesh, rotation, shift=(0.0, 0.0, 0.0)):
    """The mesh after a rigid motion."""
    return Mesh(mesh.vertices_mm @ np.asarray(rotation).T + np.asarray(shift), mesh.faces)


def mirrored_name(name):
    """The name on the other side of the body."""
    for side, other in (("left", "right"), ("right", "left")):
        if side in name.split("_"):
            return name.replace(side, other)
    return name


def mirrored(meshes):
    """The mirror image (x -> -x) of a patient: sides swap."""
    flip = np.array([-1.0, 1.0, 1.0])
    return {mirrored_name(n): Mesh(m.vertices_mm * flip, m.faces[:, ::-1].copy()) for n, m in meshes.items()}


def axis_orders(labels):
    """The same image in each of its 48 axis orders and directions."""
    from itertools import permutations, product

    for order in permutations(range(3)):
        for flips in product((False, True), repeat=3):
            data, affine = labels.data, labels.grid.world_from_voxel
            for axis in range(3):
                if flips[axis]:
                    data = np.flip(data, axis)
                    affine[:3, 3] += affine[:3, axis] * (labels.grid.shape[axis] - 1)
                    affine[:3, axis] *= -1
            affine[:3, :3] = affine[:3, list(order)]
            data = np.ascontiguousarray(data.transpose(order))
            yield LabelMap(data, Grid.from_affine(data.shape, affine))


def dice(first, second):
    """Overlap of two masks."""
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def noisy(labels, target_dice, name, correlation_mm=3.0):
    """The label map with surfaces moved by smooth noise until the mean Dice of its bones is `target_dice`.

    Each bone keeps its name where two meet. The amplitude of the noise is found by bisection.
    """
    rng = generator(0, f"noisy surface {name}")
    white = rng.standard_normal(labels.data.shape)
    noise = ndimage.gaussian_filter(white, correlation_mm / np.array(labels.grid.spacing_mm))
    noise /= noise.std()
    depths = {i: _depth_mm(labels.mask(i), labels.grid.spacing_mm) for i in labels.ids}

    def moved(amplitude_mm):
        data = np.zeros_like(labels.data)
        best = np.full(data.shape, -np.inf)
        for bone_id, depth in depths.items():
            level = depth + amplitude_mm * noise
            chosen = (level > 0) & (level > best)
            data[chosen], best[chosen] = bone_id, level[chosen]
        return LabelMap(data, labels.grid)

    low, high = 0.0, 12.0
    for _ in range(12):
        middle = (low + high) / 2
        found = moved(middle)
        mean = np.mean([dice(labels.mask(i), found.mask(i)) for i in labels.ids])
        low, high = (middle, high) if mean > target_dice else (low, middle)
    return moved((low + high) / 2)


def _depth_mm(mask, spacing_mm):
    """Signed distance from the surface, positive inside."""
    near = ndimage.distance_transform_edt(mask, spacing_mm) - ndimage.distance_transform_edt(~mask, spacing_mm)
    return near - np.sign(near) * np.mean(spacing_mm) / 2


def by_name(found, bone=None):
    """Measurements by name, of one bone if several have them."""
    return {m.name: m for m in found if bone is None or m.bone == bone}


def marks(found):
    """All landmarks of measurements by name, (3,) each."""
    return {mark.name: np.array(mark.point_mm) for m in found for mark in m.landmarks}


def capsule_mask(grid, start, stop, radius_mm):
    """Voxels within `radius_mm` of a segment."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points, axis = grid.to_world(index), np.subtract(stop, start)
    along = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - start - along[..., None] * axis, axis=-1) <= radius_mm
