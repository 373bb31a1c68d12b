"""Distances between two triangle surfaces, measured from points to triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.core.mesh import Mesh
from boneray.geometry.triangle_tree import TriangleTree


def directed_distances_mm(mesh: Mesh, other: Mesh | TriangleTree) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of every vertex of `mesh` to the surface `other`, and the area each vertex stands for, (n,) each."""
    tree = other if isinstance(other, TriangleTree) else TriangleTree.of(other)
    return tree.nearest(mesh.vertices_mm).distance_mm, vertex_areas_mm2(mesh)


def mesh_assd_mm(reference: Mesh, prediction: Mesh) -> float:
    """Average symmetric distance of two surfaces: both pooled, each vertex by its share of area, mm."""
    there, area_there = directed_distances_mm(reference, prediction)
    back, area_back = directed_distances_mm(prediction, reference)
    return float((there @ area_there + back @ area_back) / (area_there.sum() + area_back.sum()))


def vertex_areas_mm2(mesh: Mesh) -> NDArray[np.float64]:
    """A third of the triangles around each vertex, (n,)."""
    share = np.repeat(mesh.face_areas_mm2 / 3.0, 3)
    return np.bincount(mesh.faces.ravel(), weights=share, minlength=len(mesh.vertices_mm)).astype(float)


def vertex_normals(mesh: Mesh) -> NDArray[np.float64]:
    """Unit outward normals of the vertices, (n, 3), triangles weighted by area; zero where there are none."""
    corners = mesh.vertices_mm[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(mesh.vertices_mm)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(mesh.faces[:, corner], weights=cross[:, axis], minlength=len(total))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)
