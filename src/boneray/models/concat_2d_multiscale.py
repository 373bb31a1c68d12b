"""MultiScale2DPermuteConcat: 2D encoder-decoders whose channels are read as the missing axis, joined at every scale.

The generator idea of Ying et al., "X2CT-GAN: reconstructing CT from biplanar X-rays with generative
adversarial networks", CVPR 2019, without the adversary; architecture of the XrayTo3D benchmark
(arXiv 2309.13587).

    each picture -> 3x3 stem -> per level a dense block of four 3x3 convolutions, pooled in between
                 -> 2D decoder; at every level as many channels as the grid has voxels there along the
                    axis the view looks along: the map is a volume with one channel
    from coarse to fine: [frontal volume, lateral volume, doubled volume of the level before] -> 32
    -> scores

Parameters with one output channel: 3,080,433 at 128^3. The paper's table says 3.5 M; the released
scripts build 3,163,665, of which 83,232 belong to three doubling layers that nothing uses. Those are
left out here, as in the 3.08 M of the Swin-X2S table. At 64^3: 2,653,521 of the scripts' 2,838,609.

Deliberate deviations: no unused layers; grids that are not cubes; otherwise those of `concat_2d.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import face, frontal_and_lateral
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import comparisons
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple, require_two_views

NAME = "concat_2d_multiscale"
FRONTAL, LATERAL = 1, 0  # the grid axis that the view looks along
COARSEST = 4
WIDEST_GROWTH = 64


class MultiScaleSettings(Settings):
    """`stem`, `joined`: channels of the first layer, of the volumes; `growth`: per layer of the coarsest block."""

    stem: int = 16
    joined: int = 32
    growth: int = WIDEST_GROWTH
    dropout: float = 0.1
    start_bias: float = START_BIAS


class MultiScale(nn.Module):
    """One frontal and one lateral picture (B, 2, 1, H, W) in any order; see the file's head."""

    def __init__(self, settings: MultiScaleSettings, task: Task) -> None:
        from monai.networks.blocks import Convolution

        super().__init__()
        require_two_views(NAME, task)
        shape = task.grid_shape
        levels = max(2, min(shape).bit_length() - COARSEST.bit_length() + 1)
        require_multiple(NAME, shape, 2 ** (levels - 1), least=2 * COARSEST)
        self.task = task
        growth = [max(1, settings.growth >> (levels - 1 - level)) for level in range(levels)]
        self.frontal = FlatUNet(settings, growth, shape[1])
        self.lateral = FlatUNet(settings, growth, shape[0])
        block = {"act": "RELU", "norm": "BATCH", "dropout": settings.dropout}
        wide = settings.joined
        self.joins = nn.ModuleList(Convolution(3, 2 if n == 0 else 2 + wide, wide, **block) for n in range(levels))
        self.doubles = nn.ModuleList(
            Convolution(3, wide, wide, strides=2, is_transposed=True, **block) for _ in range(levels - 1)
        )
        self.head = nn.Conv3d(wide, channels_for(task.class_count), 1)
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        frontal, lateral = frontal_and_lateral(batch, NAME)
        front, _ = face(frontal.images[:, 0], frontal.projections[:, 0], FRONTAL, self.task.grid_shape)
        side, _ = face(lateral.images[:, 0], lateral.projections[:, 0], LATERAL, self.task.grid_shape)
        x: Tensor | None = None
        pairs = zip(self.frontal(front), self.lateral(side), strict=True)
        for n, (seen_in_front, seen_from_side) in enumerate(pairs):
            volumes = [seen_in_front.transpose(1, 2), seen_from_side]  # both (B, I, J, K)
            x = torch.cat([torch.stack(volumes, dim=1), *([] if x is None else [self.doubles[n - 1](x)])], dim=1)
            x = self.joins[n](x)
        return LabelLogits(self.head(x) + self.offset)


class FlatUNet(nn.Module):
    """(B, 1, a, b) -> maps from coarse to fine, each with `depth` channels divided by its stride."""

    def __init__(self, settings: MultiScaleSettings, growth: list[int], depth: int) -> None:
        from monai.networks.blocks import Convolution

        super().__init__()
        block = {"act": "RELU", "norm": "BATCH", "dropout": settings.dropout}
        levels = len(growth)
        self.stem = Convolution(2, 1, settings.stem, **block)
        width = settings.stem
        encoders, widths = [], []
        for g in growth:
            encoders.append(nn.ModuleList(Convolution(2, width + n * g, g, **block) for n in range(4)))
            width += 4 * g
            widths.append(width)
        self.encoders = nn.ModuleList(encoders)
        planes = [depth >> level for level in reversed(range(levels))]
        coming = [0, *planes[:-1]]
        self.decoders = nn.ModuleList(
            Convolution(2, skip + below, out, **block)
            for skip, below, out in zip(reversed(widths), coming, planes, strict=True)
        )
        self.doubles = nn.ModuleList(Convolution(2, n, n, strides=2, is_transposed=True, **block) for n in planes[:-1])

    def forward(self, picture: Tensor) -> list[Tensor]:
        x = self.stem(picture)
        skips = []
        for level, layers in enumerate(self.encoders):
            x = x if level == 0 else nn.functional.max_pool2d(x, 2)
            for layer in layers:  # type: ignore[union-attr]
                x = torch.cat([x, layer(x)], dim=1)
            skips.append(x)
        maps: list[Tensor] = []
        for n, (skip, decoder) in enumerate(zip(reversed(skips), self.decoders, strict=True)):
            maps.append(decoder(skip if n == 0 else torch.cat([skip, self.doubles[n - 1](maps[-1])], dim=1)))
        return maps


MODELS.register(
    NAME,
    "3.1 M parameters, published baseline: channels become depth, joined at every scale",
    source="Ying et al. 2019; XrayTo3D benchmark",
    views="one frontal, one lateral",
    aliases=("MultiScale2DConcat", "MultiScale2DPermuteConcat", "Multiscale2DConcat"),
)(
    ModelSpec(
        MultiScaleSettings(),
        MultiScale,
        Recipe(learning_rate=2e-3, ema=0.0),
        recipes=comparisons(rate=2e-3, batch_size=4, script={"femur": {"batch_size": 8}, "ribs": {"batch_size": 4}}),
        published="3.5 M (XrayTo3D), 3.08 M with 55 classes (Swin-X2S)",
        channels_last=True,
    )
)
