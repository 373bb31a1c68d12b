"""What goes into a model and what comes out of it, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap


@dataclass(frozen=True)
class Batch:
    """Radiographs with cameras, in the coordinates of the working grid.

    Cube coordinates X run from -1 to 1 between the outer faces of the grid along i, j, k. Image
    coordinates (u, v) run from -1 to 1 between the outer edges of the picture along columns, rows.

    Attributes:
        images: (B, V, 1, H, W) float32, standardised (mean 0, SD 1 per picture).
        projections: (B, V, 3, 4): homogeneous (u, v, 1) ~ P @ (X, 1); the true camera of each view.
        depths: (B, V, 4): depth along the central ray = D @ (X, 1), in half edges of the cube,
            0 at the grid centre; its first three numbers are the ray's direction.
        classes: (B, I, J, K) int64 class of each voxel, 0 is background; None at inference.
    """

    images: Tensor
    projections: Tensor
    depths: Tensor
    classes: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        moved = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class Prediction(Protocol):
    """What every model returns: something that can be turned into labels on the working grid."""

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]: ...


@dataclass(frozen=True)
class LabelLogits:
    """Scores per voxel.

    Attributes:
        logits: (B, 1, I, J, K) for one class (sigmoid) or (B, C + 1, I, J, K) with background
            first for C classes (softmax).
        penalty: a term of the training loss that only the network knows, or None.
    """

    logits: Tensor
    penalty: Tensor | None = None

    def class_map(self) -> Tensor:
        """(B, I, J, K) most likely class of each voxel, 0 is background."""
        if self.logits.shape[1] == 1:
            return (self.logits[:, 0] > 0).long()
        return self.logits.argmax(dim=1)

    def probabilities(self) -> Tensor:
        """(B, C, I, J, K) probability of each class but the background."""
        if self.logits.shape[1] == 1:
            return self.logits.sigmoid()
        return self.logits.softmax(dim=1)[:, 1:]

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]:
        """One label map per case; class c becomes `bone_ids[c - 1]`."""
        table = np.array((0, *bone_ids), dtype=np.uint8)
        return [LabelMap(table[case], grid) for case in self.class_map().cpu().numpy()]


@dataclass(frozen=True)
class ViewLogits(LabelLogits):
    """Scores of a network that answers once per view; `logits` is their mean.

    Attributes:
        views: (B, V, C, I, J, K) scores by view, channels as in LabelLogits.
    """

    views: Tensor | None = None

    @classmethod
    def of(cls, views: Tensor) -> ViewLogits:
        """From the scores by view."""
        return cls(views.mean(dim=1), views=views)


def channels_for(class_count: int) -> int:
    """Logit channels for a number of classes (see LabelLogits)."""
    return 1 if class_count == 1 else class_count + 1


def standardised(line_integrals: NDArray) -> NDArray[np.float32]:
    """A picture with mean 0 and SD 1, so that its unknown scale and offset do not matter."""
    values = np.asarray(line_integrals, dtype=np.float32)
    spread = float(values.std())
    if not np.isfinite(spread) or spread <= 0:
        raise DataError("radiograph is blank: every pixel has the same value; check the picture and its camera")
    return (values - values.mean()) / np.float32(spread)


def camera_matrices(camera: Camera, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The (3, 4) projection and the (4,) depth row of `Batch` for one camera and working grid."""
    half = np.array(grid.size_mm) / 2
    world_from_cube = np.eye(4)
    world_from_cube[:3, :3] = grid.direction_matrix * half
    world_from_cube[:3, 3] = grid.centre_mm
    rows, columns = camera.detector_shape
    unit_from_pixel = np.array([[2 / columns, 0, 1 / columns - 1], [0, 2 / rows, 1 / rows - 1], [0, 0, 1.0]])
    projection = unit_from_pixel @ camera.image_from_world @ world_from_cube
    projection /= projection[2, 3]  # the grid centre has weight 1: well scaled in float32
    direction = camera.central_ray @ world_from_cube[:3, :3] / half.mean()
    return projection.astype(np.float32), np.append(direction, 0.0).astype(np.float32)
