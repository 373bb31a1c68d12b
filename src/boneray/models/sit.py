"""SIT: single-image tomography, a 2D residual network whose channels become the depth.

Henzler, Rasche, Ropinski, Ritschel, "Single-image tomography: 3D volumes from 2D cranial X-rays",
2018, arXiv 1710.04867; layers of its public re-implementation as a baseline: 9,068,480 parameters for
one view at 256^2 -> 128^3, 9,071,616 with the first layer for two views, as EAR changed it.

    picture at twice the edge of the grid -> 7x7 with stride 2, 64
    residual blocks 64-128-128-128-256 at the edge of the grid
    4 x (max-pool, 3 residual blocks of 256), 5 more at the bottom
    4 x (4x4 transposed convolution per channel with stride 2, plus what came before the pool)
    1x1 to 256, 1x1 to one channel per slice

A residual block is 1x1, 3x3, 3x3, each with batch norm, the first two with ReLU, without bias, half as
wide inside where it keeps its width. Two views are two channels of the first layer, so the grid must be
as wide from the front as from the side; slices run along the frontal rays. The original's second stage
(fusion with the picture at higher resolution) is not part of the re-implementation and not here.

Pictures are read on the middle plane of the grid and doubled bilinearly: "128^2 upsampled to 256^2".
`base`: channels of the stem, the others in proportion. The paper's loss is L2 with Adam.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities
from boneray.models.ear_recipes import EAR_TRAINING, as_in_ear
from boneray.models.flat_pictures import require_pictures, stacked_pictures
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple

LEVELS = 4
BOTTOM = 5


class SITSettings(Settings):
    """See the top of the file."""

    base: int = Field(64, ge=2, multiple_of=2)
    threshold_hu: float = SURFACE_HU


class Residual(nn.Module):
    """1x1, 3x3, 3x3 with batch norm, plus the input (through 1x1 and batch norm where the width changes)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        inside = before // 2 if before == after else before
        self.body = nn.Sequential(
            *_layer(before, inside, 1), nn.ReLU(), *_layer(inside, inside, 3), nn.ReLU(), *_layer(inside, after, 3)
        )
        self.shortcut = nn.Identity() if before == after else nn.Sequential(*_layer(before, after, 1))

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + self.shortcut(features))


class SIT(IntensityNetwork):
    """(B, V, 1, H, W) pictures of one or two views -> z-scores on the working grid."""

    def __init__(self, settings: SITSettings, task: Task) -> None:
        super().__init__("sit", task, settings.threshold_hu)
        require_multiple("sit", task.grid_shape, 2**LEVELS, least=2 ** (LEVELS + 1))
        require_pictures("sit", task)
        stem, wide, full = settings.base, 2 * settings.base, 4 * settings.base
        self.stem = nn.Sequential(
            nn.Conv2d(task.view_count, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        self.first = nn.Sequential(
            Residual(stem, wide), Residual(wide, wide), Residual(wide, wide), Residual(wide, full)
        )
        self.down = nn.ModuleList(nn.Sequential(*(Residual(full, full) for _ in range(3))) for _ in range(LEVELS))
        self.bottom = nn.Sequential(*(Residual(full, full) for _ in range(BOTTOM)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(full, full, 4, 2, 1, groups=full, bias=False) for _ in range(LEVELS))
        self.head = nn.Sequential(
            nn.Conv2d(full, full, 1, bias=False),
            nn.BatchNorm2d(full),
            nn.ReLU(),
            nn.Conv2d(full, task.grid_shape[1], 1, bias=False),
        )

    def forward(self, batch: Batch) -> Intensities:
        pictures = stacked_pictures(batch, self.task, "sit")
        doubled = functional.interpolate(pictures, scale_factor=2, mode="bilinear", align_corners=False)
        levels = [self.first(self.stem(doubled))]
        for block in self.down:
            levels.append(block(functional.max_pool2d(levels[-1], 2)))
        features = self.bottom(levels.pop())
        for up in self.up:
            features = up(features) + levels.pop()
        slices = self.head(features)  # (B, J, I, K)
        return self.answer(torch.movedim(slices, 1, 2)[:, None])


def _layer(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after)


MODELS.register(
    "sit",
    "CT intensities slice by slice from a 2D network",
    source="Henzler et al. 2018, as in Tan et al. 2024",
    views="one frontal, or one frontal and one lateral",
    aliases=("SIT",),
)(
    ModelSpec(
        SITSettings(),
        SIT,
        Recipe(**EAR_TRAINING, loss="intensity_l1"),
        learns="intensities",
        recipes={"ear_paper": as_in_ear("intensity_l1"), "paper": as_in_ear("intensity_mse")},
        narrow=SITSettings(base=8),
        published="9,068,480 (one view, re-implementation at 256^2 -> 128^3)",
    )
)
