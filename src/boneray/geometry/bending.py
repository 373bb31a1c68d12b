"""How much a surface bends: a measure of its roughness that no pose and little of the mesh enters."""

from __future__ import annotations

import numpy as np

from boneray.core.mesh import Mesh


def bending_per_mm(mesh: Mesh) -> float:
    """Angles between neighbouring faces (radians) times the lengths of their edges, per area of the surface, 1/mm.

    Twice the mean of |mean curvature|: 2/R on a sphere, 1/R on a cylinder, 0 on a plane. A mesh of no area has 0.
    Source: Cohen-Steiner & Morvan 2003, Restricted Delaunay triangulations and normal cycle.
    """
    corners = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    face = np.repeat(np.arange(len(mesh.faces)), 3)
    edges = np.sort(corners, axis=1)
    names = edges[:, 0] * (len(mesh.vertices_mm) + 1) + edges[:, 1]
    order = np.argsort(names, kind="stable")
    first = order[np.flatnonzero(names[order][1:] == names[order][:-1])]
    second = order[np.flatnonzero(names[order][1:] == names[order][:-1]) + 1]
    normals, points = mesh.face_normals, mesh.vertices_mm
    cosines = np.einsum("ij,ij->i", normals[face[first]], normals[face[second]])
    lengths = np.linalg.norm(points[edges[first, 0]] - points[edges[first, 1]], axis=1)
    area = float(mesh.face_areas_mm2.sum())
    return float(np.arccos(np.clip(cosines, -1.0, 1.0)) @ lengths / area) if area > 0 else 0.0
