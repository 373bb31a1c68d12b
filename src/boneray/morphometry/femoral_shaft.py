"""The axis of the femoral shaft: the line through the centroids of sections across it.

Where only the proximal femur is seen, just the unbroken run of narrow sections counts, and the
narrowest count most: wider ones are pulled off the axis by the lesser trochanter and the neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.mesh import Mesh
from boneray.geometry.lines import Line, angle_deg, fit_line
from boneray.geometry.sections import plane_section
from boneray.morphometry.femoral_head import Head

FULL_FEMUR_MM = 300.0
SECTION_STEP_MM = 3.0
THIN = 1.2
NARROW_POWER = 16


@dataclass(frozen=True)
class Shaft:
    """The shaft axis, pointing to the head.

    Attributes:
        axis: the line; its direction runs from the knee to the hip.
        kind: mid_shaft (25-70 % of a full femur) or proximal; only like may be compared with like.
        proximal_mm, distal_mm: the ends of the part the axis rests on, on the axis, (3,).
        below_head_mm: length of bone below the head centre along the axis.
    """

    axis: Line
    kind: str
    proximal_mm: NDArray[np.float64]
    distal_mm: NDArray[np.float64]
    below_head_mm: float

    @property
    def rests_on_mm(self) -> float:
        """Length of the part of the shaft that the axis rests on."""
        return float(np.linalg.norm(self.proximal_mm - self.distal_mm))


def find_shaft(mesh: Mesh, head: Head) -> Shaft | None:
    """The shaft axis below a head, or None if fewer than four sections show a shaft."""
    axis = _start_axis(mesh, head)
    if axis is None:
        return None
    kind, along = "proximal", np.zeros(0)
    for _ in range(6):
        kind, centroids, weights = _shaft_centroids(mesh, axis, head)
        if len(centroids) < 4:
            return None
        better = fit_line(centroids, weights, toward=head.centre_mm)
        turned = angle_deg(axis.direction, better.direction)
        axis, along = better, better.along_mm(centroids)
        if turned < 0.01:
            break
    below = float(axis.along_mm(head.centre_mm) - axis.along_mm(mesh.vertices_mm).min())
    return Shaft(axis, kind, axis.at(along.max()), axis.at(along.min()), below)


def _shaft_centroids(mesh: Mesh, axis: Line, head: Head) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """The kind of shaft seen, the centroids (n, 3) of its sections across `axis` and their weights (n,).

    Near the hip wider sections weigh less: the lesser trochanter pulls their centroids off the axis.
    """
    along = axis.along_mm(mesh.vertices_mm)
    bottom, length = float(along.min()), float(np.ptp(along))
    if length > FULL_FEMUR_MM:
        kind, start, stop = "mid_shaft", bottom + 0.25 * length, bottom + 0.70 * length
    else:
        kind, start = "proximal", _top_of_cut(mesh, axis, head, bottom) + 4.0
        stop = float(axis.along_mm(head.centre_mm)) - 1.6 * head.radius_mm
    if stop <= start:
        return kind, np.zeros((0, 3)), np.zeros(0)
    levels = np.arange(start, stop, SECTION_STEP_MM)
    loops = [plane_section(mesh, axis.at(level), axis.direction)[:1] for level in levels]
    areas = np.array([loop[0].area_mm2 if loop else np.inf for loop in loops])
    keep = np.isfinite(areas) if kind == "mid_shaft" else _thin_run(areas)
    centroids = np.array([loop[0].centroid_mm for loop, kept in zip(loops, keep, strict=True) if kept]).reshape(-1, 3)
    if kind == "mid_shaft" or len(centroids) == 0:
        return kind, centroids, np.ones(len(centroids))
    return kind, centroids, (areas[keep].min() / areas[keep]) ** NARROW_POWER


def _start_axis(mesh: Mesh, head: Head) -> Line | None:
    """A first axis: the direction most at right angles to the surface away from the head.

    Normals tell the axis of a stump that is hardly longer than it is wide, where the points do not.
    """
    centres, areas = mesh.face_centres_mm, mesh.face_areas_mm2
    away = np.linalg.norm(centres - head.centre_mm, axis=1) > 2.0 * head.radius_mm
    if np.count_nonzero(away) < 4:
        return None
    normals, weights = mesh.face_normals[away], areas[away]
    direction = _across(normals, weights)
    for _ in range(5):
        # Cut faces and trochanter tops look along the axis; what is left is the tube.
        tube = np.abs(normals @ direction) < 0.5
        direction = _across(normals[tube], weights[tube])
    middle = weights @ centres[away] / weights.sum()
    if direction @ (head.centre_mm - middle) < 0:
        direction = -direction
    return Line(middle, direction)


def _across(normals: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction most at right angles to weighted normals (n, 3)."""
    return np.linalg.eigh((normals * weights[:, None]).T @ normals)[1][:, 0]


def _top_of_cut(mesh: Mesh, axis: Line, head: Head, bottom: float) -> float:
    """The level up to which a flat cut, perhaps oblique, takes part in sections across the axis."""
    level = axis.along_mm(mesh.vertices_mm)[mesh.faces]
    cut = (mesh.face_normals @ axis.direction < -0.8) & (level.min(axis=1) < bottom + 1.5 * head.radius_mm)
    return float(np.percentile(level[cut], 95)) if cut.any() else bottom


def _thin_run(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The unbroken run about the smallest section whose areas stay below `THIN` times their 15th percentile."""
    run = np.zeros(areas.size, dtype=bool)
    if not np.isfinite(areas).any():
        return run
    thin = areas < THIN * np.percentile(areas[np.isfinite(areas)], 15)
    start = stop = int(np.argmin(areas))
    while start > 0 and thin[start - 1]:
        start -= 1
    while stop + 1 < areas.size and thin[stop + 1]:
        stop += 1
    run[start : stop + 1] = True
    return run
