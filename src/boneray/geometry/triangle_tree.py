"""A tree of boxes over the triangles of a surface: where rays meet it, and its nearest point.

The tree is built once for a topology; a surface of the same triangles that has moved only needs new
boxes (`moved`), which is quick enough for every step of a fit.

Sources: Moeller and Trumbore 1997 (ray and triangle); Ericson 2005, Real-time collision detection,
5.1.5 (nearest point of a triangle). Both written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.errors import DataError
from boneray.core.mesh import Mesh

LEAF = 4
DEPTH = 64


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest points of a surface.

    Attributes:
        distance_mm: (n,) to the surface, never negative.
        points_mm: (n, 3) the nearest points themselves.
        faces: (n,) the triangle each lies on.
        weights: (n, 3) of that triangle's corners; they add up to 1.
    """

    distance_mm: NDArray[np.float64]
    points_mm: NDArray[np.float64]
    faces: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TriangleTree:
    """A mesh with its boxes. Node n has the children 2n + 1 and 2n + 2, or is a leaf of up to 4 triangles.

    Attributes:
        mesh: the surface.
        order: triangles in the order of the leaves.
        nodes: (k, 4) first and last-plus-one place in `order`, left and right child (-1: a leaf).
        boxes: (k, 6) low and high corner of each node, mm.
    """

    mesh: Mesh
    order: NDArray[np.int64]
    nodes: NDArray[np.int64]
    boxes: NDArray[np.float64]

    @classmethod
    def of(cls, mesh: Mesh) -> TriangleTree:
        """The tree of a mesh, split at the median of the longest side.

        Raises:
            DataError: no triangle, or a vertex that is no number.
        """
        if len(mesh.faces) == 0:
            raise DataError("a surface without triangles has no nearest point and meets no ray")
        if not np.isfinite(mesh.vertices_mm).all():
            raise DataError("a surface has vertices that are not numbers; drop or repair them")
        order, nodes = _split(mesh.face_centres_mm)
        tree = cls(mesh, order, nodes, np.empty((len(nodes), 6)))
        _boxes(mesh.vertices_mm, mesh.faces, order, nodes, tree.boxes)
        return tree

    def moved(self, vertices_mm: NDArray[np.float64]) -> TriangleTree:
        """The tree of the same triangles with other vertices (n, 3)."""
        boxes = np.empty_like(self.boxes)
        vertices = np.ascontiguousarray(vertices_mm, dtype=float)
        _boxes(vertices, self.mesh.faces, self.order, self.nodes, boxes)
        return replace(self, mesh=Mesh(vertices, self.mesh.faces), boxes=boxes)

    def nearest(self, points_mm: NDArray) -> Nearest:
        """The nearest point of the surface to each of (n, 3) points."""
        points = np.ascontiguousarray(points_mm, dtype=float)
        if points.ndim != 2 or points.shape[1] != 3:
            raise DataError(f"points have shape {points.shape}; (n, 3) is needed")
        faces, weights = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
        mesh = self.mesh
        _nearest(
            np.asarray(mesh.vertices_mm, float), mesh.faces, self.order, self.nodes, self.boxes, points, faces, weights
        )
        found = np.einsum("nk,nkc->nc", weights, mesh.vertices_mm[mesh.faces[faces]])
        return Nearest(np.linalg.norm(points - found, axis=1), found, faces, weights)

    def first_and_last(self, start_mm: NDArray, direction: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each ray first and last meets the surface, in lengths of its direction; NaN where it misses.

        Args:
            start_mm, direction: (n, 3) each; only what lies ahead of the start counts.
        """
        start = np.ascontiguousarray(start_mm, dtype=float)
        along = np.ascontiguousarray(direction, dtype=float)
        out = np.full((len(start), 2), np.nan)
        mesh = self.mesh
        _hits(np.asarray(mesh.vertices_mm, float), mesh.faces, self.order, self.nodes, self.boxes, start, along, out)
        return out[:, 0], out[:, 1]


def open_edges(mesh: Mesh) -> int:
    """Edges that do not join exactly two triangles running opposite ways; 0 for a closed surface."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    count = int(edges.max(initial=0)) + 1
    there, back = np.sort(edges[:, 0] * count + edges[:, 1]), np.sort(edges[:, 1] * count + edges[:, 0])
    repeated = int((np.diff(there) == 0).sum())
    if not repeated and np.array_equal(there, back):
        return 0
    return repeated + len(np.setdiff1d(there, back))


def require_closed(mesh: Mesh, name: str) -> None:
    """Refuse a surface with holes.

    Raises:
        DataError: with the number of open edges.
    """
    count = open_edges(mesh)
    if count:
        raise DataError(f"the surface of {name} is not closed ({count} open edges); fill its holes first")


@njit(cache=True, nogil=True)
def _split(centres):  # pragma: no cover - compiled
    """Order of the triangles (m,) and the nodes over it (k, 4); children come after their parents."""
    order = np.arange(len(centres))
    nodes = np.full((2 * len(centres) + 1, 4), -1, np.int64)
    nodes[0, 0], nodes[0, 1] = 0, len(centres)
    count, here = 1, 0
    while here < count:
        first, end = nodes[here, 0], nodes[here, 1]
        if end - first > LEAF:
            part = order[first:end].copy()
            axis, longest = 0, -1.0
            for k in range(3):
                values = centres[part, k]
                if values.max() - values.min() > longest:
                    axis, longest = k, values.max() - values.min()
            order[first:end] = part[np.argsort(centres[part, axis])]
            half = first + (end - first) // 2
            nodes[here, 2], nodes[here, 3] = count, count + 1
            nodes[count, 0], nodes[count, 1] = first, half
            nodes[count + 1, 0], nodes[count + 1, 1] = half, end
            count += 2
        here += 1
    return order, nodes[:count].copy()


@njit(cache=True, nogil=True)
def _boxes(vertices, faces, order, nodes, boxes):  # pragma: no cover - compiled
    for n in range(len(nodes) - 1, -1, -1):
        left, right = nodes[n, 2], nodes[n, 3]
        for axis in range(3):
            low, high = np.inf, -np.inf
            if left >= 0:
                low = min(boxes[left, axis], boxes[right, axis])
                high = max(boxes[left, axis + 3], boxes[right, axis + 3])
            else:
                for place in range(nodes[n, 0], nodes[n, 1]):
                    for corner in range(3):
                        value = vertices[faces[order[place], corner], axis]
                        low, high = min(low, value), max(high, value)
            boxes[n, axis], boxes[n, axis + 3] = low, high


@njit(cache=True, nogil=True)
def _box_distance2(box, p):  # pragma: no cover - compiled
    total = 0.0
    for axis in range(3):
        gap = max(box[axis] - p[axis], p[axis] - box[axis + 3], 0.0)
        total += gap * gap
    return total


@njit(cache=True, nogil=True)
def _nearest(vertices, faces, order, nodes, boxes, points, out_faces, out_weights):  # pragma: no cover - compiled
    stack = np.empty(DEPTH, np.int64)
    w = np.empty(3)
    for n in range(len(points)):
        p = points[n]
        best = np.inf
        stack[0] = 0
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            if _box_distance2(boxes[node], p) >= best:
                continue
            left, right = nodes[node, 2], nodes[node, 3]
            if left >= 0:
                if _box_distance2(boxes[left], p) < _box_distance2(boxes[right], p):
                    left, right = right, left
                stack[top], stack[top + 1] = left, right  # the nearer one is taken first
                top += 2
                continue
            for place in range(nodes[node, 0], nodes[node, 1]):
                face = order[place]
                d2 = _nearest_on_triangle(
                    vertices[faces[face, 0]], vertices[faces[face, 1]], vertices[faces[face, 2]], p, w
                )
                if d2 < best:
                    best = d2
                    out_faces[n] = face
                    out_weights[n] = w


@njit(cache=True, nogil=True)
def _nearest_on_triangle(a, b, c, p, w):  # pragma: no cover - compiled
    """Squared distance of p to the triangle; the weights of its corners go into w."""
    d1 = d2 = d3 = d4 = d5 = d6 = 0.0
    for k in range(3):
        ab, ac = b[k] - a[k], c[k] - a[k]
        d1 += ab * (p[k] - a[k])
        d2 += ac * (p[k] - a[k])
        d3 += ab * (p[k] - b[k])
        d4 += ac * (p[k] - b[k])
        d5 += ab * (p[k] - c[k])
        d6 += ac * (p[k] - c[k])
    vc, vb, va = d1 * d4 - d3 * d2, d5 * d2 - d1 * d6, d3 * d6 - d5 * d4
    if d1 <= 0 and d2 <= 0:
        w[0], w[1], w[2] = 1.0, 0.0, 0.0
    elif d3 >= 0 and d4 <= d3:
        w[0], w[1], w[2] = 0.0, 1.0, 0.0
    elif d6 >= 0 and d5 <= d6:
        w[0], w[1], w[2] = 0.0, 0.0, 1.0
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        t = d1 / (d1 - d3) if d1 > d3 else 0.0
        w[0], w[1], w[2] = 1.0 - t, t, 0.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        t = d2 / (d2 - d6) if d2 > d6 else 0.0
        w[0], w[1], w[2] = 1.0 - t, 0.0, t
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        total = (d4 - d3) + (d5 - d6)
        t = (d4 - d3) / total if total > 0 else 0.0
        w[0], w[1], w[2] = 0.0, 1.0 - t, t
    else:
        total = va + vb + vc
        w[0], w[1], w[2] = va / total, vb / total, vc / total
    out = 0.0
    for k in range(3):
        gap = p[k] - (w[0] * a[k] + w[1] * b[k] + w[2] * c[k])
        out += gap * gap
    return out


@njit(cache=True, nogil=True)
def _meets_box(box, start, along):  # pragma: no cover - compiled
    near, far = 0.0, np.inf
    for axis in range(3):
        low, high = box[axis] - start[axis], box[axis + 3] - start[axis]
        if along[axis] == 0.0:
            if low > 0.0 or high < 0.0:
                return False
            continue
        a, b = low / along[axis], high / along[axis]
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near <= far * (1.0 + 1e-12)


@njit(cache=True, nogil=True)
def _hits(vertices, faces, order, nodes, boxes, start, along, out):  # pragma: no cover - compiled
    stack = np.empty(DEPTH, np.int64)
    for n in range(len(start)):
        s, d = start[n], along[n]
        stack[0] = 0
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            if not _meets_box(boxes[node], s, d):
                continue
            if nodes[node, 2] >= 0:
                stack[top], stack[top + 1] = nodes[node, 2], nodes[node, 3]
                top += 2
                continue
            for place in range(nodes[node, 0], nodes[node, 1]):
                face = order[place]
                t = _meets_triangle(vertices[faces[face, 0]], vertices[faces[face, 1]], vertices[faces[face, 2]], s, d)
                if t > 0.0:
                    if not out[n, 0] <= t:
                        out[n, 0] = t
                    if not out[n, 1] >= t:
                        out[n, 1] = t


@njit(cache=True, nogil=True)
def _meets_triangle(a, b, c, s, d):  # pragma: no cover - compiled
    """How far along d the ray from s meets the triangle, its edges included; -1 if it does not."""
    e1x, e1y, e1z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    e2x, e2y, e2z = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    px, py, pz = d[1] * e2z - d[2] * e2y, d[2] * e2x - d[0] * e2z, d[0] * e2y - d[1] * e2x
    size = e1x * px + e1y * py + e1z * pz
    if size == 0.0:
        return -1.0
    tx, ty, tz = s[0] - a[0], s[1] - a[1], s[2] - a[2]
    u = (tx * px + ty * py + tz * pz) / size
    slack = 1e-9  # a ray through an edge must not slip between two triangles
    if u < -slack or u > 1.0 + slack:
        return -1.0
    qx, qy, qz = ty * e1z - tz * e1y, tz * e1x - tx * e1z, tx * e1y - ty * e1x
    v = (d[0] * qx + d[1] * qy + d[2] * qz) / size
    if v < -slack or u + v > 1.0 + slack:
        return -1.0
    return (e2x * qx + e2y * qy + e2z * qz) / size
