"""X2CT: two pictures, each through a 2D encoder and a 3D decoder, and a third decoder that joins them.

Ying, Guo, Ma, Wu, Weng, Zheng, "X2CT-GAN: reconstructing CT from biplanar X-rays with generative
adversarial networks", CVPR 2019. The generator alone; its adversarial training is not here.

    per view    7x7 to 64 with reflection; five dense modules: 3x3 with stride 2, a dense block
                (6, 12, 24, 16, 6 layers that add 32 channels each), 1x1 to half but for the last;
                mean over space; one linear layer to 256 channels of an edge of 1/32
                five times doubled: 3x3x3 after repeating each voxel, joined with the encoder's features of
                that size (1x1 to the decoder's width, spread along the rays, two 3x3x3, at the finest one), two
                3x3x3: 128, 64, 32, 16, 16
    fusion      a decoder of the same kind on the mean of both views' features of each size
    output      7x7x7 to one channel of each of the three decoders: the mean of the branches' plus the fusion's;
                instance norm and ReLU everywhere else

The published code has 61,740,467 parameters for two views and 29,384,481 for one. Both come out: of the
ways to bring the encoder's features to the decoder only 1x1 with 1, 2, 2, 2, 2 convolutions fits, which
are also its published numbers of further convolutions. What the branches' own outputs are for is not
stated in the facts at hand; adding them is our choice. The published feedback of the mean into both
branches is left out, and so is the last ReLU, for intensities from 0 on: z-scores have both signs.
`layers` per dense block, `base`, `growth`, `width` set the size.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, Intensities
from boneray.models.ear_recipes import EAR_TRAINING, as_in_ear
from boneray.models.intensity_network import SURFACE_HU, IntensityNetwork
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple
from boneray.models.volume_blocks import two_pictures

HALVINGS = 5
FURTHER = (1, 2, 2, 2, 2)  # convolutions after a picture's features are spread, from the finest on


class X2CTSettings(Settings):
    """See the top of the file."""

    layers: tuple[int, ...] = Field((6, 12, 24, 16, 6), min_length=HALVINGS, max_length=HALVINGS)
    base: int = Field(64, ge=4, multiple_of=4)
    growth: int = Field(32, ge=2, multiple_of=2)
    width: tuple[int, ...] = Field((16, 16, 32, 64, 128, 256), min_length=6, max_length=6)
    threshold_hu: float = SURFACE_HU


class DenseLayer(nn.Module):
    """`growth` channels more: 1x1 to four times as many, 3x3."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_before(channels),
            nn.Conv2d(channels, 4 * growth, 1),
            *_before(4 * growth),
            nn.Conv2d(4 * growth, growth, 3, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, self.body(features)], dim=1)


