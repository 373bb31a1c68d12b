"""The femoral head as a sphere, found without knowing pose, side or field of view.

Every face of a sphere votes for the centre by its normal (Hough); the candidates are refined by a
trimmed fit and judged by how much of the sphere the bone really covers. Condyles lose: they are
balls over a small part only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.geometry.spheres import Sphere, fit_sphere

RADII_MM = (15.0, 33.0)
OTHER_RADII_MM = ((7.5, 16.5), (30.0, 66.0))
CELL_MM = 2.5
MOST_CELLS = 200
PEAKS = 12
RADIAL = 0.93
COVER_CHORD = 0.25
ROUGHEST_MM = 5.0


@dataclass(frozen=True)
class Head:
    """The sphere of the head with the quality of its fit.

    Attributes:
        centre_mm, radius_mm: the sphere.
        coverage: share of 400 directions with bone surface on the sphere near them, 0..1.
        rms_mm: root mean square distance of the accepted faces from the sphere.
        roughness_mm: robust deviation (1.48 median) of all faces that look away from the centre.
    """

    centre_mm: NDArray[np.float64]
    radius_mm: float
    coverage: float
    rms_mm: float
    roughness_mm: float


def find_head(mesh: Mesh, radii_mm: tuple[float, float] = RADII_MM) -> Head | None:
    """The best covered sphere with a radius in the range, or None if no sphere fits at all."""
    centres, normals, areas = mesh.face_centres_mm, mesh.face_normals, mesh.face_areas_mm2
    if len(centres) < 20:
        return None
    step_mm = 1.5 * radii_mm[0] / RADII_MM[0]
    cell_mm = max(CELL_MM * radii_mm[0] / RADII_MM[0], float(np.ptp(centres, axis=0).max()) / MOST_CELLS)
    radii = np.arange(radii_mm[0], radii_mm[1] + step_mm / 2, step_mm)
    corners = mesh.vertices_mm[mesh.faces]
    heads = [
        _refined(start, corners, centres, normals, areas, radii_mm)
        for start in _peaks(centres, normals, areas, radii, cell_mm)
    ]
    return max((head for head in heads if head is not None), key=lambda head: head.coverage, default=None)


def _peaks(
    centres: NDArray[np.float64],
    normals: NDArray[np.float64],
    areas: NDArray[np.float64],
    radii: NDArray[np.float64],
    cell_mm: float,
) -> list[NDArray[np.float64]]:
    """The places where most of the inward normals meet, strongest first."""
    low = centres.min(axis=0)
    shape = np.ceil((centres.max(axis=0) - low) / cell_mm).astype(int) + 1
    votes = np.zeros(int(np.prod(shape)))
    for radius in radii:
        cell = np.rint((centres - radius * normals - low) / cell_mm).astype(int)
        inside = np.all((cell >= 0) & (cell < shape), axis=1)
        # A ball of radius r sends area ~ r^2 to its centre; dividing keeps small and large ones equal.
        votes += np.bincount(
            np.ravel_multi_index(tuple(cell[inside].T), tuple(shape)), areas[inside] / radius**2, votes.size
        )
    smooth = ndimage.gaussian_filter(votes.reshape(shape), 1.0, mode="constant")
    peak = (smooth == ndimage.maximum_filter(smooth, size=5, mode="constant")) & (smooth > 0)
    index = np.argwhere(peak)
    strongest = np.argsort(-smooth[peak], kind="stable")[:PEAKS]
    return [low + cell_mm * index[n] for n in strongest]


def _refined(
    start: NDArray[np.float64],
    corners: NDArray[np.float64],
    centres: NDArray[np.float64],
    normals: NDArray[np.float64],
    areas: NDArray[np.float64],
    radii_mm: tuple[float, float],
) -> Head | None:
    """The sphere about a peak: faces near it that look away from its centre, with a shrinking tolerance.

    The last fits go through the corners (n, 3, 3) of these faces, as their centres lie inside a round
    surface, and widen the tolerance to the roughness of the head, as on a noisy prediction.
    """
    sphere = Sphere(start, _radius_about(start, centres, normals, areas, radii_mm))
    scale = radii_mm[0] / RADII_MM[0]
    for tolerance in (*np.array([4.0, 3.0, 2.5, 2.0]) * scale, *[1.5 * scale] * 12):
        chosen = _on_sphere(sphere, centres, normals, tolerance)
        if np.count_nonzero(chosen) < 10:
            return None
        try:
            fitted = fit_sphere(centres[chosen], areas[chosen])
        except DataError:  # a flat patch, such as the cut of the field of view, is no ball
            return None
        moved = np.linalg.norm(fitted.centre_mm - sphere.centre_mm) + abs(fitted.radius_mm - sphere.radius_mm)
        sphere = fitted
        if tolerance == 1.5 * scale and moved < 1e-3:
            break
    if not radii_mm[0] <= sphere.radius_mm <= radii_mm[1]:
        return None
    most = ROUGHEST_MM * scale
    for _ in range(12):
        tolerance = float(np.clip(2.5 * _roughness_mm(sphere, centres, normals, scale), 1.5 * scale, most))
        chosen = _on_sphere(sphere, centres, normals, tolerance)
        if np.count_nonzero(chosen) < 10:
            return None
        before, sphere = sphere, fit_sphere(corners[chosen].reshape(-1, 3), np.repeat(areas[chosen], 3))
        if np.linalg.norm(sphere.centre_mm - before.centre_mm) < 1e-6:
            break
    if not radii_mm[0] <= sphere.radius_mm <= radii_mm[1]:
        return None
    chosen = _on_sphere(sphere, centres, normals, 1.5 * scale)
    if not chosen.any():
        return None
    residual = sphere.residual_mm(centres[chosen])
    rms = float(np.sqrt(np.average(residual**2, weights=areas[chosen])))
    rough = _roughness_mm(sphere, centres, normals, scale)
    return Head(sphere.centre_mm, sphere.radius_mm, _coverage(sphere, centres[chosen]), rms, rough)


def _roughness_mm(sphere: Sphere, centres: NDArray[np.float64], normals: NDArray[np.float64], scale: float) -> float:
    """Robust deviation from the sphere of the faces near it that look away from its centre."""
    near = _on_sphere(sphere, centres, normals, ROUGHEST_MM * scale)
    return 1.4826 * float(np.median(np.abs(sphere.residual_mm(centres[near])))) if near.any() else 0.0


def _radius_about(
    centre: NDArray[np.float64],
    centres: NDArray[np.float64],
    normals: NDArray[np.float64],
    areas: NDArray[np.float64],
    radii_mm: tuple[float, float],
) -> float:
    """The distance from `centre` at which most of the surface looks straight away from it, per solid angle."""
    offset = centres - centre
    distance = np.linalg.norm(offset, axis=1)
    radial = np.einsum("ij,ij->i", offset, normals) > RADIAL * distance
    width = 1.5 * radii_mm[0] / RADII_MM[0]
    edges = np.arange(0.8 * radii_mm[0], 1.1 * radii_mm[1] + width, width)
    angle, _ = np.histogram(distance[radial], edges, weights=areas[radial] / np.maximum(distance[radial], 1e-9) ** 2)
    two_bins = angle[:-1] + angle[1:]
    return float(edges[int(two_bins.argmax()) + 1])


def _on_sphere(
    sphere: Sphere, centres: NDArray[np.float64], normals: NDArray[np.float64], tolerance_mm: float
) -> NDArray[np.bool_]:
    offset = centres - sphere.centre_mm
    distance = np.linalg.norm(offset, axis=1)
    radial = np.einsum("ij,ij->i", offset, normals) > RADIAL * distance
    return radial & (np.abs(distance - sphere.radius_mm) < tolerance_mm)


def _coverage(sphere: Sphere, points: NDArray[np.float64]) -> float:
    offset = points - sphere.centre_mm
    directions = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    nearest, _ = cKDTree(directions).query(_even_directions(400), distance_upper_bound=COVER_CHORD)
    return float(np.isfinite(nearest).mean())


def _even_directions(count: int) -> NDArray[np.float64]:
    """Unit directions spread evenly over the sphere by the golden angle, (count, 3)."""
    n = np.arange(count) + 0.5
    z = 1 - 2 * n / count
    turn = np.pi * (1 + np.sqrt(5)) * n
    ring = np.sqrt(1 - z**2)
    return np.column_stack([ring * np.cos(turn), ring * np.sin(turn), z])
