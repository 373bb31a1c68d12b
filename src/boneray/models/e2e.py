"""E2E: a 3D auto-encoder on replicated views, as EAR compares itself with it.

Kasten, Doktofsky, Kovler, "End-to-end convolutional neural network for 3D reconstruction of knee
bones from bi-planar X-ray images", 2020; EAR (arXiv 2407.20937, section 4.3) "reproduces the E2E as a
3-D auto-encoder with a dimensionality enhancement" and trains it on intensities. For the network of
the XrayTo3D benchmark, which answers in labels, see `unet`.

Neither paper gives widths. As decided here, all settings: the backbone of EAR without its modules (five
levels of 16-32-64-128-256, the first of which halves the grid too), with ReLU, and with the shortcuts
that Kasten's network has (`shortcuts`). Every voxel above `threshold_hu` becomes bone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities
from boneray.models.ear_recipes import EAR_TRAINING, as_in_ear
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple
from boneray.models.volume_blocks import convolved, doubled, halved, spread_views


class E2ESettings(Settings):
    """See the top of the file."""

    channels: tuple[int, ...] = Field((16, 32, 64, 128, 256), min_length=2)
    shortcuts: bool = True
    threshold_hu: float = SURFACE_HU


class E2E(IntensityNetwork):
    """(B, 2, 1, H, W) pictures of one frontal and one lateral view -> z-scores on the working grid."""

    def __init__(self, settings: E2ESettings, task: Task) -> None:
        super().__init__("e2e", task, settings.threshold_hu)
        channels, act = settings.channels, nn.ReLU()
        require_multiple("e2e", task.grid_shape, 2 ** len(channels))
        self.encoder = nn.ModuleList(halved(a, b, act) for a, b in pairwise((2, *channels)))
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, 2) for a, b in pairwise(channels))
        self.shortcuts = settings.shortcuts
        self.decoder = nn.ModuleList(convolved(c * (1 + settings.shortcuts), c, act) for c in channels[:-1])
        self.last = doubled(channels[0], channels[0], act)
        self.head = nn.Conv3d(channels[0], 1, 1)

    def forward(self, batch: Batch) -> Intensities:
        levels = [spread_views(batch, self.task, "e2e")]
        for block in self.encoder:
            levels.append(block(levels[-1]))
        features = levels.pop()
        for level in reversed(range(len(self.decoder))):
            features = self.up[level](features)
            shortcut = levels.pop()
            features = self.decoder[level](torch.cat([features, shortcut], dim=1) if self.shortcuts else features)
        return self.answer(self.head(self.last(features)))


MODELS.register(
    "e2e",
    "CT intensities of one vertebra by a plain 3D auto-encoder",
    source="Kasten et al. 2020, as in Tan et al. 2024",
    views="one frontal, one lateral",
    aliases=("E2E",),
)(
    ModelSpec(
        E2ESettings(),
        E2E,
        Recipe(**EAR_TRAINING, loss="intensity_l1"),
        learns="intensities",
        recipes={"ear_paper": as_in_ear("intensity_l1")},
    )
)
