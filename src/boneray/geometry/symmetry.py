"""The plane of mirror symmetry of a bone, found by laying its surface onto its own mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from boneray.core.mesh import Mesh
from boneray.geometry.lines import unit

SAMPLES = 4000
KEPT_SHARE = 0.8
FACING = 0.3
ROUGH_STEPS, FINE_STEPS = 8, 30
SETTLED = 1e-7
# A candidate this much worse than the best (factor, mm) still counts as equal, and `near` decides.
NO_WORSE = (1.25, 0.2)


@dataclass(frozen=True)
class MirrorPlane:
    """A plane with the quality of the symmetry about it.

    Attributes:
        point_mm: a point of the plane, (3,) RAS mm.
        normal: unit normal, (3,), on the side of the direction that was asked for.
        residual_mm: root mean square distance of the mirrored surface from the surface, over the
            80 % of it that fit best.
    """

    point_mm: NDArray[np.float64]
    normal: NDArray[np.float64]
    residual_mm: float


def mirror_plane(mesh: Mesh, *, near: ArrayLike) -> MirrorPlane:
    """The best mirror plane of a surface; its normal points to the side of the direction `near`.

    The principal axes of the surface are the starts, because a mirror-symmetric body has its mirror
    normal among them; their signs do not matter to a plane. Each start descends by point-to-plane
    steps over the best fitting 80 % of the surface. Only among equally good planes `near` decides
    which; so the result follows the bone and not the patient's pose.

    Source: the mirrored iterative closest point of Di Angelo and Di Stefano 2015; the steps are ours.
    """
    surface = _Surface.of(mesh)
    middle = np.average(surface.points, axis=0, weights=surface.areas)
    offset = surface.points - middle
    axes = np.linalg.eigh((offset * surface.areas[:, None]).T @ offset)[1].T
    rough = [surface.descended(middle, axis, ROUGH_STEPS, 4) for axis in axes]
    best = min(plane.residual_mm for plane in rough)
    equal = [plane for plane in rough if plane.residual_mm <= NO_WORSE[0] * best + NO_WORSE[1]]
    wanted = unit(near)
    start = max(equal, key=lambda plane: abs(float(plane.normal @ wanted)))
    found = surface.descended(start.point_mm, start.normal, FINE_STEPS, 1)
    sign = -1.0 if found.normal @ wanted < 0 else 1.0
    return MirrorPlane(found.point_mm, sign * found.normal, found.residual_mm)


def mirrored(points: NDArray[np.float64], plane: MirrorPlane) -> NDArray[np.float64]:
    """Points (..., 3) reflected in a plane."""
    return points - 2 * np.multiply.outer((points - plane.point_mm) @ plane.normal, plane.normal)


@dataclass(frozen=True, eq=False)
class _Surface:
    """Face centres with normals and areas, and the tree that finds the nearest."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    areas: NDArray[np.float64]
    tree: cKDTree

    @classmethod
    def of(cls, mesh: Mesh) -> _Surface:
        points = mesh.face_centres_mm
        return cls(points, mesh.face_normals, mesh.face_areas_mm2, cKDTree(points))

    def descended(self, point: NDArray[np.float64], normal: NDArray[np.float64], steps: int, thin: int) -> MirrorPlane:
        """The plane after at most `steps` point-to-plane steps from a start, with every `thin`-th sample."""
        chosen = slice(None, None, thin * max(1, len(self.points) // SAMPLES))
        p, normals, areas = self.points[chosen], self.normals[chosen], self.areas[chosen]
        plane = MirrorPlane(point, normal, np.inf)
        for _ in range(steps):
            turned = mirrored(p, plane)
            facing = normals - 2 * np.multiply.outer(normals @ plane.normal, plane.normal)
            distance, index = self.tree.query(turned)
            q, n = self.points[index], self.normals[index]
            apart = np.einsum("ij,ij->i", turned - q, n)
            agrees = np.einsum("ij,ij->i", facing, n) > FACING
            limit = np.quantile(distance, KEPT_SHARE)
            weight = areas * (agrees & (distance <= limit))
            lost = 1 - weight.sum() / max(areas.sum(), 1e-12)
            spread = np.average(apart**2, weights=weight) if weight.any() else np.inf
            # what does not fit at all counts with its distance, so a plane that fits little does not win
            residual = float(np.sqrt(spread) + max(0.0, lost - (1 - KEPT_SHARE)) * np.mean(distance))
            moved = _step(p, plane, apart, n, weight)
            done = (
                residual >= 0
                and np.linalg.norm(moved.normal - plane.normal) + np.linalg.norm(moved.point_mm - plane.point_mm)
                < SETTLED
            )
            plane = MirrorPlane(moved.point_mm, moved.normal, residual)
            if done:
                break
        return plane


def _step(
    p: NDArray[np.float64],
    plane: MirrorPlane,
    apart: NDArray[np.float64],
    n: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> MirrorPlane:
    """The plane that takes the mirrored points nearest to the tangent planes they met, to first order.

    With S(p) = p - 2 h m and h = (p - c).m, a shift e of the plane along m moves S(p) by 2 e m, and a
    turn d of its normal (d.m = 0) by -2 ((p - c).d m + h d).
    """
    m = plane.normal
    offset = p - plane.point_mm
    height = offset @ m
    u = np.cross(m, np.eye(3)[np.argmin(np.abs(m))])
    u /= np.linalg.norm(u)
    v = np.cross(m, u)
    along = n @ m
    columns = [2 * along, *(-2 * ((offset @ d) * along + height * (n @ d)) for d in (u, v))]
    matrix = np.column_stack(columns)
    root = np.sqrt(weight)
    shift, a, b = np.linalg.lstsq(matrix * root[:, None], -apart * root, rcond=None)[0]
    turn = np.clip(np.array([a, b]), -0.3, 0.3)
    return MirrorPlane(plane.point_mm + shift * m, unit(m + turn[0] * u + turn[1] * v), plane.residual_mm)
