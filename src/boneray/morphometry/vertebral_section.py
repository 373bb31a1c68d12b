"""The mid-sagittal section of a vertebra: the outline of its body and that of its arch.

The plane of mirror symmetry cuts the bone into outlines. The one about the deepest part of the bone
is the body; the largest one behind it is the arch with the spinous process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.geometry.interior import inside
from boneray.geometry.lines import unit
from boneray.geometry.outlines import Polygon, area_mm2, box_direction, centroid_mm, contains, nearest_pair
from boneray.geometry.sections import section_outlines
from boneray.geometry.symmetry import MirrorPlane, mirror_plane

CORE_VOXELS = 56
NEAR_MIDDLE_MM = 8.0
LEAST_OUTLINE_MM2 = 20.0
# The canal can be closed in the plane itself and open just beside it.
CUTS_MM = (0.0, 2.0, -2.0, 4.0, -4.0)
BESIDE_MM = (-4.0, -2.0, 2.0, 4.0)
TOO_DEEP = 1.6
PEDICLES = (0.1, 0.6)
RIGHT = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class MidSection:
    """The outlines of a vertebra in its mirror plane, in (forward, up) mm from the middle of the body.

    Attributes:
        plane: mirror plane.
        cut_mm: how far beside the plane the outlines were taken; 0 unless the canal is closed there.
        origin_mm: the middle of the body, (3,) RAS mm.
        forward: unit vector from arch to body along a side of the body, (3,); the endplates refine it.
        up: unit vector in the plane, at right angles to it; which of the two ways is not known here.
        body: outline of the body, counter-clockwise, (n, 2).
        beside: the same 2 and 4 mm to each side.
        arch: outline of arch and spinous process, (n, 2); None if there is none.
        merged: True if the outline about the body goes on into the arch, as where the canal is closed.
        pedicles: middle of the bone between the body and the arch at the sides, (2,); None without an arch.
    """

    plane: MirrorPlane
    cut_mm: float
    origin_mm: NDArray[np.float64]
    forward: NDArray[np.float64]
    up: NDArray[np.float64]
    body: Polygon
    beside: tuple[Polygon, ...]
    arch: Polygon | None
    merged: bool
    pedicles: NDArray[np.float64] | None

    def to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """RAS mm of (forward, up) coordinates (..., 2)."""
        return self.origin_mm + points @ np.stack([self.forward, self.up])

    def turned(self, forward: NDArray[np.float64], up: NDArray[np.float64]) -> MidSection:
        """The same section in other axes, given as unit vectors (2,) of this one."""
        matrix = np.stack([forward, up], axis=1)
        return replace(
            self,
            forward=forward @ np.stack([self.forward, self.up]),
            up=up @ np.stack([self.forward, self.up]),
            body=_from_the_front(self.body @ matrix),
            beside=tuple(_from_the_front(outline @ matrix) for outline in self.beside),
            arch=None if self.arch is None else _from_the_front(self.arch @ matrix),
            pedicles=None if self.pedicles is None else self.pedicles @ matrix,
        )


def find_mid_section(mesh: Mesh) -> MidSection | None:
    """The mid-sagittal section, or None if no outline there could be a body."""
    plane = mirror_plane(mesh, near=RIGHT)
    points, depth = _interior(mesh)
    if len(points) == 0:
        return None
    core = body_core(points, depth, plane)
    first = unit(np.cross(np.eye(3)[np.argmin(np.abs(plane.normal))], plane.normal))
    axes = np.stack([first, np.cross(plane.normal, first)])
    centre = (np.average(mesh.face_centres_mm, axis=0, weights=mesh.face_areas_mm2) - core) @ axes.T
    cuts = [(shift, _cut(_outlines(mesh, plane, shift, core, axes), centre)) for shift in CUTS_MM]
    found = [(shift, cut) for shift, cut in cuts if cut is not None]
    if not found:
        return None
    cut_mm, (body, arch, merged) = next((c for c in found if c[1][1] is not None and not c[1][2]), found[0])
    forward = _forward(body, arch, centre, merged)
    origin = np.zeros(2) if merged else centroid_mm(body)
    beside = [_outlines(mesh, plane, cut_mm + shift, core, axes) for shift in BESIDE_MM if not merged]
    section = MidSection(
        plane,
        cut_mm,
        core + origin @ axes,
        axes[0],
        axes[1],
        body - origin,
        tuple(min(near, key=_off) - origin for near in beside if near),
        None if arch is None else arch - origin,
        merged,
        None,
    ).turned(forward, np.array([-forward[1], forward[0]]))
    return replace(section, pedicles=_pedicles(section, points))


def body_core(points: NDArray[np.float64], depth: NDArray[np.float64], plane: MirrorPlane) -> NDArray[np.float64]:
    """The deepest place of the bone near its mirror plane, projected onto the plane, (3,) RAS mm."""
    off = np.abs((points - plane.point_mm) @ plane.normal)
    near = off <= max(NEAR_MIDDLE_MM, float(off.min()))
    points, depth = points[near], depth[near]
    deepest = points[depth.argmax()]
    about = (depth >= 0.9 * depth.max()) & (np.linalg.norm(points - deepest, axis=1) <= depth.max())
    core = points[about].mean(axis=0)
    return core - plane.normal * ((core - plane.point_mm) @ plane.normal)


def _interior(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evenly spaced points inside the bone (n, 3) RAS mm, and their depth below the surface (n,) mm."""
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    spacing = max(float((high - low).max()), 1e-3) / CORE_VOXELS
    i, j, k = (int(n) for n in np.ceil((high - low) / spacing) + 3)
    grid = Grid((i, j, k), (spacing, spacing, spacing), tuple(low - spacing))
    depth = ndimage.distance_transform_edt(inside(mesh, grid), grid.spacing_mm)
    return grid.to_world(np.argwhere(depth > 0)), depth[depth > 0]


