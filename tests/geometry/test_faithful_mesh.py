"""The surfaces that are handed out: closed, of the voxels' volume, within a voxel of the label, quick."""

import time

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from boneray.core.bones import BONES
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.geometry.mesh_distance import directed_distances_mm
from boneray.geometry.surface import bone_mesh, faithful_mesh, faithful_meshes, fragments
from boneray.phantom.patient import make_patient

IDS = [bone.bone_id for bone in BONES.values()]


def closed(mesh):
    body = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
    return body.is_watertight and body.is_winding_consistent and body.volume > 0


def hausdorff_mm(mesh, labels, bone_id):
    """Between a mesh and the surface halfway between the voxels inside and outside."""
    edge = bone_mesh(labels, bone_id, smooth_voxels=0)
    return max(directed_distances_mm(a, b)[0].max() for a, b in ((mesh, edge), (edge, mesh)))


def cap(shape, seed):
    """A random blob: smooth noise above a threshold, its largest part."""
    noise = ndimage.gaussian_filter(generator(seed, "blob").standard_normal(shape), 2.0)
    parts, _ = ndimage.label(noise > np.quantile(noise, 0.8))
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


SHAPES = {
    "one voxel": np.pad(np.ones((1, 1, 1), bool), 3),
    "two over a corner": np.pad(np.eye(2, dtype=bool)[:, :, None] * np.array([True, False]), 3),
    "thread": np.pad(np.ones((1, 1, 30), bool), 3),
    "plate": np.pad(np.ones((1, 20, 20), bool), 3),
    "shell": np.pad(np.ones((14, 14, 14), bool), 2) ^ np.pad(np.ones((12, 12, 12), bool), 3),
    "box": np.pad(np.ones((16, 12, 20), bool), 3),
    "blob": cap((30, 30, 30), 1),
    "checkered": np.pad(np.indices((6, 6, 6)).sum(0) % 2 == 0, 2),
    "at the border": np.ones((10, 12, 14), bool),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5)], ids=["even", "uneven"])
def test_volume_closure_and_nearness(name, spacing):
    mask = SHAPES[name]
    labels = LabelMap(mask.astype(np.uint8) * 53, Grid(mask.shape, spacing, (10.0, -20.0, 30.0)))
    mesh = faithful_mesh(labels, 53)
    voxels = mask.sum() * np.prod(spacing)
    assert mesh.volume_mm3 == pytest.approx(voxels, rel=0.01 if mask.sum() >= 2000 else 0.05)
    if name not in ("two over a corner", "checkered"):  # their voxels touch in single points
        assert closed(mesh)
    assert hausdorff_mm(mesh, labels, 53) <= max(spacing)
    inside = np.argwhere(mask)
    box = mesh.vertices_mm.min(0), mesh.vertices_mm.max(0)
    assert (box[0] <= labels.grid.to_world(inside.min(0))).all() and (
        box[1] >= labels.grid.to_world(inside.max(0))
    ).all()


@pytest.mark.parametrize("anatomy", ["pelvis", "spine", "femur", "ribs"])
def test_bones_of_phantoms(anatomy):
    labels = make_patient(anatomy, seed=11, number=0).labels
    voxel_mm = max(labels.grid.spacing_mm)
    meshes = faithful_meshes(labels)
    assert set(meshes) == {name for name, bone in BONES.items() if bone.bone_id in labels.ids}
    for name, mesh in meshes.items():
        count = (labels.data == BONES[name].bone_id).sum()
        volume = count * labels.grid.voxel_volume_mm3
        assert mesh.volume_mm3 == pytest.approx(volume, rel=0.01 if count >= 2000 else 0.05), name
        edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] % 2 == 0).all(), name
    largest = max(meshes, key=lambda name: len(meshes[name].faces))
    assert hausdorff_mm(meshes[largest], labels, BONES[largest].bone_id) <= voxel_mm


def test_it_is_smoother_than_the_voxels_and_does_not_shrink():
    grid = Grid((50, 50, 50), (1.0, 1.0, 1.0), (-24.5, -24.5, -24.5))
    index = np.stack(np.meshgrid(*[np.arange(50)] * 3, indexing="ij"), axis=-1)
    radius = 9.0
    ball = LabelMap((np.linalg.norm(grid.to_world(index), axis=-1) <= radius).astype(np.uint8) * 53, grid)
    mesh, steps = faithful_mesh(ball, 53), bone_mesh(ball, 53, smooth_voxels=0)
    spread = [np.linalg.norm(one.vertices_mm, axis=1).std() for one in (mesh, steps)]
    assert spread[0] < 0.6 * spread[1]
    equal = (3 * ball.data.astype(bool).sum() / (4 * np.pi)) ** (1 / 3)  # of a ball with as many voxels
    assert np.linalg.norm(mesh.vertices_mm, axis=1).mean() == pytest.approx(equal, abs=0.03)


def fifty_four():
    """54 ellipsoids, one per id, on a grid of 180 x 180 x 240."""
    data = np.zeros((180, 180, 240), np.uint8)
    index = np.indices((60, 60, 40)) - np.array([30, 30, 20])[:, None, None, None]
    for n in range(54):
        half = generator(n, "ellipsoid").uniform(4, [28, 28, 18])
        i, j, k = np.unravel_index(n, (3, 3, 6))
        block = data[60 * i : 60 * i + 60, 60 * j : 60 * j + 60, 40 * k : 40 * k + 40]
        block[((index / half[:, None, None, None]) ** 2).sum(0) < 1] = IDS[n]
    return LabelMap(data, Grid(data.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))


def test_fifty_four_bones_in_five_seconds():
    labels = fifty_four()
    start = time.process_time()
    meshes = faithful_meshes(labels)
    assert time.process_time() - start <= 5.0
    assert len(meshes) == 54 and all(closed(mesh) for mesh in meshes.values())


def test_fragments_are_told_by_bone():
    data = np.zeros((40, 20, 20), np.uint8)
    data[2:12, 2:12, 2:12] = 53
    data[20:23, 2:5, 2:5] = 53  # 27 voxels
    data[30:35, 2:7, 2:7] = 53  # 125 voxels: loose, and no fragment
    data[26, 10, 10] = 53
    data[2, 16, 16] = 50  # a bone of one voxel is no fragment of itself
    labels = LabelMap(data, Grid(data.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert fragments(labels) == {"femur_left": (1, 27)}
    assert fragments(labels, under_voxels=20) == {"femur_left": (1,)}
    assert fragments(labels, under_voxels=1) == {}


def test_what_is_not_there_is_an_error():
    labels = LabelMap(np.zeros((4, 4, 4), np.uint8), Grid.cube(4, 4.0))
    with pytest.raises(DataError, match="femur_left"):
        faithful_mesh(labels, 53)
    with pytest.raises(ConfigError, match="background"):
        faithful_mesh(labels, 0)
    assert faithful_meshes(labels) == {} and fragments(labels) == {}
