"""Adjusting the answer to the pictures: each bone is turned, shifted and scaled a little until its edges agree better.

The bone's voxels are taken as equally dense and projected differentiably (`boneray.projection.differentiable`); the
correlation of the pictures' gradients near the bone's shadow grows along its own gradient by the pose (L-BFGS), and the
size is then tried in steps of a hundredth. Edges of a bone that is rather round do not fix its turn, and neighbouring
bones have edges too; so every change costs something, as much agreement as AGREEMENT_COST for SHIFT_MM, TURN_DEG or
SIZE. A change is kept only if the agreement grows by MARGIN more than it costs; so a bone that fits already is left
alone. Cameras that lie are not repaired: two views tell little more of them than a difference in height, which the
checks report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from boneray.core.bones import bone_name
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.geometry.warp import Warp, warped_labels
from boneray.projection.joseph import line_integrals
from boneray.projection.resize import resized
from boneray.reconstruction.agreement import BLUR_PX, NEAR_MM, agreements
from boneray.reconstruction.film_values import cut_to_grid

BONE_PER_MM = 0.04
AGREEMENT_COST, SHIFT_MM, TURN_DEG, SIZE = 0.03, 5.0, 2.0, 0.02
MARGIN = 0.05
LEVER_MM = 60.0  # a turn by one unit moves the bone's ends by about one mm
STEPS = 30
SCALES = (0.98, 0.99, 1.01, 1.02)
COMPARED_PX = 128


@dataclass(frozen=True)
class Refinement:
    """What was done to one bone.

    Attributes:
        shift_mm, turn_deg, scale: of the bone about its middle.
        before, after: mean agreement of the views, -1 to 1.
        kept: False if the bone was left as it was.
    """

    shift_mm: float
    turn_deg: float
    scale: float
    before: float
    after: float
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: round(v, 4) if isinstance(v, float) else v for name, v in vars(self).items()}


def refined(labels: LabelMap, radiographs: Mapping[str, Radiograph]) -> tuple[LabelMap, dict[str, Refinement]]:
    """The label map with every bone that agrees better after a small change, and by bone what was done."""
    out = np.array(labels.data)
    done = {}
    small = {}
    for view, radiograph in radiographs.items():
        cut = cut_to_grid(radiograph, labels.grid)
        rows, columns = cut.line_integrals.shape
        small[view] = resized(cut, (min(rows, COMPARED_PX), min(columns, COMPARED_PX)))
    for bone_id in labels.ids:
        bone, change = _bone(LabelMap(np.uint8(bone_id) * (labels.data == bone_id), labels.grid), small)
        done[bone_name(bone_id)] = change
        if change.kept:
            out[out == bone_id] = 0
            out[(bone.data > 0) & (out == 0)] = bone_id
    return LabelMap(out, labels.grid), done


def _bone(labels: LabelMap, radiographs: Mapping[str, Radiograph]) -> tuple[LabelMap, Refinement]:
    before = _score(labels, radiographs)
    middle = labels.grid.to_world(np.argwhere(labels.data > 0).mean(axis=0))
    motion = _motion(labels, list(radiographs.values()), middle)
    scale, moved = 1.0, _moved(labels, motion, 1.0, middle)
    after = _score(moved, radiographs)
    for factor in SCALES:
        tried = _moved(labels, motion, factor, middle)
        score = _score(tried, radiographs)
        if score - _size_cost(factor) > after - _size_cost(scale):
            scale, moved, after = factor, tried, score
    shift = float(np.linalg.norm((motion @ np.append(middle, 1.0))[:3] - middle))
    turn = float(np.rad2deg(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1))))
    cost = AGREEMENT_COST * ((shift / SHIFT_MM) ** 2 + (turn / TURN_DEG) ** 2) + _size_cost(scale)
    kept = after > before + MARGIN + cost
    return (moved if kept else labels), Refinement(shift, turn, scale, before, after, kept)


def _size_cost(scale: float) -> float:
    return AGREEMENT_COST * ((scale - 1.0) / SIZE) ** 2


def _motion(labels: LabelMap, radiographs: Sequence[Radiograph], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """World motion of the bone, 4x4, about its middle, that makes the pictures agree best for its cost."""
    import torch  # the answer itself does without

    from boneray.projection.differentiable import moved_pose, project

    body = torch.from_numpy(BONE_PER_MM * (labels.data > 0).astype(np.float32))
    centre = torch.from_numpy(middle)
    views = []
    for radiograph in radiographs:
        seen = line_integrals(body.numpy(), labels.grid, radiograph.camera)
        if not seen.any():
            return np.eye(4)
        near = ndimage.distance_transform_edt(seen <= 0, radiograph.camera.pixel_mm) <= NEAR_MM
        inner = torch.from_numpy(near[1:-1, 1:-1])
        soft = ndimage.gaussian_filter(radiograph.line_integrals.astype(np.float64), BLUR_PX)
        views.append((radiograph.camera, inner, _edges(torch.from_numpy(soft), inner)))
    width = torch.tensor(np.exp(-0.5 * (np.arange(-3, 4) / BLUR_PX) ** 2))
    kernel = (width / width.sum())[None, None]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        step = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        twist = torch.cat([step[:3] / LEVER_MM, step[3:]])
        turn_mm = LEVER_MM * np.deg2rad(TURN_DEG)
        total = AGREEMENT_COST * ((step[:3] / turn_mm).square().sum() + (step[3:] / SHIFT_MM).square().sum())
        for camera, inner, wanted in views:
            pose = moved_pose(torch.from_numpy(camera.pose), twist, centre)
            picture = project(body, labels.grid, camera, pose).double()[None]
            for shape in ((1, 1, 1, 7), (1, 1, 7, 1)):
                picture = torch.nn.functional.conv2d(picture[None], kernel.reshape(shape), padding="same")[0]
            total = total - (_edges(picture[0], inner) * wanted).sum() / len(views)
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach()), np.asarray(step.grad)

    found = optimize.minimize(loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxfun": STEPS}).x
    twist = torch.from_numpy(np.concatenate([found[:3] / LEVER_MM, found[3:]]))
    step = moved_pose(torch.eye(4, dtype=torch.float64), twist, centre).numpy()
    return np.asarray(np.linalg.inv(step), dtype=np.float64)  # the cameras' step, undone, is the bone's


def _edges(picture: Any, inner: Any) -> Any:
    """(2, n) derivatives where `inner` is true, each centred, of unit length over the root of 2; tensors."""
    import torch

    across, down = picture[1:-1, 2:] - picture[1:-1, :-2], picture[2:, 1:-1] - picture[:-2, 1:-1]
    parts = torch.stack([across[inner], down[inner]])
    parts = parts - parts.mean(dim=1, keepdim=True)
    return parts / parts.norm(dim=1, keepdim=True).clamp(min=1e-12) / 2**0.5


def _moved(labels: LabelMap, motion: NDArray[np.float64], scale: float, middle: NDArray[np.float64]) -> LabelMap:
    """The bone after the motion and a scaling about its middle, on the same grid."""
    sized = np.eye(4)
    sized[:3, :3] *= scale
    sized[:3, 3] = (1.0 - scale) * middle
    old_from_new = np.asarray(np.linalg.inv(motion @ sized), dtype=np.float64)
    return warped_labels(labels, Warp(old_from_new[:3, :3], old_from_new[:3, 3]))


def _score(labels: LabelMap, radiographs: Mapping[str, Radiograph]) -> float:
    found = agreements(labels, radiographs)
    return float(np.mean([one.score for one in found.values()]))