class Encoder(nn.Module):
    """(B, 1, a, b) -> features of the edges 1, 1/2 ... 1/16, and the last ones, of 1/32."""

    def __init__(self, base: int, growth: int, dense: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(1, base, 7), nn.InstanceNorm2d(base), nn.ReLU())
        self.modules_ = nn.ModuleList()
        self.channels = [base]
        channels = base
        for n, layers in enumerate(dense):
            parts: list[nn.Module] = [*_before(channels), nn.Conv2d(channels, channels, 3, 2, 1)]
            for _ in range(layers):
                parts.append(DenseLayer(channels, growth))
                channels += growth
            if n < HALVINGS - 1:
                parts += [*_before(channels), nn.Conv2d(channels, channels // 2, 1)]
                channels //= 2
            self.modules_.append(nn.Sequential(*parts))
            self.channels.append(channels)
        self.last = nn.Sequential(*_before(channels))

    def forward(self, picture: Tensor) -> list[Tensor]:
        levels = [self.stem(picture)]
        for block in self.modules_:
            levels.append(block(levels[-1]))
        levels[-1] = self.last(levels[-1])
        return levels


class Decoder(nn.Module):
    """Five times doubled, each time joined with features of that size: 2w to w, w to w."""

    def __init__(self, width: tuple[int, ...]) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Sequential(nn.Upsample(scale_factor=2), *_volume(b, a)) for a, b in pairwise(width))
        self.join = nn.ModuleList(nn.Sequential(*_volume(2 * w, w), *_volume(w, w)) for w in width[:-1])

    def forward(self, coarse: Tensor, others: list[Tensor]) -> list[Tensor]:
        """Features by level, finest first, the coarse ones last."""
        levels = [coarse]
        for level in reversed(range(len(self.up))):
            levels.append(self.join[level](torch.cat([self.up[level](levels[-1]), others[level]], dim=1)))
        return levels[::-1]


class Branch(nn.Module):
    """One view: its features as volumes of every size. `axis`: the one that the picture is spread along."""

    def __init__(self, settings: X2CTSettings, shape: tuple[int, int, int], axis: int) -> None:
        super().__init__()
        self.axis, self.shape = axis, shape
        self.coarse = tuple(n // 2**HALVINGS for n in shape)
        self.encoder = Encoder(settings.base, settings.growth, settings.layers)
        width = settings.width
        self.volume = nn.Linear(self.encoder.channels[-1], width[-1] * math.prod(self.coarse))
        self.flat = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, w, 1), nn.InstanceNorm2d(w), nn.ReLU())
            for c, w in zip(self.encoder.channels, width[:-1], strict=False)
        )
        self.spread = nn.ModuleList(
            nn.Sequential(*(layer for _ in range(n) for layer in _volume(w, w)))
            for w, n in zip(width[:-1], FURTHER, strict=True)
        )
        self.decoder = Decoder(width)
        self.head = nn.Conv3d(width[0], 1, 7, 1, 3)

    def forward(self, picture: Tensor) -> list[Tensor]:
        levels = self.encoder(picture)
        coarse = self.volume(levels.pop().mean(dim=(2, 3))).unflatten(1, (-1, *self.coarse))
        spread = []
        for n, (flat, block, features) in enumerate(zip(self.flat, self.spread, levels, strict=True)):
            plane = flat(features).unsqueeze(2 + self.axis)
            spread.append(block(plane.expand(*plane.shape[:2], *(edge // 2**n for edge in self.shape))))
        return self.decoder(coarse, spread)


class X2CT(IntensityNetwork):
    """(B, 2, 1, H, W) pictures of one frontal and one lateral view -> z-scores on the working grid."""

    def __init__(self, settings: X2CTSettings, task: Task) -> None:
        super().__init__("x2ct_generator", task, settings.threshold_hu)
        require_multiple(self.name, task.grid_shape, 2**HALVINGS, least=2 ** (HALVINGS + 1))
        shape = task.grid_shape
        self.frontal, self.lateral = Branch(settings, shape, axis=1), Branch(settings, shape, axis=0)
        self.fusion = Decoder(settings.width)
        self.head = nn.Conv3d(settings.width[0], 1, 7, 1, 3)

    def forward(self, batch: Batch) -> Intensities:
        pictures = two_pictures(batch, self.task, self.name)
        views = [branch(p) for branch, p in zip((self.frontal, self.lateral), pictures, strict=True)]
        means = [(a + b) / 2 for a, b in zip(*views, strict=True)]
        own = [branch.head(view[0]) for branch, view in zip((self.frontal, self.lateral), views, strict=True)]
        return self.answer(self.head(self.fusion(means[-1], means[:-1])[0]) + (own[0] + own[1]) / 2)


def _before(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()


def _volume(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv3d(before, after, 3, 1, 1), nn.InstanceNorm3d(after), nn.ReLU()


MODELS.register(
    "x2ct_generator",
    "CT intensities by two dense encoders and three decoders",
    source="Ying et al. 2019, X2CT-GAN",
    views="one frontal, one lateral",
    aliases=("X2CT", "X2CT-CNN"),
)(
    ModelSpec(
        X2CTSettings(),
        X2CT,
        Recipe(**EAR_TRAINING, loss="intensity_l1"),
        learns="intensities",
        recipes={"ear_paper": as_in_ear("intensity_l1")},
        narrow=X2CTSettings(layers=(1, 1, 2, 1, 1), base=4, growth=2, width=(2, 2, 4, 4, 4, 8)),
        smallest=64,
        published="61,740,467 (public code, two views)",
    )
)
