"""PSR: a volume from one picture, or several as channels, through a 2D encoder and a 3D decoder.

Shen, Zhao, Xing, "Patient-specific reconstruction of volumetric computed tomography images from a single
projection view via deep learning", Nature Biomedical Engineering 2019; layers of its public code:
588,586,176 parameters with one view and 46 slices, 588,595,520 with two views and 128.

    encoder     4x4 with stride 2 to 256; 3x3 of 256 plus its input; then four times 4x4 with stride 2 to
                512, 1024, 2048, 4096 and 3x3 plus its input; batch norm and ReLU but for the first
    transform   1x1 of 4096, ReLU; 4096 channels become 2048 of depth 2; 1x1x1 of 2048, ReLU
    decoder     4x4x4 transposed with stride 2: 1024, 512, 256, 128, 64, from 512 on each with a 3x3x3
    output      1x1x1 to one channel, ReLU: 64 slices; 1x1 to the slices of the grid

Nothing has a bias. Weights start as N(0, sqrt(2 / (kernel volume x channels out))). Slices run along the
frontal rays; two views are two channels, so the grid must be as wide from the front as from the side.
Published training: squared error, Adam, for one patient from deformed copies of its CT; rate, epochs and
batch are not stated. EAR trains it like every other method. `base`: channels of the first layer.
"""

from __future__ import annotations

import math

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

HALVINGS = 5
DEPTH = 2
SLICES = DEPTH * 2**HALVINGS


class PSRSettings(Settings):
    """See the top of the file."""

    base: int = Field(256, ge=8, multiple_of=8)
    threshold_hu: float = SURFACE_HU


class Kept(nn.Module):
    """3x3 convolution and batch norm, plus the input, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + features)


class PSR(IntensityNetwork):
    """(B, V, 1, H, W) pictures of one or two views -> z-scores on the working grid."""

    def __init__(self, settings: PSRSettings, task: Task) -> None:
        super().__init__("psr", task, settings.threshold_hu)
        i, j, k = task.grid_shape
        require_multiple("psr", (i, k) if task.view_count == 1 else (i, j, k), 2**HALVINGS)
        require_pictures("psr", task)
        base = settings.base
        layers: list[nn.Module] = [
            nn.Conv2d(task.view_count, base, 4, 2, 1, bias=False),
            nn.ReLU(),
            Kept(base),
        ]
        for n in range(1, HALVINGS):
            before, after = base * 2 ** (n - 1), base * 2**n
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), Kept(after)]
        self.encoder = nn.Sequential(*layers)
        deep, wide = 16 * base, 8 * base
        self.transform = nn.Sequential(nn.Conv2d(deep, deep, 1, bias=False), nn.ReLU())
        self.unfolded = nn.Sequential(nn.ConvTranspose3d(wide, wide, 1, bias=False), nn.ReLU())
        blocks: list[nn.Module] = []
        for n in range(HALVINGS):
            before, after = wide // 2**n, wide // 2 ** (n + 1)
            blocks += [nn.ConvTranspose3d(before, after, 4, 2, 1, bias=False), nn.BatchNorm3d(after), nn.ReLU()]
            if n:
                blocks += [nn.ConvTranspose3d(after, after, 3, 1, 1, bias=False), nn.BatchNorm3d(after), nn.ReLU()]
        self.decoder = nn.Sequential(*blocks)
        self.slices = nn.Sequential(nn.Conv3d(wide // 2**HALVINGS, 1, 1, bias=False), nn.ReLU())
        self.head = nn.Conv2d(SLICES, j, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d):
                spread = math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels))
                nn.init.normal_(module.weight, 0.0, spread)

    def forward(self, batch: Batch) -> Intensities:
        flat = self.transform(self.encoder(stacked_pictures(batch, self.task, "psr")))
        volume = self.unfolded(flat.unflatten(1, (-1, DEPTH)))  # (B, C, 2, i, k)
        slices = self.head(self.slices(self.decoder(volume)).squeeze(1))  # (B, J, I, K)
        return self.answer(torch.movedim(slices, 1, 2)[:, None])


MODELS.register(
    "psr",
    "CT intensities through 589 M parameters between a 2D encoder and a 3D decoder",
    source="Shen et al. 2019, as in Tan et al. 2024",
    views="one frontal, or one frontal and one lateral",
    aliases=("PSR", "PatRecon"),
)(
    ModelSpec(
        PSRSettings(),
        PSR,
        Recipe(**EAR_TRAINING, loss="intensity_l1"),
        learns="intensities",
        recipes={"ear_paper": as_in_ear("intensity_l1"), "paper": as_in_ear("intensity_mse")},
        narrow=PSRSettings(base=16),
        published="588,586,176 (public code, one view, 46 slices), 588,595,520 (two views, 128 slices)",
    )
)
