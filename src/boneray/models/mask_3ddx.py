"""The segmenter of 3DDX: where each bone lies in a radiograph; bones may overlap.

Gu et al., 3DDX, MICCAI 2024: "a 2D nnU-Net" at 512 pixels with Dice semimetric loss and cross-entropy with
label smoothing, "multi-class, allowing label overlay". nnU-Net: Isensee et al. 2021, Nature Methods.

    per level two 3x3 convolutions with instance norm and leaky ReLU (0.01); strides halve the picture
    32-64-128-256-512-512 channels, 2x2 transposed convolutions back, 1x1 to one score per bone (sigmoid)

nnU-Net plans its levels from the data; here they are a setting, six of them, and there is no deep
supervision and no ensemble. With several views the masks are those of the first one.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from boneray.core.config import Settings
from boneray.models.batch import Batch
from boneray.models.depth_3ddx import TRAINING
from boneray.models.depth_prediction import MaskPrediction, first_view
from boneray.models.registry import MODELS, CameraMixture, ModelSpec, NamedRecipe, Recipe, Task
from boneray.models.sizes import require_multiple


class Mask3DDXSettings(Settings):
    """`channels` per level; `start_bias`: score of bone before training."""

    channels: tuple[int, ...] = Field((32, 64, 128, 256, 512, 512), min_length=2)
    start_bias: float = -2.0


class Mask3DDX(nn.Module):
    """(B, V, 1, H, W) -> (B, bones, H, W) scores in the picture of the first view."""

    def __init__(self, settings: Mask3DDXSettings, task: Task) -> None:
        super().__init__()
        widths = settings.channels
        self.shrink = 2 ** (len(widths) - 1)
        require_multiple("mask_3ddx", task.image_shape, self.shrink, what="picture", least=2 * self.shrink)
        self.task = task
        befores = (task.view_count, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(*convolved(before, after, 2 if n else 1), *convolved(after, after, 1))
            for n, (before, after) in enumerate(zip(befores, widths, strict=True))
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, here, 2, 2) for here, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.joined = nn.ModuleList(
            nn.Sequential(*convolved(2 * here, here, 1), *convolved(here, here, 1)) for here in widths[-2::-1]
        )
        self.head = nn.Conv2d(widths[0], task.class_count, 1)
        nn.init.constant_(self.head.bias, settings.start_bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> MaskPrediction:
        here = first_view(batch, self.task.view_count)
        require_multiple("mask_3ddx", here.shape[-2:], self.shrink, what="picture", least=2 * self.shrink)
        levels = []
        for block in self.down:
            here = block(here)
            levels.append(here)
        levels.pop()
        for up, block in zip(self.up, self.joined, strict=True):
            here = block(torch.cat([up(here), levels.pop()], dim=1))
        return MaskPrediction(self.head(here), batch.projections[:, 0])


def convolved(before: int, after: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """3x3, instance norm, leaky ReLU."""
    return (
        nn.Conv2d(before, after, 3, stride, 1),
        nn.InstanceNorm2d(after, affine=True),
        nn.LeakyReLU(0.01),
    )


MODELS.register(
    "mask_3ddx",
    "masks of overlapping bones in one radiograph",
    source="Gu et al. 2024, 3DDX; Isensee et al. 2021, nnU-Net",
    views="one",
)(
    ModelSpec(
        Mask3DDXSettings(),
        Mask3DDX,
        Recipe(
            steps=2000,
            learning_rate=1e-3,
            loss="masks_dice_ce",
            ema=0.0,
            cameras=CameraMixture(jittered=0.0, turned=0.0),
        ),
        learns="depth_maps",
        recipes={
            "paper": NamedRecipe(Recipe(**TRAINING, loss="masks_dice_ce"), "3DDX; the segmenter's own is not stated")
        },
        narrow=Mask3DDXSettings(channels=(8, 12, 16, 24)),
    )
)
