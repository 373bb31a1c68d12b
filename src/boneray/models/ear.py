"""EAR: edge-aware reconstruction of one vertebra from two radiographs.

Tan, Song, He, Zhou, Lu, Xiao, "EAR: Edge-Aware Reconstruction of 3-D vertebrae structures from
bi-planar X-ray images", 2024, arXiv 2407.20937. No code was published.

    two pictures, each repeated along its rays' axis -> (2, I, J, K)
    encoder     five levels: 3x3x3 with stride 2, 3x3x3; batch norm, leaky ReLU
    FEM         at the end of the first three: instance norm, FFT, real and imaginary part each
                through a convolution, inverse FFT; joined with its input; convolution, instance norm, ReLU
    EAM         gated residual blocks over the three FEM outputs -> one map of edges
    ABS         a 3D CBAM on every shortcut: channel attention, then spatial attention
    decoder     2x2x2 transposed convolution, joined with the shortcut, 3x3x3; weighed by the map of edges
    -> (1, I, J, K) z-scores

What the paper leaves open, as decided here; all of it are settings:
- widths: 16-32-64-128-256 (`channels`);
- the first level halves the grid too, "in each layer ... a stride of 2" (`first_stride` 1 keeps it);
- batch norm and leaky ReLU (0.01) follow both convolutions of a level, not only the second;
- shortcuts are joined by concatenation, and stay without the CBAM when `attention_shortcut` is off;
- FEM keeps the number of channels, its convolutions in the frequency domain are 1x1x1: a frequency
  has no neighbours across the wrap of the spectrum (`frequency_kernel` 3 for others); the inverse FFT
  gives its magnitude, as the text says (`frequency_output` "real" for its real part);
- EAM runs from the deepest of its three levels to the finest, 16 channels wide (`edge_channels`);
  the map multiplies every level of the decoder by 1 + its sigmoid (`injection` "concatenate" joins it);
- CBAM as in 2D: reduction 16, at least 4 channels, spatial kernel 7 (`reduction`, `spatial_kernel`);
- a 1x1x1 convolution gives the z-scores; voxels above -500 HU become bone (`threshold_hu`).

Deliberate deviation: each picture is read on the middle plane that faces it, with its true orientation
and magnification at the centre, instead of assuming an order of array axes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities
from boneray.models.ear_recipes import EAR_TRAINING, as_in_ear
from boneray.models.inner_maps import InnerMap
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple
from boneray.models.volume_blocks import convolved, doubled, halved, spread_views

FREQUENCY_LEVELS = 3


class EARSettings(Settings):
    """See the top of the file. `frequency`, `edge`, `attention_shortcut` switch the three modules."""

    channels: tuple[int, ...] = Field((16, 32, 64, 128, 256), min_length=4)
    first_stride: Literal[1, 2] = 2
    frequency: bool = True
    edge: bool = True
    attention_shortcut: bool = True
    frequency_kernel: Literal[1, 3] = 1
    frequency_output: Literal["magnitude", "real"] = "magnitude"
    edge_channels: int = Field(16, ge=1)
    injection: Literal["multiply", "concatenate"] = "multiply"
    reduction: int = Field(16, ge=1)
    spatial_kernel: Literal[3, 5, 7] = 7
    threshold_hu: float = SURFACE_HU


class FrequencyEnhancement(nn.Module):
    """(B, C, I, J, K) -> the same shape, with what is sharp brought out in the frequency domain."""

    def __init__(self, channels: int, kernel: int, output: str) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels)
        self.real = nn.Conv3d(channels, channels, kernel, padding=kernel // 2)
        self.imaginary = nn.Conv3d(channels, channels, kernel, padding=kernel // 2)
        self.join = nn.Sequential(
            nn.Conv3d(2 * channels, channels, 3, padding=1), nn.InstanceNorm3d(channels), nn.ReLU()
        )
        self.output = output

    def forward(self, features: Tensor) -> Tensor:
        return self.join(torch.cat([self.in_frequencies(features), features], dim=1))

    def in_frequencies(self, features: Tensor) -> Tensor:
        """The branch through the frequency domain alone."""
        spectrum = torch.fft.fftn(self.norm(features).float(), dim=(2, 3, 4), norm="ortho")
        changed = torch.complex(self.real(spectrum.real).float(), self.imaginary(spectrum.imag).float())
        back = torch.fft.ifftn(changed, dim=(2, 3, 4), norm="ortho")
        return (back.abs() if self.output == "magnitude" else back.real).to(features.dtype)


class EdgeAttention(nn.Module):
    """Features of three levels, finest first -> (B, 1, ...) logits of an edge, on the finest level's grid."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv3d(c, width, 1) for c in channels)
        self.residual = nn.ModuleList(
            nn.Sequential(convolved(width, width, nn.ReLU()), convolved(width, width, nn.ReLU())) for _ in channels
        )
        self.gates = nn.ModuleList(
            nn.Sequential(
                convolved(2 * width, width, nn.ReLU()),
                nn.Conv3d(width, width, 3, padding=1),
                nn.BatchNorm3d(width),
                nn.Sigmoid(),
            )
            for _ in channels[:-1]
        )
        self.leave = nn.Conv3d(width, 1, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Each level's features are gated by themselves and the level below: F gate + F."""
        features = [enter(level) for enter, level in zip(self.enter, levels, strict=True)]
        features = [f + block(f) for f, block in zip(features, self.residual, strict=True)]
        below = features[-1]
        for level in reversed(range(len(features) - 1)):
            here = features[level]
            gate = self.gates[level](torch.cat([here, resized_to(below, here)], dim=1))
            below = here * gate + here
        return self.leave(below)


class AttentionShortcut(nn.Module):
    """3D CBAM: features weighed by channel, then by place."""

    def __init__(self, channels: int, reduction: int, kernel: int) -> None:
        super().__init__()
        hidden = min(channels, max(4, channels // reduction))
        self.channel = nn.Sequential(nn.Conv3d(channels, hidden, 1), nn.ReLU(), nn.Conv3d(hidden, channels, 1))
        self.spatial = nn.Conv3d(2, 1, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool3d(features, 1), functional.adaptive_max_pool3d(features, 1)
        features = features * torch.sigmoid(sum(self.channel(p) for p in pooled))
        seen = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.spatial(seen))


class EAR(IntensityNetwork):
    """(B, 2, 1, H, W) pictures of one frontal and one lateral view -> z-scores on the working grid."""

    def __init__(self, settings: EARSettings, task: Task) -> None:
        super().__init__("ear", task, settings.threshold_hu)
        channels, halvings = settings.channels, len(settings.channels) - 2 + settings.first_stride
        require_multiple("ear", task.grid_shape, 2**halvings)
        act = nn.LeakyReLU(0.01)
        widths = (2, *channels)
        self.first_stride = settings.first_stride
        self.encoder = nn.ModuleList(
            halved(a, b, act, stride=2 if level else settings.first_stride)
            for level, (a, b) in enumerate(pairwise(widths))
        )
        self.frequency = nn.ModuleList(
            FrequencyEnhancement(c, settings.frequency_kernel, settings.frequency_output)
            for c in channels[:FREQUENCY_LEVELS]
            if settings.frequency
        )
        self.edge = EdgeAttention(channels[:FREQUENCY_LEVELS], settings.edge_channels) if settings.edge else None
        self.injection = settings.injection
        self.shortcuts = nn.ModuleList(
            AttentionShortcut(c, settings.reduction, settings.spatial_kernel)
            for c in channels[:-1]
            if settings.attention_shortcut
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, 2) for a, b in pairwise(channels))
        extra = 1 if settings.edge and settings.injection == "concatenate" else 0
        self.decoder = nn.ModuleList(convolved(2 * c + extra, c, act) for c in channels[:-1])
        self.last = doubled(channels[0], channels[0], act) if settings.first_stride == 2 else None
        self.head = nn.Conv3d(channels[0], 1, 1)

    def forward(self, batch: Batch) -> Intensities:
        return self.answered(batch)

    def inner_maps(self, batch: Batch) -> tuple[InnerMap, ...]:
        """What leaves each level, each FEM's output minus its input, and the edges as the decoder's levels see them.

        The edges of level 1 are those of the paper's figure 9. A module that is switched off has no maps.
        """
        found: list[InnerMap] = []
        self.answered(batch, found)
        return tuple(found)

    def answered(self, batch: Batch, kept: list[InnerMap] | None = None) -> Intensities:
        """The prediction; inner maps on the way are added to `kept`."""
        levels = self.encoded(spread_views(batch, self.task, "ear"), kept)
        edges = self.edge(levels[:FREQUENCY_LEVELS]) if self.edge is not None else None
        features = levels[-1]
        for level in reversed(range(len(levels) - 1)):
            shortcut = self.shortcuts[level](levels[level]) if len(self.shortcuts) else levels[level]
            joined = [self.up[level](features), shortcut]
            if edges is not None and self.injection == "concatenate":
                joined.append(resized_to(edges, shortcut))
            features = self.decoder[level](torch.cat(joined, dim=1))
            if edges is not None and self.injection == "multiply":
                features = features * (1 + torch.sigmoid(resized_to(edges, features)))
            if kept is not None:
                kept.append(InnerMap("decoder", level + 1, "features", features))
                if edges is not None:
                    seen = torch.sigmoid(resized_to(edges, features))
                    kept.append(InnerMap("edge attention", level + 1, "attention", seen))
        if self.last is not None:
            features = self.last(features)
        values = self.head(features)
        return self.answer(values, edges=None if edges is None else resized_to(edges, values))

    def encoded(self, volume: Tensor, kept: list[InnerMap] | None = None) -> list[Tensor]:
        """Features by level, finest first; the first three with enhanced frequencies."""
        levels = []
        for level, block in enumerate(self.encoder):
            before = volume = block(volume)
            if level < len(self.frequency):
                volume = self.frequency[level](volume)
                if kept is not None:
                    kept.append(InnerMap("frequency enhancement", level + 1, "difference", volume - before))
            if kept is not None:
                kept.append(InnerMap("encoder", level + 1, "features", volume))
            levels.append(volume)
        return levels


def resized_to(features: Tensor, other: Tensor) -> Tensor:
    """`features` on the voxels of `other`, trilinear."""
    if features.shape[2:] == other.shape[2:]:
        return features
    return functional.interpolate(features, size=other.shape[2:], mode="trilinear", align_corners=False)


MODELS.register(
    "ear",
    "CT intensities of one vertebra, with attention to its edges",
    source="Tan et al. 2024, arXiv 2407.20937",
    views="one frontal, one lateral",
    aliases=("EAR",),
)(
    ModelSpec(
        EARSettings(),
        EAR,
        Recipe(**EAR_TRAINING, loss="ear"),
        learns="intensities",
        recipes={"paper": as_in_ear("ear")},
        narrow=EARSettings(channels=(8, 8, 16, 16, 32), edge_channels=8),
    )
)
