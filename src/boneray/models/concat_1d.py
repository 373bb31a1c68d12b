"""OneDConcat, "1DConcat" in the tables: each view becomes a vector, both vectors become a volume.

Chen & Fang, "Using bi-planar X-ray images to reconstruct the spine structure by the convolution
neural network", 2020; architecture of the XrayTo3D benchmark (arXiv 2309.13587): 40,621,953
parameters at 128^3 and 38,994,561 at 64^3 with one output channel.

    each picture -> six 3x3 convolutions with stride 2 -> a vector
    both vectors -> linear -> 256 numbers -> transposed 3D convolutions with stride 2 up to the grid

The 256 numbers are normalised over the batch, so it cannot be trained with batches of one case.

Deliberate deviations: those of `concat_2d.py`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import face, frontal_and_lateral
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import comparisons
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_cube, require_power_of_two, require_two_views

NAME = "concat_1d"
FRONTAL, LATERAL = 1, 0  # the grid axis that the view looks along


class Concat1DSettings(Settings):
    """`encoder`, `decoder`: channels of the 2D and 3D layers; `latent`: numbers between them."""

    encoder: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    latent: int = 256
    decoder: tuple[int, ...] = (1024, 512, 256, 128, 64, 32, 16)
    dropout: float = 0.1
    start_bias: float = START_BIAS


class Concat1D(nn.Module):
    """One frontal and one lateral picture (B, 2, 1, H, W) in any order; see the file's head."""

    def __init__(self, settings: Concat1DSettings, task: Task) -> None:
        super().__init__()
        require_two_views(NAME, task)
        require_cube(NAME, task.grid_shape)
        require_power_of_two(NAME, task.grid_shape, least=16)
        edge = task.grid_shape[0]
        doublings = edge.bit_length() - 1
        if doublings > len(settings.decoder) + 1:
            raise ConfigError(f"grid size {edge} is too large; {NAME} takes up to {2 ** (len(settings.decoder) + 1)}")
        self.task = task
        self.frontal = encoder(settings)
        self.lateral = encoder(settings)
        coarse = max(1, edge >> len(settings.encoder))
        self.join = nn.Linear(2 * settings.encoder[-1] * coarse**2, settings.latent)
        self.normalise = nn.BatchNorm1d(settings.latent)
        self.decoder = decoder(settings, doublings, channels_for(task.class_count))
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        if self.training and len(batch.images) < 2:
            raise ConfigError(
                f"{NAME} normalises over the batch and cannot learn from 1 case; use batches of 2 or more"
            )
        frontal, lateral = frontal_and_lateral(batch, NAME)
        front, _ = face(frontal.images[:, 0], frontal.projections[:, 0], FRONTAL, self.task.grid_shape)
        side, _ = face(lateral.images[:, 0], lateral.projections[:, 0], LATERAL, self.task.grid_shape)
        joined = torch.cat([self.frontal(front).flatten(1), self.lateral(side).flatten(1)], dim=1)
        latent = torch.relu(self.normalise(self.join(joined)))
        return LabelLogits(self.decoder(latent[:, :, None, None, None]) + self.offset)


def encoder(settings: Concat1DSettings) -> nn.Sequential:
    """3x3 convolutions with stride 2, each with batch norm, dropout, ReLU."""
    from monai.networks.blocks import Convolution

    widths = (1, *settings.encoder)
    return nn.Sequential(
        *(
            Convolution(2, a, b, strides=2, act="RELU", norm="BATCH", dropout=settings.dropout)
            for a, b in pairwise(widths)
        )
    )


def decoder(settings: Concat1DSettings, doublings: int, classes: int) -> nn.Sequential:
    """Transposed 3x3x3 convolutions with stride 2; the last one is bare."""
    from monai.networks.blocks import Convolution

    widths = (settings.latent, *settings.decoder[: doublings - 1])
    layers: list[nn.Module] = [
        Convolution(3, a, b, strides=2, is_transposed=True, act="RELU", norm="BATCH", dropout=settings.dropout)
        for a, b in pairwise(widths)
    ]
    return nn.Sequential(*layers, Convolution(3, widths[-1], classes, strides=2, is_transposed=True, conv_only=True))


MODELS.register(
    NAME,
    "41 M parameters, published baseline: views joined as vectors",
    source="Chen & Fang 2020; XrayTo3D benchmark",
    views="one frontal, one lateral",
    aliases=("1DConcat", "OneDConcat"),
)(
    ModelSpec(
        Concat1DSettings(),
        Concat1D,
        Recipe(learning_rate=2e-3, ema=0.0),
        recipes=comparisons(rate=2e-3, batch_size=8),
        published="40.6 M (XrayTo3D), 40.67 M with 55 classes (Swin-X2S)",
        channels_last=True,
    )
)
