"""Phantom femora whose vertices correspond by construction.

A vertex of the template has a place on each primitive of the bone: in the primitive's own frame, in
units of its size. The same places on another femur, mixed by how near the vertex is to each
primitive, and dropped onto its surface, are the same vertices there.
"""

from dataclasses import astuple

import numpy as np

from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.geometry.triangle_tree import TriangleTree
from boneray.phantom.femur_shape import FemurShape, drawn_femur, femur_solid
from boneray.phantom.field import FAR_MM, join
from boneray.phantom.pose import Pose
from boneray.phantom.scene import Material

LOW_MM, HIGH_MM = np.array([-85.0, -45.0, -150.0]), np.array([45.0, 55.0, 75.0])
CUT_MM = -120.0


def femora(count: int, *, seed: int = 0, voxel_mm: float = 2.5) -> tuple[list[Mesh], list[FemurShape]]:
    """Proximal right femora without their shaft below -120 mm, all with the same vertices and triangles."""
    shapes = [drawn_femur(generator(seed, "phantom femora", n)) for n in range(count)]
    middle = FemurShape(*np.mean([astuple(shape) for shape in shapes], axis=0))
    template = surface(middle, voxel_mm)
    places = local_places(middle, template.vertices_mm)
    return [Mesh(placed(shape, places), template.faces) for shape in shapes], shapes


def surface(shape: FemurShape, voxel_mm: float = 2.5) -> Mesh:
    """The bone's surface by marching cubes on its signed distance, cut flat at the lower end."""
    from skimage.measure import marching_cubes

    size = np.ceil((HIGH_MM - LOW_MM) / voxel_mm).astype(int)
    field = distances(shape, LOW_MM, voxel_mm, size)
    height = LOW_MM[2] + voxel_mm * np.arange(size[2])
    field = np.maximum(field, (CUT_MM - height)[None, None])
    points, faces, _, _ = marching_cubes(field, 0.0)
    mesh = Mesh(LOW_MM + points.astype(float) * voxel_mm, faces.astype(np.int64))
    return mesh if mesh.volume_mm3 > 0 else Mesh(mesh.vertices_mm, mesh.faces[:, ::-1].copy())


def solid_parts(shape):
    return femur_solid(shape, "femur_right", Material(1200.0, 200.0, 3.0), Pose()).primitives


def distances(shape, low, voxel_mm, size):
    field = np.full(tuple(size), FAR_MM, np.float32)
    for part in solid_parts(shape):
        join(field, low, voxel_mm, np.zeros(3, np.int64), np.asarray(size, np.int64), part.row())
    return field


def local_places(shape, vertices):
    """Per primitive (n, 3) places in units of its size, and (n,) shares; plus how far along and its radius."""
    places, near = [], []
    for part in solid_parts(shape):
        local = ((vertices - part.pose.shift_mm) @ part.pose.rotation) / part.pose.scale
        unit = scale_of(part, local[:, 2], inverse=True)
        places.append(local / unit)
        near.append(single_distance(part, vertices))
    weight = 1.0 / (np.abs(np.stack(near)) + 2.0) ** 3
    return places, weight / weight.sum(axis=0)


def placed(shape, known):
    places, weight = known
    out = np.zeros((len(places[0]), 3))
    for part, place, share in zip(solid_parts(shape), places, weight, strict=True):
        unit = scale_of(part, place[:, 2], inverse=False)
        out += share[:, None] * part.pose.point(place * unit)
    return dropped(shape, out)


def scale_of(part, along, *, inverse):
    """(n, 3) mm per unit at each place: radius across, length along."""
    if part.kind == 1:
        length, start, end = part.sizes[:3]
        share = np.clip(along / length if inverse else along, 0.0, 1.0)
        radius = start + (end - start) * share
        return np.stack([radius, radius, np.full_like(radius, length)], axis=1)
    semi = np.array(part.sizes[:3] if len(part.sizes) >= 3 else [part.sizes[0]] * 3)
    return np.broadcast_to(semi, (len(along), 3))


def single_distance(part, points):
    row, box = part.joined(0.0).row(), np.empty((1, 1, 1), np.float32)
    zero, one = np.zeros(3, np.int64), np.ones(3, np.int64)
    out = np.empty(len(points))
    for n, point in enumerate(points):
        box[:] = FAR_MM
        join(box, point, 1.0, zero, one, row)
        out[n] = box[0, 0, 0]
    return out


def dropped(shape, points):
    """Points moved to the nearest place of the bone's finely cut surface."""
    return TriangleTree.of(surface(shape, 2.0)).nearest(points).points_mm
