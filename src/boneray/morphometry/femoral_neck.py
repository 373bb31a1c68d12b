"""The femoral neck: the section with the shortest outline between head and trochanters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from boneray.core.mesh import Mesh
from boneray.geometry.lines import unit
from boneray.geometry.sections import Loop, plane_section, section_outlines
from boneray.morphometry.femoral_head import Head
from boneray.morphometry.femoral_shaft import Shaft

START_ANGLE_DEG = 130.0
TILTS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
DISTANCES_R = tuple(np.arange(1.0, 1.76, 0.15))
REJECTED_MM = 1e3


@dataclass(frozen=True)
class Neck:
    """The narrowest section of the neck.

    Attributes:
        centre_mm: centroid of the section, (3,) RAS mm; with the head centre it is the neck axis.
        area_mm2, perimeter_mm: of the section.
        superior_mm, inferior_mm: ends of its width, seen across the plane of neck and shaft, (3,) RAS mm.
    """

    centre_mm: NDArray[np.float64]
    area_mm2: float
    perimeter_mm: float
    superior_mm: NDArray[np.float64]
    inferior_mm: NDArray[np.float64]

    @property
    def width_mm(self) -> float:
        """Extent of the section in the plane of neck and shaft: the neck width of a picture from the front."""
        return float(np.linalg.norm(self.superior_mm - self.inferior_mm))


def find_neck(mesh: Mesh, head: Head, shaft: Shaft) -> Neck | None:
    """The section of least perimeter over two tilts and the distance from the head, or None.

    The search starts in the coronal plane at 130 degrees to the shaft: a coarse grid, then
    Nelder-Mead from the three best of it.
    """
    bone = _upper_part(mesh, head, shaft)
    direction_of = _direction_finder(head, shaft)
    section = _section_finder(bone, head, direction_of)

    def perimeter(setting: NDArray[np.float64]) -> float:
        loop = section(setting)
        return REJECTED_MM if loop is None else loop.perimeter_mm

    starts = [np.array(s) for s in product(TILTS_DEG, TILTS_DEG, DISTANCES_R)]
    values = np.array([perimeter(start) for start in starts])
    best = np.argsort(values, kind="stable")[:3]
    if values[best[0]] >= REJECTED_MM:
        return None
    found = [_descended(perimeter, starts[n]) for n in best if values[n] < REJECTED_MM]
    best_setting = min(found, key=perimeter)
    loop = section(best_setting)
    if loop is None:
        return None
    ends = _width_ends(bone, loop.centroid_mm, direction_of(best_setting), head, shaft)
    return None if ends is None else Neck(loop.centroid_mm, loop.area_mm2, loop.perimeter_mm, *ends)


def _descended(perimeter: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64]) -> NDArray[np.float64]:
    simplex = np.vstack([start, start + np.diag([6.0, 6.0, 0.08])])
    options = {"initial_simplex": simplex, "xatol": 0.02, "fatol": 0.005, "maxfev": 150}
    return minimize(perimeter, start, method="Nelder-Mead", options=options).x


def _direction_finder(head: Head, shaft: Shaft) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A function from (coronal tilt, ventral tilt in degrees, anything) to the direction from head to neck."""
    axis = shaft.axis.direction
    medial = head.centre_mm - shaft.axis.at(float(shaft.axis.along_mm(head.centre_mm)))
    medial = unit(medial - axis * (medial @ axis))
    turn = np.deg2rad(180.0 - START_ANGLE_DEG)
    start = -np.cos(turn) * axis - np.sin(turn) * medial
    ventral = np.cross(axis, medial)
    in_plane = np.cross(start, ventral)

    def direction(setting: NDArray[np.float64]) -> NDArray[np.float64]:
        coronal, ventral_tilt = np.tan(np.deg2rad(setting[:2]))
        return unit(start + coronal * in_plane + ventral_tilt * ventral)

    return direction


def _section_finder(
    mesh: Mesh, head: Head, direction_of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Callable[[NDArray[np.float64]], Loop | None]:
    """A function from (coronal tilt, ventral tilt in degrees, distance in head radii) to the neck's outline."""
    radius = head.radius_mm

    def section(setting: NDArray[np.float64]) -> Loop | None:
        coronal, ventral_tilt, distance = setting
        if not 0.9 <= distance <= 2.0 or max(abs(coronal), abs(ventral_tilt)) > 50:
            return None
        direction = direction_of(setting)
        point = head.centre_mm + distance * radius * direction
        loops = [loop for loop in plane_section(mesh, point, direction) if loop.area_mm2 > 0]
        if not loops:
            return None
        offset = [float(np.linalg.norm(loop.centroid_mm - point)) for loop in loops]
        nearest = int(np.argmin(offset))
        too_far = offset[nearest] > 1.2 * radius
        return None if too_far or loops[nearest].area_mm2 < 0.15 * np.pi * radius**2 else loops[nearest]

    return section


def _width_ends(
    mesh: Mesh, centre: NDArray[np.float64], normal: NDArray[np.float64], head: Head, shaft: Shaft
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The upper and lower end of the neck's outline across the plane of neck and shaft."""
    outlines = section_outlines(mesh, centre, normal)
    if not outlines:
        return None
    outline = min(outlines, key=lambda points: float(np.linalg.norm(points.mean(axis=0) - centre)))
    neck = unit(centre - head.centre_mm)
    across = np.cross(normal, np.cross(shaft.axis.direction, neck))
    across = unit(across) * np.sign(across @ shaft.axis.direction or 1.0)
    level = (outline - centre) @ across
    return centre + level.max() * across, centre + level.min() * across


def _upper_part(mesh: Mesh, head: Head, shaft: Shaft) -> Mesh:
    """The mesh without what lies more than four head radii below the head; open there."""
    level = shaft.axis.along_mm(mesh.face_centres_mm) - shaft.axis.along_mm(head.centre_mm)
    faces = mesh.faces[level > -4 * head.radius_mm]
    used, compact = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices_mm[used], compact.reshape(-1, 3))
