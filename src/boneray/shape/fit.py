"""A shape model fitted to part of a surface: what was not seen is completed by what the population does.

The cost is that of 3DDX (Gu et al. 2024, eq. 5): distance between the target and the part of the
shape that lies in the target's field of view, plus 0.01 times the mean square of the weights. A
target with both faces of the bone (dual-face) is compared in both directions; of a target with one
face (single-face) only the distance from target to shape counts, because the other side of the
bone would be drawn towards it. L-BFGS finds pose and weights.

Where the paper is silent: distances are squared (mm^2); from the target to the triangles of the shape,
from the shape's vertices to the plane through the nearest points of the target, so that how densely
the target was sampled does not matter. The field of view is the box around the target, a little
widened; it is fixed for a round of L-BFGS and there are a few rounds. The pose (a turn and a shift)
is fitted along, starting from the given one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from boneray.core.config import Settings
from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.geometry.triangle_tree import TriangleTree
from boneray.shape.model import ShapeModel
from boneray.shape.registration import rotation_of

TURN_SCALE_MM = 100.0  # a turn by 1 / 100 radian moves a bone's end by about a millimetre


class FitSettings(Settings):
    """How a fit is made.

    `faces`: both (dual-face) or front (single-face); `prior`: weight of the mean squared weights,
    mm^2; `modes`: how many, 0 for all; `rounds` of L-BFGS with `steps` each at most; `margin_mm`: how
    far the field of view reaches beyond the target; `pose`: whether turn and shift are fitted.
    """

    faces: Literal["both", "front"] = "both"
    prior: float = 0.01
    modes: int = 0
    rounds: int = 4
    steps: int = 60
    margin_mm: float = 5.0
    pose: bool = True


PLAIN = FitSettings()


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted shape.

    Attributes:
        mesh: the complete surface, where the target lies.
        weights: (k,) in standard deviations.
        world_from_model: rigid 4x4.
        target_to_shape_mm: mean distance of the target to the surface.
        cost: of the last round.
    """

    mesh: Mesh
    weights: NDArray[np.float64]
    world_from_model: NDArray[np.float64]
    target_to_shape_mm: float
    cost: float


def fit_shape(
    model: ShapeModel,
    target_mm: NDArray,
    settings: FitSettings = PLAIN,
    *,
    world_from_model: NDArray | None = None,
) -> Fit:
    """The member of the model, in its pose, that lies best on a point cloud.

    Args:
        target_mm: (n, 3) points of a surface or of a part of it.
        world_from_model: rigid 4x4 to start from; by default the model's own frame. `rigid_start`
            finds one where nothing is known.
    Raises:
        DataError: fewer points than modes, points that are not numbers, or a model without faces.
    """
    count = model.mode_count if settings.modes == 0 else settings.modes
    small = model.truncated(count)
    target = np.ascontiguousarray(target_mm, dtype=float)
    require_cloud(target, count)
    if not len(model.faces):
        raise DataError(f"shape model {model.name} has no faces; read it together with a mesh of the same vertices")
    cost = _Cost(
        small, target, settings, np.eye(4) if world_from_model is None else np.asarray(world_from_model, float)
    )
    x, value = np.zeros(6 + count), np.inf
    for _ in range(settings.rounds):
        cost.freeze(x)
        found = minimize(cost, x, jac=True, method="L-BFGS-B", options={"maxiter": settings.steps, "maxcor": 20})
        x, gain, value = found.x, value - float(found.fun), float(found.fun)
        if gain < 1e-6 * max(value, 1e-9):
            break
    vertices = cost.vertices(x)[0]
    tree = cost.tree.moved(vertices)
    return Fit(
        Mesh(vertices, model.faces),
        x[6:].copy(),
        cost.pose(x),
        float(tree.nearest(target).distance_mm.mean()),
        value,
    )


def require_cloud(target_mm: NDArray, modes: int) -> None:
    """Refuse a target that cannot determine the weights.

    Raises:
        DataError: not (n, 3), not finite, or fewer points than modes.
    """
    if target_mm.ndim != 2 or target_mm.shape[1] != 3:
        raise DataError(f"target points have shape {target_mm.shape}; (n, 3) is needed")
    if not np.isfinite(target_mm).all():
        raise DataError("target points hold values that are not numbers; drop them first")
    if len(target_mm) < modes:
        raise DataError(f"{len(target_mm)} target points cannot determine {modes} modes; give more, or fit fewer modes")


