"""From surfaces of many patients to the same vertices on all of them.

A template is laid onto each surface: rigidly, then by coherent point drift of about a thousand points
spread over both, and at last every vertex of the template goes to the nearest place of the surface.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from boneray.core.config import Settings
from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.geometry.triangle_tree import TriangleTree, require_closed
from boneray.shape.model import ShapeModel, shape_model
from boneray.shape.registration import coherent_point_drift, moved_by, rigid_fit, rigid_start


class CorrespondenceSettings(Settings):
    """`points` of each surface that drift; `width_mm`, `stiffness`: of the deformation; `passes` of drift.

    Later passes start from the deformed template with half the width.
    """

    points: int = 700
    width_mm: float = 25.0
    stiffness: float = 1.0
    passes: int = 2


PLAIN = CorrespondenceSettings()


def corresponded(
    template: Mesh, surface: Mesh, settings: CorrespondenceSettings = PLAIN, *, seed: int = 0
) -> NDArray[np.float64]:
    """Vertices (n, 3) on `surface`, in its own pose; vertex i is the place of the template's vertex i.

    Raises:
        DataError: the surface is not closed.
    """
    require_closed(surface, "the bone to be corresponded")
    rng = generator(seed, "correspondence")
    points = spread_points(surface, settings.points, rng)
    own = spread_points(template, settings.points, rng)
    motion = rigid_start(own, points)
    vertices, own = moved_by(motion, template.vertices_mm), moved_by(motion, own)
    for number in range(settings.passes):
        drift = coherent_point_drift(own, points, width_mm=settings.width_mm / 2**number, stiffness=settings.stiffness)
        vertices, own = drift(vertices), drift(own)
    return TriangleTree.of(surface).nearest(vertices).points_mm


def model_of_surfaces(
    surfaces: Sequence[Mesh],
    settings: CorrespondenceSettings = PLAIN,
    *,
    template: Mesh | None = None,
    name: str = "",
    seed: int = 0,
) -> tuple[ShapeModel, NDArray[np.float64]]:
    """A shape model of surfaces without correspondence, and its members (members, n, 3) in a common pose.

    Args:
        template: whose triangles the model has; by default the first surface.
    Raises:
        DataError: fewer than two surfaces, or one that is not closed.
    """
    if len(surfaces) < 2:
        raise DataError(f"{len(surfaces)} surface makes no model; at least two are needed")
    pattern = template or surfaces[0]
    found = [corresponded(pattern, surface, settings, seed=seed) for surface in surfaces]
    members = aligned(np.stack(found))
    return shape_model(members, pattern.faces, name=name), members


def aligned(members_mm: NDArray, *, rounds: int = 5) -> NDArray[np.float64]:
    """Shapes in correspondence (members, n, 3) turned and shifted onto their mean; sizes stay (generalised Procrustes).

    The first shape keeps its pose, so that the frame stays that of a patient.
    """
    members = np.asarray(members_mm, dtype=float)
    mean = members[0]
    for _ in range(rounds):
        members = np.stack([moved_by(rigid_fit(member, mean), member) for member in members])
        mean = members.mean(axis=0)
    back = rigid_fit(members[0], np.asarray(members_mm[0], dtype=float))
    return np.stack([moved_by(back, member) for member in members])


def spread_points(mesh: Mesh, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` points spread evenly over a surface, (count, 3).

    Many are drawn by area and those that crowd are thinned out: each is the one farthest from those
    already taken.
    """
    areas = mesh.face_areas_mm2
    faces = mesh.faces[rng.choice(len(areas), size=8 * count, p=areas / areas.sum())]
    a, b, c = (mesh.vertices_mm[faces[:, corner]] for corner in range(3))
    u, v = rng.random((2, 8 * count, 1))
    root = np.sqrt(u)
    drawn = (1 - root) * a + root * (1 - v) * b + root * v * c
    chosen = np.empty(count, np.int64)
    chosen[0] = 0
    distance = ((drawn - drawn[0]) ** 2).sum(axis=1)
    for n in range(1, count):
        chosen[n] = int(distance.argmax())
        distance = np.minimum(distance, ((drawn - drawn[chosen[n]]) ** 2).sum(axis=1))
    return np.asarray(drawn[chosen])


def correspondence_error_mm(reference_mm: NDArray, found_mm: NDArray) -> NDArray[np.float64]:
    """Distance of each vertex to where it belongs, (n,) mm; it counts sliding along the surface too."""
    return np.asarray(np.linalg.norm(np.asarray(reference_mm) - found_mm, axis=1))
