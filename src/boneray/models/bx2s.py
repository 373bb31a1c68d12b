"""BX2S-Net: a 3D encoder and decoder on replicated views, with attention over all scales and a class for the edge.

Chen, Guo, Zhang, Fang, He, Wang, "BX2S-Net: learning to reconstruct 3D spinal structures from bi-planar
X-ray images", Computers in Biology and Medicine 2023. Parameters, two views, one bone: 1,118,254 without
shortcuts (`bx2s_plain`), 1,814,934 with FFAG (`bx2s`), 1,815,153 with FFAG and a class for the edge
(`bx2s_edge`). `bx2s_intensity` answers in one channel of z-scores, as EAR compares itself with it.

    stem 3x3x3 to 8; four times 3x3x3 with stride 2 and 3x3x3: 16, 32, 64, 128
    four times 2x2x2 transposed and 3x3x3: 64, 32, 16, 8; 3x3x3 to the classes
    batch norm after every convolution, the last included; ReLU but after the last

    FFAG, on every level of the decoder: each scale of the encoder (8, 16, 32, 64) is brought to that level
    (max-pooled or repeated) and to a quarter of its channels; joined with the decoder's features, a 3x3x3
    and the mean over space, two layers without bias (ReLU, sigmoid) weigh the encoder's part; a 3x3x3
    joins it with the decoder's

What is left open, as decided here: the two layers of the guide keep the width (the published number of
parameters follows); the edge class are the voxels of the bone up to 1.8 voxels from the outside, and for
several bones there is one such class each; labels count edge and inside alike. Losses: `surface_ce`
(voxels near the surface weigh double) and `surface_ce_plain`.

Deliberate deviations: the grid itself is the output (the original pads 96x128x128 to a cube); views are
read on the middle plane facing each picture; scores start biased to background (`start_bias` 0 does not).
The paper's recipe: Adam, 0.01, divided by ten at epochs 10, 20, 30 and 40 of 50, batch 4; here the nearest
schedule, a cosine. EAR's own training is the recipe `ear_paper`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities, SurfaceLogits
from boneray.models.ear_recipes import EAR_TRAINING, as_in_ear
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.prior import START_BIAS
from boneray.models.published_recipes import AS_STORED
from boneray.models.registry import MODELS, ModelSpec, NamedRecipe, Recipe, Task
from boneray.models.sizes import require_multiple
from boneray.models.volume_blocks import convolved, doubled, halved, spread_views


class BX2SSettings(Settings):
    """`ffag`: attention over all scales; `edge_class`: a class for the edge of every bone."""

    channels: tuple[int, ...] = Field((8, 16, 32, 64, 128), min_length=2)
    ffag: bool = True
    edge_class: bool = False
    start_bias: float = START_BIAS


class BX2SIntensitySettings(Settings):
    """As BX2SSettings; `threshold_hu`: what is above becomes bone."""

    channels: tuple[int, ...] = Field((8, 16, 32, 64, 128), min_length=2)
    ffag: bool = True
    threshold_hu: float = SURFACE_HU


class ScaleGuidance(nn.Module):
    """FFAG on one level of the decoder."""

    def __init__(self, encoder: Sequence[int], channels: int) -> None:
        super().__init__()
        part = channels // 4
        joined = part * len(encoder)
        self.scales = nn.ModuleList(convolved(c, part, nn.ReLU()) for c in encoder)
        self.guide = convolved(joined + channels, channels, nn.ReLU())
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(),
            nn.Linear(channels, joined, bias=False),
            nn.Sigmoid(),
        )
        self.join = convolved(joined + channels, channels, nn.ReLU())

    def forward(self, features: Tensor, encoded: Sequence[Tensor]) -> Tensor:
        size = features.shape[2:]
        seen = torch.cat([block(_at(e, size)) for block, e in zip(self.scales, encoded, strict=True)], dim=1)
        guide = self.guide(torch.cat([seen, features], dim=1)).mean(dim=(2, 3, 4))
        weights = self.weigh(guide)[:, :, None, None, None]
        return self.join(torch.cat([seen * weights, features], dim=1))


class Backbone(nn.Module):
    """(B, 2, I, J, K) -> (B, out, I, J, K)."""

    def __init__(self, channels: tuple[int, ...], out: int, *, ffag: bool) -> None:
        super().__init__()
        act = nn.ReLU()
        self.stem = convolved(2, channels[0], act)
        self.encoder = nn.ModuleList(halved(a, b, act) for a, b in pairwise(channels))
        self.up = nn.ModuleList(doubled(b, a, act) for a, b in pairwise(channels))
        self.guidance = nn.ModuleList(ScaleGuidance(channels[:-1], c) for c in channels[:-1] if ffag)
        self.decoder = nn.ModuleList(convolved(c, c, act) for c in channels[:-1])
        self.head = nn.Sequential(nn.Conv3d(channels[0], out, 3, 1, 1), nn.BatchNorm3d(out))

    def forward(self, volume: Tensor) -> Tensor:
        encoded = [self.stem(volume)]
        for block in self.encoder:
            encoded.append(block(encoded[-1]))
        features = encoded.pop()
        for level in reversed(range(len(self.decoder))):
            features = self.up[level](features)
            if len(self.guidance):
                features = self.guidance[level](features, encoded)
            features = self.decoder[level](features)
        return self.head(features)


class BX2S(nn.Module):
    """(B, 2, 1, H, W) pictures of one frontal and one lateral view -> scores of inside and edge per bone."""

    def __init__(self, settings: BX2SSettings, task: Task) -> None:
        super().__init__()
        require_multiple("bx2s", task.grid_shape, 2 ** (len(settings.channels) - 1))
        self.task = task
        self.start_bias = settings.start_bias
        parts = 2 if settings.edge_class else 1
        self.network = Backbone(settings.channels, 1 + parts * task.class_count, ffag=settings.ffag)

    def forward(self, batch: Batch) -> SurfaceLogits:
        scores = self.network(spread_views(batch, self.task, "bx2s"))
        return SurfaceLogits.of(torch.cat([scores[:, :1], scores[:, 1:] + self.start_bias], 1), self.task.class_count)


class BX2SIntensity(IntensityNetwork):
    """The same network with one channel of z-scores."""

    def __init__(self, settings: BX2SIntensitySettings, task: Task) -> None:
        super().__init__("bx2s_intensity", task, settings.threshold_hu)
        require_multiple("bx2s_intensity", task.grid_shape, 2 ** (len(settings.channels) - 1))
        self.network = Backbone(settings.channels, 1, ffag=settings.ffag)

    def forward(self, batch: Batch) -> Intensities:
        return self.answer(self.network(spread_views(batch, self.task, self.name)))


def _at(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features on another level: the largest of those it covers, or repeated."""
    if features.shape[2] > size[0]:
        return functional.max_pool3d(features, features.shape[2] // size[0])
    return functional.interpolate(features, size=list(size), mode="nearest")


def _published(loss: str) -> NamedRecipe:
    recipe = Recipe(
        **AS_STORED, optimiser="adam", learning_rate=1e-2, weight_decay=0.0, batch_size=4, epochs=50,
        warmup_fraction=0.0, loss=loss,
    )  # fmt: skip
    return NamedRecipe(
        recipe, "BX2S-Net: Adam, 0.01, 50 epochs, batch 4; its steps of the rate as a cosine", {"start_bias": 0.0}
    )


for _name, _settings, _words, _count in (
    ("bx2s", BX2SSettings(), "3D encoder and decoder with attention over all scales", "1,814,934"),
    ("bx2s_plain", BX2SSettings(ffag=False), "3D encoder and decoder without shortcuts", "1,118,254"),
    ("bx2s_edge", BX2SSettings(edge_class=True), "as bx2s, with a class for the edge", "1,815,153"),
):
    MODELS.register(
        _name, _words, source="Chen et al. 2023, BX2S-Net", views="one frontal, one lateral",
        aliases=("BX2S-Net",) if _name == "bx2s" else (),
    )(
        ModelSpec(
            _settings,
            BX2S,
            Recipe(steps=4000, learning_rate=2e-3, loss="surface_ce"),
            recipes={"paper": _published("surface_ce"), "unweighted": _published("surface_ce_plain")},
            published=f"{_count} (public code)",
            smallest=16,
        )
    )  # fmt: skip

MODELS.register(
    "bx2s_intensity",
    "CT intensities of one vertebra by BX2S-Net",
    source="Chen et al. 2023, as in Tan et al. 2024",
    views="one frontal, one lateral",
)(
    ModelSpec(
        BX2SIntensitySettings(),
        BX2SIntensity,
        Recipe(**EAR_TRAINING, loss="intensity_l1"),
        learns="intensities",
        recipes={"ear_paper": as_in_ear("intensity_l1")},
    )
)
