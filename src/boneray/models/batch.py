"""What goes into a model and what comes out of it, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.models.network_input import NetworkInput
from boneray.models.network_input import camera_matrices as camera_matrices
from boneray.models.network_input import standardised as standardised

Kind = Literal["labels", "intensities", "depth_maps"]


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
        intensities: (B, I, J, K) z-scores of the HU of the bone alone in air; None unless learnt.
        depth_maps: (B, M, H, W) mm, one map per surface; None unless learnt.
    """

    images: Tensor
    projections: Tensor
    depths: Tensor
    classes: Tensor | None = None
    intensities: Tensor | None = None
    depth_maps: Tensor | None = None

    @classmethod
    def of(cls, given: NetworkInput) -> Batch:
        """One patient without reference."""
        return cls(*(torch.from_numpy(values) for values in (given.images, given.projections, given.depths)))

    def reference(self, kind: Kind) -> Tensor:
        """What a network of this kind learns.

        Raises:
            ConfigError: the batch was made without it.
        """
        found: Tensor | None = getattr(self, "classes" if kind == "labels" else kind)
        if found is None:
            raise ConfigError(f"the batch holds no {kind}; make its samples with learns='{kind}'")
        return found

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        moved = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class Prediction(Protocol):
    """What every model returns: something that can be turned into labels on the working grid.

    `output` is the tensor itself; `penalty` a term of the training loss that only the network
    knows, or None.
    """

    @property
    def output(self) -> Tensor: ...

    @property
    def penalty(self) -> Tensor | None: ...

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

    @property
    def output(self) -> Tensor:
        """The scores."""
        return self.logits

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


@dataclass(frozen=True)
class SurfaceLogits(LabelLogits):
    """Scores of a network that may tell the edge of a bone from its inside; `logits` counts both as the bone.

    Attributes:
        parts: (B, 1 + C or 1 + 2 C, I, J, K): background, inside of each bone, edge of each bone.
        bone_count: C.
    """

    parts: Tensor = field(default_factory=lambda: torch.empty(0))
    bone_count: int = 1

    @property
    def has_edges(self) -> bool:
        """Whether there are scores of edges."""
        return self.parts.shape[1] > 1 + self.bone_count

    @classmethod
    def of(cls, parts: Tensor, bone_count: int) -> SurfaceLogits:
        """From the scores of all parts; those of inside and edge are joined as probabilities are."""
        whole = parts[:, 1:].unflatten(1, (-1, bone_count)).logsumexp(dim=1)
        logits = whole - parts[:, :1] if bone_count == 1 else torch.cat([parts[:, :1], whole], dim=1)
        return cls(logits, parts=parts, bone_count=bone_count)


@dataclass(frozen=True)
class Intensities:
    """A volume of z-scores per case: (HU - mean) / SD of the bone alone in air.

    Attributes:
        values: (B, 1, I, J, K) z-scores.
        mean_hu, sd_hu: what undoes the z-scores; a case's own are not known at inference, so those
            are means over the training cases.
        threshold_hu: what is above it counts as bone.
        edges: (B, 1, I, J, K) logits of a voxel being at the surface, of a network that says so.
        penalty: a term of the training loss that only the network knows, or None.
    """

    values: Tensor
    mean_hu: float
    sd_hu: float
    threshold_hu: float
    edges: Tensor | None = None
    penalty: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """The z-scores."""
        return self.values

    def scale(self) -> dict[str, float]:
        """What undoes the z-scores, and the threshold, HU."""
        return {"mean_hu": self.mean_hu, "sd_hu": self.sd_hu, "threshold_hu": self.threshold_hu}

    def hounsfield(self) -> Tensor:
        """(B, I, J, K) HU."""
        return self.values[:, 0] * self.sd_hu + self.mean_hu

    def to_volumes(self, grid: Grid) -> list[Volume]:
        """One volume in HU per case."""
        return [Volume(case, grid) for case in self.hounsfield().float().cpu().numpy()]

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]:
        """One label map per case; voxels above the threshold become the one bone."""
        bone = self.hounsfield() > self.threshold_hu
        return [LabelMap(np.uint8(bone_ids[0]) * case, grid) for case in bone.cpu().numpy().astype(np.uint8)]


def channels_for(class_count: int) -> int:
    """Logit channels for a number of classes (see LabelLogits)."""
    return 1 if class_count == 1 else class_count + 1
