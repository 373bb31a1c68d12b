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
from boneray.geometry.sections import Loop, plane_section
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
    """

    centre_mm: NDArray[np.float64]
    area_mm2: float
    perimeter_mm: float


def find_neck(mesh: Mesh, head: Head, shaft: Shaft) -> Neck | None:
    """The section of least perimeter over two tilts and the distance from the head, or None.

    The search starts in the coronal plane at 130 degrees to the shaft: a coarse grid, then
    Nelder-Mead from the three best of it.
    """
    bone = _upper_part(mesh, head, shaft)
    section = _section_finder(bone, head, shaft)

    def perimeter(setting: NDArray[np.float64]) -> float:
        loop = section(setting)
        return REJECTED_MM if loop is None else loop.perimeter_mm

    starts = [np.array(s) for s in product(TILTS_DEG, TILTS_DEG, DISTANCES_R)]
    values = np.array([perimeter(start) for start in starts])
    best = np.argsort(values, kind="stable")[:3]
    if values[best[0]] >= REJECTED_MM:
        return None
    found = [_descended(perimeter, starts[n]) for n in best if values[n] < REJECTED_MM]
    loop = section(min(found, key=perimeter))
    return None if loop is None else Neck(loop.centroid_mm, loop.area_mm2, loop.perimeter_mm)


def _descended(perimeter: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64]) -> NDArray[np.float64]:
    simplex = np.vstack([start, start + np.diag([6.0, 6.0, 0.08])])
    options = {"initial_simplex": simplex, "xatol": 0.02, "fatol": 0.005, "maxfev": 150}
    return minimize(perimeter, start, method="Nelder-Mead", options=options).x


def _section_finder(mesh: Mesh, head: Head, shaft: Shaft) -> Callable[[NDArray[np.float64]], Loop | None]:
    """A function from (coronal tilt, ventral tilt in degrees, distance in head radii) to the neck's outline."""
    axis = shaft.axis.direction
    medial = head.centre_mm - shaft.axis.at(float(shaft.axis.along_mm(head.centre_mm)))
    medial = unit(medial - axis * (medial @ axis))
    turn = np.deg2rad(180.0 - START_ANGLE_DEG)
    start = -np.cos(turn) * axis - np.sin(turn) * medial
    ventral = np.cross(axis, medial)
    in_plane = np.cross(start, ventral)
    radius = head.radius_mm

    def section(setting: NDArray[np.float64]) -> Loop | None:
        coronal, ventral_tilt, distance = setting
        if not 0.9 <= distance <= 2.0 or max(abs(coronal), abs(ventral_tilt)) > 50:
            return None
        direction = unit(start + np.tan(np.deg2rad(coronal)) * in_plane + np.tan(np.deg2rad(ventral_tilt)) * ventral)
        point = head.centre_mm + distance * radius * direction
        loops = [loop for loop in plane_section(mesh, point, direction) if loop.area_mm2 > 0]
        if not loops:
            return None
        offset = [float(np.linalg.norm(loop.centroid_mm - point)) for loop in loops]
        nearest = int(np.argmin(offset))
        too_far = offset[nearest] > 1.2 * radius
        return None if too_far or loops[nearest].area_mm2 < 0.15 * np.pi * radius**2 else loops[nearest]

    return section


def _upper_part(mesh: Mesh, head: Head, shaft: Shaft) -> Mesh:
    """The mesh without what lies more than four head radii below the head; open there."""
    level = shaft.axis.along_mm(mesh.face_centres_mm) - shaft.axis.along_mm(head.centre_mm)
    faces = mesh.faces[level > -4 * head.radius_mm]
    used, compact = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices_mm[used], compact.reshape(-1, 3))
