"""Distances between point clouds and between depth maps; points are (n, 3) RAS mm.

No surface weights here: every point counts alike, so both clouds must be sampled evenly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from boneray.core.errors import DataError, GeometryError
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator

EMD_POINTS = 2048


def chamfer_l2_sum_mm2(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """Mean squared distance to the nearest point, both directions added, mm^2; inf if one cloud is empty."""
    return sum(float(np.mean(d**2)) if d.size else math.inf for d in nearest_distances(reference_mm, prediction_mm))


def chamfer_l1_mean_mm(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """Mean distance to the nearest point, mean of both directions, mm; inf if one cloud is empty."""
    return sum(float(np.mean(d)) if d.size else math.inf for d in nearest_distances(reference_mm, prediction_mm)) / 2


def point_assd_mm(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """Mean distance to the nearest point over the points of both clouds; inf if one cloud is empty."""
    both = np.concatenate(nearest_distances(reference_mm, prediction_mm))
    return float(both.mean())


def point_hd95_mm(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """The larger of the directed distances that cover 95 % of the points, without interpolation."""
    directed = [d for d in nearest_distances(reference_mm, prediction_mm) if d.size]
    return max(float(np.percentile(d, 95, method="inverted_cdf")) for d in directed)


def nearest_distances(reference_mm: NDArray, prediction_mm: NDArray) -> tuple[NDArray, NDArray]:
    """Distance of every reference point to the nearest predicted one (n,), and the other way (m,), mm.

    Raises:
        DataError: both clouds are empty, or a cloud is not (n, 3).
    """
    a, b = _cloud(reference_mm, "reference"), _cloud(prediction_mm, "prediction")
    if not len(a) and not len(b):
        raise DataError("both point clouds are empty; there is nothing to compare")
    if not len(a) or not len(b):
        return np.full(len(a), np.inf), np.full(len(b), np.inf)
    return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]


def earth_mover_mm(reference_mm: NDArray, prediction_mm: NDArray) -> float:
    """Mean distance of the best one-to-one matching of two clouds of equal size, mm; exact.

    Depends on the number of points: say it beside the value.
    """
    a, b = _cloud(reference_mm, "reference"), _cloud(prediction_mm, "prediction")
    if len(a) != len(b) or not len(a):
        raise DataError(f"earth mover's distance of {len(a)} and {len(b)} points; both clouds need the same number")
    costs = cdist(a, b)
    return float(costs[linear_sum_assignment(costs)].mean())


@dataclass(frozen=True)
class EarthMover:
    """Earth mover's distance of two surfaces and what it is worth.

    Attributes:
        emd_mm: between a sample of the reference and one of the prediction.
        self_emd_mm: between two independent samples of the reference, the floor of `emd_mm`.
        n_points: points in each sample.
    """

    emd_mm: float
    self_emd_mm: float
    n_points: int


def surface_earth_mover(reference: Mesh, prediction: Mesh, *, n_points: int = EMD_POINTS, seed: int = 0) -> EarthMover:
    """Earth mover's distance of two meshes sampled evenly by area; same seed, same value."""
    sample = sample_surface(reference, n_points, generator(seed, "emd", "reference"))
    again = sample_surface(reference, n_points, generator(seed, "emd", "reference", "again"))
    other = sample_surface(prediction, n_points, generator(seed, "emd", "prediction"))
    return EarthMover(earth_mover_mm(sample, other), earth_mover_mm(sample, again), n_points)


def sample_surface(mesh: Mesh, n_points: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Points drawn uniformly by area from the surface of a mesh, (n_points, 3)."""
    areas = mesh.face_areas_mm2
    if not areas.sum() > 0:
        raise DataError("the mesh has no area to sample; is it empty?")
    faces = mesh.faces[draw.choice(len(areas), size=n_points, p=areas / areas.sum())]
    a, b, c = (mesh.vertices_mm[faces[:, corner]] for corner in range(3))
    u, v = draw.random((2, n_points, 1))
    root = np.sqrt(u)
    return np.asarray((1 - root) * a + root * (1 - v) * b + root * v * c)


def aligned_in_depth(reference_mm: NDArray, prediction_mm: NDArray, direction: ArrayLike) -> NDArray[np.float64]:
    """The predicted points, moved along `direction` until both clouds have the same mean depth.

    3DDX scores clouds after this step; what it removes is an error of absolute depth.

    Args:
        direction: the viewing direction, any length, (3,).
    """
    a, b = _cloud(reference_mm, "reference"), _cloud(prediction_mm, "prediction")
    unit = np.asarray(direction, dtype=float)
    length = float(np.linalg.norm(unit))
    if unit.shape != (3,) or not length > 0:
        raise GeometryError(f"depth direction {unit.tolist()} is not a direction; give three numbers, not all 0")
    unit = unit / length
    return np.asarray(b + unit * float((a @ unit).mean() - (b @ unit).mean()))


@dataclass(frozen=True)
class DepthErrors:
    """Errors of a depth map over the pixels that both maps know.

    Attributes:
        mae_mm, rmse_mm: mean absolute and root mean square error; NaN without a common pixel.
        n_pixels: pixels compared.
        coverage: share of the reference's pixels that were compared.
    """

    mae_mm: float
    rmse_mm: float
    n_pixels: int
    coverage: float


def depth_errors(reference_mm: NDArray, prediction_mm: NDArray, *, align_centre: bool = False) -> DepthErrors:
    """Errors of a depth map (rows, columns) in mm; pixels without bone are NaN.

    Args:
        align_centre: first give the prediction the mean depth of the reference (3DDX).
    """
    if reference_mm.shape != prediction_mm.shape:
        raise GeometryError(f"depth maps of shape {reference_mm.shape} and {prediction_mm.shape} cannot be compared")
    known = np.isfinite(reference_mm)
    both = known & np.isfinite(prediction_mm)
    n = int(both.sum())
    coverage = n / int(known.sum()) if known.any() else math.nan
    if not n:
        return DepthErrors(math.nan, math.nan, 0, coverage)
    error = prediction_mm[both].astype(float) - reference_mm[both]
    if align_centre:
        error = error - error.mean()
    return DepthErrors(float(np.abs(error).mean()), float(np.sqrt(np.mean(error**2))), n, coverage)


def _cloud(points_mm: NDArray, name: str) -> NDArray[np.float64]:
    points = np.asarray(points_mm, dtype=float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"{name} points have shape {points.shape}; (n, 3) is needed")
    return points
