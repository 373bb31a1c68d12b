"""TwoDPermuteConcat, "2DConcat" in the tables: two 2D encoders, expanded, joined, decoded in 3D.

Bayat et al., "Inferring the 3D standing spine posture from 2D radiographs" (TransVert), MICCAI
2020; architecture of the XrayTo3D benchmark (arXiv 2309.13587): 1,249,537 parameters at 128^3 and
1,194,049 at 64^3 with one output channel (the number of expanding layers follows the grid).

    frontal (1, I, K), lateral (1, J, K) -> each: six 7x7 convolutions, a quarter of the resolution
    -> transposed 3D convolutions that double the missing axis alone, from 1 to a quarter of the grid
    -> joined (64) -> seven transposed 3D convolutions, twice doubling all axes -> scores

Deliberate deviations: the frontal picture goes to the frontal encoder whatever the order of the
views; otherwise those of `unet.py`. TransVert's vertebra-centroid input and adversarial term are
not part of the benchmark and not here.
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
from boneray.models.sizes import require_multiple, require_power_of_two, require_two_views

NAME = "concat_2d"
FRONTAL, LATERAL = 1, 0  # the grid axis that the view looks along


class Concat2DSettings(Settings):
    """`encoder`: channels at half and quarter resolution of the pictures; `decoder`: in 3D, from coarse to fine."""

    encoder: tuple[int, int] = (16, 32)
    decoder: tuple[int, int, int] = (64, 32, 16)
    dropout: float = 0.1
    start_bias: float = START_BIAS


class Concat2D(nn.Module):
    """One frontal and one lateral picture (B, 2, 1, H, W) in any order; see the file's head."""

    def __init__(self, settings: Concat2DSettings, task: Task) -> None:
        super().__init__()
        require_two_views(NAME, task)
        require_power_of_two(NAME, task.grid_shape[:2], least=16)
        require_multiple(NAME, task.grid_shape[2:], 4)
        self.task = task
        i, j, _ = task.grid_shape
        self.frontal = Encoder(settings)
        self.lateral = Encoder(settings)
        self.frontal_depth = Expansion(settings, FRONTAL, j // 4)
        self.lateral_depth = Expansion(settings, LATERAL, i // 4)
        self.decoder = decoder(settings, channels_for(task.class_count))
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        frontal, lateral = frontal_and_lateral(batch, NAME)
        front, _ = face(frontal.images[:, 0], frontal.projections[:, 0], FRONTAL, self.task.grid_shape)
        side, _ = face(lateral.images[:, 0], lateral.projections[:, 0], LATERAL, self.task.grid_shape)
        joined = torch.cat([self.frontal_depth(self.frontal(front)), self.lateral_depth(self.lateral(side))], dim=1)
        return LabelLogits(self.decoder(joined) + self.offset)


class Encoder(nn.Sequential):
    """(B, 1, a, b) -> (B, C, a/4, b/4): six 7x7 convolutions, the first two with stride 2."""

    def __init__(self, settings: Concat2DSettings) -> None:
        from monai.networks.blocks import Convolution

        half, quarter = settings.encoder
        steps = [(1, half, 2), (half, quarter, 2), *[(quarter, quarter, 1)] * 4]
        super().__init__(
            *(
                Convolution(2, a, b, strides=s, kernel_size=7, act="RELU", norm="BATCH", dropout=settings.dropout)
                for a, b, s in steps
            )
        )


class Expansion(nn.Module):
    """(B, C, a, b) -> a volume with the missing `axis` doubled from 1 to `depth` voxels."""

    def __init__(self, settings: Concat2DSettings, axis: int, depth: int) -> None:
        from monai.networks.blocks import Convolution

        super().__init__()
        self.axis = axis
        channels = settings.encoder[1]
        stride = [2 if a == axis else 1 for a in range(3)]
        self.layers = nn.Sequential(
            *(
                Convolution(
                    3,
                    channels,
                    channels,
                    strides=stride,
                    is_transposed=True,
                    act="RELU",
                    norm="BATCH",
                    dropout=settings.dropout,
                )
                for _ in range(depth.bit_length() - 1)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.unsqueeze(2 + self.axis))


def decoder(settings: Concat2DSettings, classes: int) -> nn.Sequential:
    """Seven transposed convolutions; the last one is bare and has kernel 7."""
    from monai.networks.blocks import Convolution

    joined = 2 * settings.encoder[1]
    wide, half, full = settings.decoder
    steps = [(joined, wide, 1), *[(wide, wide, 1)] * 3, (wide, half, 2), (half, full, 2)]
    layers: list[nn.Module] = [
        Convolution(3, a, b, strides=s, is_transposed=True, act="RELU", norm="BATCH", dropout=settings.dropout)
        for a, b, s in steps
    ]
    return nn.Sequential(*layers, Convolution(3, full, classes, kernel_size=7, is_transposed=True, conv_only=True))


MODELS.register(
    NAME,
    "1.2 M parameters, published baseline: 2D encoders, joined and decoded in 3D",
    source="Bayat et al. 2020; XrayTo3D benchmark",
    views="one frontal, one lateral",
    aliases=("2DConcat", "TwoDPermuteConcat", "TransVert"),
)(
    ModelSpec(
        Concat2DSettings(),
        Concat2D,
        Recipe(learning_rate=2e-3, ema=0.0),
        recipes=comparisons(rate=2e-3, batch_size=8),
        published="1.2 M (XrayTo3D), 1.55 M with 55 classes (Swin-X2S)",
        channels_last=True,
    )
)