class _Cost:
    """The cost and its gradient over 3 turns, 3 shifts and the weights."""

    def __init__(self, model: ShapeModel, target: NDArray, settings: FitSettings, start: NDArray) -> None:
        self.model, self.target, self.settings, self.start = model, target, settings, start
        self.centre = model.mean_mm.mean(axis=0)
        self.scaled = model.modes * model.deviations_mm[:, None, None]
        self.flat = self.scaled.reshape(len(self.scaled), -1)
        self.tree = TriangleTree.of(Mesh(model.mean_mm, model.faces))
        self.cloud = cKDTree(target)
        self.normals = cloud_normals(target, self.cloud)
        margin = settings.margin_mm
        self.low, self.high = target.min(axis=0) - margin, target.max(axis=0) + margin
        self.seen = np.empty(0, np.int64)

    def vertices(self, x: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """World vertices (n, 3), those before the pose about the centre, and the rotation."""
        local = self.model.mean_mm - self.centre + np.tensordot(x[6:], self.scaled, axes=1)
        rotation = self.start[:3, :3] @ rotation_of(x[:3] / TURN_SCALE_MM)
        shift = self.start[:3, :3] @ (self.centre + x[3:6]) + self.start[:3, 3]
        return local @ rotation.T + shift, local, rotation

    def pose(self, x: NDArray) -> NDArray[np.float64]:
        """World from model, 4x4."""
        out = np.eye(4)
        out[:3, :3] = self.start[:3, :3] @ rotation_of(x[:3] / TURN_SCALE_MM)
        out[:3, 3] = self.start[:3, :3] @ (self.centre + x[3:6]) + self.start[:3, 3] - out[:3, :3] @ self.centre
        return out

    def freeze(self, x: NDArray) -> None:
        """Which vertices lie in the field of view, for one round."""
        world = self.vertices(x)[0]
        inside = ((world >= self.low) & (world <= self.high)).all(axis=1)
        self.seen = np.flatnonzero(inside) if self.settings.faces == "both" else np.empty(0, np.int64)

    def __call__(self, x: NDArray) -> tuple[float, NDArray]:
        world, local, rotation = self.vertices(x)
        near = self.tree.moved(world).nearest(self.target)
        gap = near.points_mm - self.target
        pull = np.zeros_like(world)  # derivative of the distance by each vertex
        corners = self.model.faces[near.faces]
        share = (2.0 / len(gap)) * near.weights[:, :, None] * gap[:, None]
        for axis in range(3):
            pull[:, axis] = np.bincount(corners.ravel(), weights=share[:, :, axis].ravel(), minlength=len(world))
        total = float((gap**2).sum() / len(gap))
        if len(self.seen):
            seen = world[self.seen]
            _, index = self.cloud.query(seen)
            normal = self.normals[index]
            back = ((seen - self.target[index]) * normal).sum(axis=1, keepdims=True) * normal
            total += float((back**2).sum() / len(seen))
            pull[self.seen] += (2.0 / len(seen)) * back
        weights = x[6:]
        total += self.settings.prior * float(weights @ weights) / len(weights)
        out = np.empty_like(x)
        out[6:] = self.flat @ (pull @ rotation).ravel() + 2 * self.settings.prior * weights / len(weights)
        out[3:6] = self.start[:3, :3].T @ pull.sum(axis=0)
        out[:3] = _turn_gradient(x[:3] / TURN_SCALE_MM, local, pull @ self.start[:3, :3]) / TURN_SCALE_MM
        if not self.settings.pose:
            out[:6] = 0.0
        return total, out


def cloud_normals(points_mm: NDArray, tree: cKDTree, *, neighbours: int = 8) -> NDArray[np.float64]:
    """Unit normal of the plane through each point's nearest neighbours, (n, 3); its sign is arbitrary."""
    count = min(neighbours + 1, len(points_mm))
    _, index = tree.query(points_mm, k=[*range(1, count + 1)])
    near = points_mm[index] - points_mm[index].mean(axis=1, keepdims=True)
    return np.linalg.eigh(np.einsum("nki,nkj->nij", near, near))[1][:, :, 0]


def _turn_gradient(vector: NDArray, local: NDArray, pull: NDArray) -> NDArray[np.float64]:
    """Derivative of sum(pull * (R(v) local)) by v.

    dR/dv_i = R [J e_i]x with the right Jacobian J, so it is J^T times sum(local x R^T pull).
    """
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]])
    if angle < 1e-6:
        jacobian = np.eye(3) - cross / 2
    else:
        jacobian = (
            np.eye(3) - (1 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * cross @ cross
        )
    torque = np.cross(local, pull @ rotation_of(vector)).sum(axis=0)
    return np.asarray(jacobian.T @ torque)