def _outlines(
    mesh: Mesh, plane: MirrorPlane, shift_mm: float, origin: NDArray[np.float64], axes: NDArray[np.float64]
) -> list[Polygon]:
    """Outlines around bone beside the plane, in `axes` (2, 3) from an origin."""
    found = section_outlines(mesh, plane.point_mm + shift_mm * plane.normal, plane.normal)
    flat = [(outline - origin) @ axes.T for outline in found]
    return [outline for outline in flat if area_mm2(outline) > LEAST_OUTLINE_MM2]


def _cut(outlines: list[Polygon], centre: NDArray[np.float64]) -> tuple[Polygon, Polygon | None, bool] | None:
    """Body, arch and whether the body's outline goes on into the arch; the body lies about the origin.

    `centre` is that of the whole bone: the arch lies on its side of the body.
    """
    if not outlines:
        return None
    body = min(outlines, key=_off)
    away = _unit(centre - (np.zeros(2) if _off(body) == 0 else centroid_mm(body)))
    behind = [o for o in outlines if o is not body and (centroid_mm(o) - centroid_mm(body)) @ away > 0]
    back, front = float((body @ away).max()), float(-(body @ away).min())
    across = float(np.ptp(body @ [-away[1], away[0]]))
    return body, max(behind, key=area_mm2, default=None), back > TOO_DEEP * max(front, across)


def _forward(body: Polygon, arch: Polygon | None, centre: NDArray[np.float64], merged: bool) -> NDArray[np.float64]:
    """Unit vector (2,) from the arch to the body, along a side of the body's smallest rectangle.

    Without an arch the rest of the bone stands for it.
    """
    if merged:
        return -_unit(body[int(np.linalg.norm(body, axis=1).argmax())])
    back = _unit(centre - centroid_mm(body))
    if arch is not None:
        _, (front, behind) = nearest_pair(body, arch)
        back = _unit(_unit(behind - front) + _unit(centroid_mm(arch) - centroid_mm(body)))
    x, y = box_direction(body)
    sides = np.array([[x, y], [-y, x], [-x, -y], [y, -x]])
    return sides[int((sides @ back).argmin())]


def _pedicles(section: MidSection, points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The middle of the bone in the front half of the canal's depth, at its sides, in the section's axes."""
    if section.arch is None:
        return None
    flat = (points - section.origin_mm) @ np.stack([section.forward, section.up], axis=1)
    wall, lamina = section.body[:, 0].min(), section.arch[:, 0].max()
    near, far = (wall - share * (wall - lamina) for share in PEDICLES)
    between = (flat[:, 0] < near) & (flat[:, 0] > far)
    return flat[between].mean(axis=0) if between.any() else None


def _off(outline: Polygon) -> float:
    return 0.0 if contains(outline, np.zeros(2)) else float(np.linalg.norm(outline, axis=1).min())


def _from_the_front(polygon: Polygon) -> Polygon:
    """The outline counter-clockwise from its foremost corner, so that steps along it are those of the bone."""
    ordered = polygon if area_mm2(polygon) > 0 else polygon[::-1]
    return np.roll(ordered, -int(ordered[:, 0].argmax()), axis=0)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
