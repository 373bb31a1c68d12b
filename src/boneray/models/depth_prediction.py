"""What depth networks answer: front and back of each bone, and its mask, in the picture of the first view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.models.batch import Batch
from boneray.models.sizes import require_views
from boneray.projection.depth import DepthMaps


@dataclass(frozen=True)
class DepthPrediction:
    """Depth along the rays of the first view, mm from its source.

    Attributes:
        maps_mm: (B, M, H, W), positive: the fronts of all classes, then, of a dual-face network, their backs.
        projections: (B, 3, 4) of the first view, see `Batch`.
        masks: (B, C, H, W) where the bones are, or None: then every pixel counts as bone.
        penalty: a term of the training loss that only the network knows, or None.
    """

    maps_mm: Tensor
    class_count: int
    projections: Tensor
    masks: Tensor | None = None
    penalty: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """The depths."""
        return self.maps_mm

    def masked(self, masks: MaskPrediction) -> DepthPrediction:
        """The same depths where a mask network sees the bones."""
        return replace(self, masks=masks.masks())

    def score(self, reference: Tensor) -> Tensor:
        """Minus the RMSE in mm of each case against maps with NaN, both with the same mean depth; NaN without bone."""
        known = torch.isfinite(reference)
        count = known.sum((1, 2, 3))
        error = torch.where(known, self.maps_mm.detach() - torch.where(known, reference, 0.0), 0.0)
        mean = error.sum((1, 2, 3)) / count
        return -(error.square().sum((1, 2, 3)) / count - mean.square()).clamp_min(0).sqrt()

    def to_depth_maps(self, bone_ids: tuple[int, ...]) -> list[DepthMaps]:
        """Depth maps per case; of a front-only network the backs equal the fronts."""
        maps = self.maps_mm.detach().float().cpu().numpy()
        masks = None if self.masks is None else self.masks.cpu().numpy().astype(bool)
        out = []
        for number, case in enumerate(maps):
            front = case[: self.class_count].copy()
            back = case[self.class_count :].copy() if len(case) > self.class_count else front.copy()
            if masks is not None:
                front[~masks[number]] = back[~masks[number]] = np.nan
            out.append(DepthMaps(bone_ids, front, np.maximum(front, back)))
        return out

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]:
        """Voxels between front and back of a bone; where bones overlap the later one wins.

        Raises:
            ConfigError: a front-only network, which says nothing of what lies behind.
            GeometryError: a parallel beam.
        """
        if self.maps_mm.shape[1] < 2 * self.class_count:
            raise ConfigError("this network predicts the front face only; volumes need faces=both")
        out = []
        for projection, maps in zip(self.projections, self.to_depth_maps(bone_ids), strict=True):
            row, column, distance = _voxel_rays(projection, grid, maps.front_mm.shape[1:])
            seen = row >= 0
            labels = np.zeros(grid.shape, np.uint8)
            for bone_id, front, back in zip(bone_ids, maps.front_mm, maps.back_mm, strict=True):
                with np.errstate(invalid="ignore"):
                    inside = (front[row, column] <= distance) & (distance <= back[row, column])
                labels[(inside & seen).reshape(grid.shape)] = bone_id
            out.append(LabelMap(labels, grid))
        return out


@dataclass(frozen=True)
class MaskPrediction:
    """Scores of each bone being under a pixel of the first view; bones may overlap.

    Attributes:
        logits: (B, C, H, W).
        projections: (B, 3, 4) of the first view.
        penalty: a term of the training loss that only the network knows, or None.
    """

    logits: Tensor
    projections: Tensor
    penalty: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """The scores."""
        return self.logits

    def masks(self) -> Tensor:
        """(B, C, H, W) where a bone is more likely than not."""
        return self.logits > 0

    def score(self, reference: Tensor) -> Tensor:
        """Dice of each case and bone, from depth maps with NaN beside the bone; NaN where absent in both."""
        true, found = torch.isfinite(reference[:, : self.logits.shape[1]]), self.masks()
        both = (true & found).sum((2, 3)).float()
        return (2 * both / (true.sum((2, 3)) + found.sum((2, 3)))).flatten()

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]:
        """All voxels whose ray falls on the mask: an outline has no depth. Where bones overlap the later one wins."""
        out = []
        for projection, masks in zip(self.projections, self.masks().cpu().numpy(), strict=True):
            row, column, _ = _voxel_rays(projection, grid, masks.shape[1:])
            labels = np.zeros(grid.shape, np.uint8)
            for bone_id, mask in zip(bone_ids, masks, strict=True):
                labels[(mask[row, column] & (row >= 0)).reshape(grid.shape)] = bone_id
            out.append(LabelMap(labels, grid))
        return out


def first_view(batch: Batch, views: int) -> Tensor:
    """(B, V, H, W) pictures as channels, the first one the view whose rays count."""
    require_views(batch, views)
    return batch.images[:, :, 0]


def source_in_cube(projection: NDArray) -> NDArray[np.float64]:
    """The point (3,) in cube coordinates that all rays of a (3, 4) projection meet in.

    Raises:
        GeometryError: a parallel beam, whose rays meet nowhere.
    """
    matrix = np.asarray(projection, dtype=float)
    if np.linalg.norm(matrix[2, :3]) < 1e-6 * abs(matrix[2, 3]):
        raise GeometryError("depth from one radiograph is counted from its source; a parallel beam has none")
    return np.linalg.solve(matrix[:, :3], -matrix[:, 3])


def _voxel_rays(projection: Tensor, grid: Grid, shape: tuple[int, ...]) -> tuple[NDArray, NDArray, NDArray]:
    """Row and column (-1 beside the picture) and distance from the source in mm of every voxel, flat."""
    matrix = projection.detach().double().cpu().numpy()
    edges = [(2 * np.arange(n) + 1) / n - 1 for n in grid.shape]
    cube = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = cube @ matrix[:, :3].T + matrix[:, 3]
    u, v = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
    rows, columns = shape
    row = np.floor((v + 1) / 2 * rows).astype(int)
    column = np.floor((u + 1) / 2 * columns).astype(int)
    beside = (row < 0) | (row >= rows) | (column < 0) | (column >= columns) | (seen[:, 2] <= 0)
    row[beside] = column[beside] = -1
    half = np.array(grid.size_mm) / 2
    distance = np.linalg.norm((cube - source_in_cube(matrix)) * half, axis=1)
    return row, column, distance


def positive_depth(raw: Tensor, start_mm: float, sensitivity: float) -> Tensor:
    """Positive depths from numbers of any sign: `start_mm` at 0, growing like softplus."""
    return start_mm * functional.softplus(sensitivity * raw + float(np.log(np.e - 1.0)))
