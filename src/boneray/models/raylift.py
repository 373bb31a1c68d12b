"""raylift: features read along true camera rays, pooled over any number of views.

Source: our own. Back-projection of 2D features along cone-beam rays follows the idea of
geometry-aware attenuation learning (arXiv 2303.14739) and DIF-Net (MICCAI 2023); written from the
papers, no code was used. Choices measured in `docs/models/raylift.md`.

    picture -> shared 2D encoder (strides 2, 4, 8 of the working grid)
            -> at each stride: 1x1 reduction, read at every voxel through the true camera,
               with depth code, ray direction and in-picture mask
            -> pooled over views (mean and max), or concatenated for a fixed number of views
            -> 3D decoder from coarse to half resolution -> sub-voxel head

The encoder is a few convolutions, or (`backbone="swin"`) a 2D Swin transformer on patches of 4
pixels that can start from weights learnt on photographs (`pretrained`: a .safetensors file, see
`pretrained_swin.py`), with convolutions that bring its coarse maps back to the finer strides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import depth_codes, lift, replicate
from boneray.models.pretrained_swin import load_pretrained_swin
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple, require_views
from boneray.models.swin import Swin


class SwinSettings(Settings):
    """Of the Swin backbone: channels at stride 4 of the pictures, blocks and heads per stage; the default is Swin-T."""

    width: int = 96
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    path_drop: float = 0.2


class RayliftSettings(Settings):
    """Widths and switches.

    `encoder`: channels at strides 1, 2, 4, 8; `lifted`: channels read per view at strides 8, 4, 2;
    `decoder`: 3D channels at strides 8, 4, 2. `lift="permute"` ignores the camera beyond its main
    axis: features become depth planes of the volume, for uncalibrated pictures. `swin` and
    `pretrained` matter with `backbone="swin"` only, the first of `encoder` without it only.
    """

    encoder: tuple[int, int, int, int] = (24, 48, 96, 128)
    lifted: tuple[int, int, int] = (32, 24, 8)
    decoder: tuple[int, int, int] = (48, 48, 24)
    head: int = 16
    fusion: Literal["pooled", "concat"] = "pooled"
    lift: Literal["rays", "permute"] = "rays"
    backbone: Literal["convolutions", "swin"] = "convolutions"
    swin: SwinSettings = SwinSettings()
    pretrained: str = ""


class Raylift(nn.Module):
    """See the file's head. Pictures are (B, V, 1, H, W) of any size that is a multiple of 16, of 32 with a Swin."""

    def __init__(self, settings: RayliftSettings, task: Task) -> None:
        super().__init__()
        require_multiple("raylift", task.grid_shape, 8)
        require_multiple("raylift", task.image_shape, 32 if settings.backbone == "swin" else 16, what="image")
        if settings.pretrained and settings.backbone != "swin":
            raise ConfigError("raylift has pretrained weights for its Swin only; set model.backbone=swin")
        self.settings = settings
        self.task = task
        self.encoder = SwinEncoder(settings) if settings.backbone == "swin" else Encoder(settings.encoder)
        widths = (settings.encoder[3], settings.encoder[2], settings.encoder[1] + settings.encoder[1] // 3)
        self.levels = nn.ModuleList(
            Level(
                settings,
                width,
                lifted,
                _coarser(task.grid_shape, stride),
                views=task.view_count,
            )
            for width, lifted, stride in zip(widths, settings.lifted, (8, 4, 2), strict=True)
        )
        d8, d4, d2 = settings.decoder
        f8, f4, f2 = (level.channels for level in self.levels)
        self.decode8 = nn.Sequential(conv3(f8, d8), conv3(d8, d8))
        self.decode4 = nn.Sequential(conv3(f4 + d8, d4), conv3(d4, d4))
        self.narrow = nn.Conv3d(d4, d2, 1, bias=False)
        self.decode2 = nn.Sequential(conv3(f2 + d2, d2), conv3(d2, settings.head))
        self.classes = channels_for(task.class_count)
        self.head = nn.Conv3d(settings.head, 8 * self.classes, 1)
        start_near_background(self.head, self.classes)

    def initialise(self) -> list[str]:
        """Start the Swin from the file of `pretrained`, if one is named; says what was done."""
        if not self.settings.pretrained:
            return []
        file = Path(self.settings.pretrained)
        return [f"{file.name}: {line}" for line in load_pretrained_swin(self.encoder.swin, file).lines()]

    def forward(self, batch: Batch) -> LabelLogits:
        require_views(batch)
        count, views = batch.images.shape[:2]
        if self.settings.fusion == "concat" and views != self.task.view_count:
            raise ConfigError(
                f"this checkpoint concatenates {self.task.view_count} views and got {views}; "
                "give that number of views or use a pooled model"
            )
        maps = self.encoder(batch.images.flatten(0, 1))
        cameras = batch.projections.flatten(0, 1), batch.depths.flatten(0, 1)
        lifted = [
            level(features, *cameras, count).contiguous(memory_format=torch.channels_last_3d)  # 1.3x faster on CPU
            for level, features in zip(self.levels, maps, strict=True)
        ]
        x = self.decode8(lifted[0])
        x = self.decode4(torch.cat([lifted[1], _double(x)], dim=1))
        x = self.decode2(torch.cat([lifted[2], _double(self.narrow(x))], dim=1))
        return LabelLogits(pixel_shuffle_3d(self.head(x), self.classes))


class Encoder(nn.Module):
    """A small 2D U-Net shared by all views; gives features at strides 8, 4, 2 of the grid.

    The first step folds 2x2 pixels into channels: pictures have twice the grid's resolution, and
    their sub-voxel detail is kept at no cost.
    """

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        w1, w2, w4, w8 = widths
        self.e1 = conv2(4, w1)
        self.e2 = nn.Sequential(conv2(w1, w2, stride=2), conv2(w2, w2))
        self.e4 = nn.Sequential(conv2(w2, w4, stride=2), conv2(w4, w4))
        self.e8 = nn.Sequential(conv2(w4, w8, stride=2), conv2(w8, w8))
        self.u4 = conv2(w8 + w4, w4)
        self.u2 = conv2(w4 + w2, w2 + w2 // 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        e2 = self.e2(self.e1(functional.pixel_unshuffle(images, 2)))
        e4 = self.e4(e2)
        e8 = self.e8(e4)
        u4 = self.u4(torch.cat([_double(e8), e4], dim=1))
        u2 = self.u2(torch.cat([_double(u4), e2], dim=1))
        return e8, u4, u2


class SwinEncoder(nn.Module):
    """A 2D Swin transformer shared by all views; gives features at strides 8, 4, 2 of the grid.

    Pictures have twice the grid's resolution, so the first map of its patches is at stride 2.
    """

    def __init__(self, settings: RayliftSettings) -> None:
        super().__init__()
        given = settings.swin
        self.swin = Swin(
            channels=1,
            width=given.width,
            depths=given.depths,
            heads=given.heads,
            patch=4,
            path_drop=given.path_drop,
            merged=False,
        )
        _, w2, w4, w8 = settings.encoder
        width = given.width
        self.u8 = conv2(12 * width, w8)
        self.u4 = conv2(w8 + 2 * width, w4)
        self.u2 = conv2(w4 + width, w2 + w2 // 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s2, s4, s8, s16 = self.swin(images)
        u8 = self.u8(torch.cat([_double(s16), s8], dim=1))
        u4 = self.u4(torch.cat([_double(u8), s4], dim=1))
        u2 = self.u2(torch.cat([_double(u4), s2], dim=1))
        return u8, u4, u2


class Level(nn.Module):
    """Lift one scale into the volume and fuse the views."""

    def __init__(
        self, settings: RayliftSettings, width: int, lifted: int, shape: tuple[int, int, int], *, views: int
    ) -> None:
        super().__init__()
        self.shape = shape
        self.rays = settings.lift == "rays"
        self.pooled = settings.fusion == "pooled"
        self.planes = 1 if self.rays else max(shape)
        self.kept = lifted if self.rays else max(lifted // 4, 2)
        self.reduce = nn.Conv2d(width, self.kept * self.planes, 1)
        codes = 5 if self.rays else 4  # depth, direction (3), and the mask where cameras are used
        if self.pooled:
            self.per_view = nn.Sequential(
                nn.Conv3d(self.kept + codes, lifted, 1, bias=False), nn.BatchNorm3d(lifted), nn.ReLU(inplace=True)
            )
            self.channels = 2 * lifted
        else:
            self.channels = views * (self.kept + codes)

    def forward(self, features: Tensor, projections: Tensor, depths: Tensor, count: int) -> Tensor:
        reduced = self.reduce(features)
        if self.rays:
            values, seen = lift(reduced, projections, self.shape)
        else:
            values, seen = self._planes(reduced, projections, depths)
        direction = depths[:, :3, None, None, None].expand(-1, -1, *self.shape)
        codes = [depth_codes(depths, self.shape), direction] + ([seen] if self.rays else [])
        x = torch.cat([values, *codes], dim=1)
        views = x.shape[0] // count
        if not self.pooled:
            return x.reshape(count, self.channels, *self.shape)
        x = (self.per_view(x) * seen).reshape(count, views, -1, *self.shape)
        mean = x.sum(dim=1) / seen.reshape(count, views, 1, *self.shape).sum(dim=1).clamp(min=1.0)
        return torch.cat([mean, x.amax(dim=1)], dim=1)

    def _planes(self, reduced: Tensor, projections: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
        """Channel groups become depth planes along the main axis of each view."""
        values, seen = replicate(reduced, projections, depths, self.shape)
        values = values.reshape(len(values), self.kept, self.planes, *self.shape)
        depth = depth_codes(depths, self.shape)[:, 0]
        plane = ((depth.clamp(-1, 1) + 1) / 2 * (self.planes - 1)).round().long()
        index = plane[:, None, None].expand(-1, self.kept, 1, *self.shape)
        return values.gather(2, index)[:, :, 0], seen


def conv2(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def conv3(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, 1, 1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def pixel_shuffle_3d(x: Tensor, channels: int) -> Tensor:
    """(B, 8 C, I, J, K) -> (B, C, 2I, 2J, 2K): eight channels become the eight half-voxels."""
    count, _, i, j, k = x.shape
    x = x.reshape(count, channels, 2, 2, 2, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(count, channels, 2 * i, 2 * j, 2 * k)


def start_near_background(head: nn.Conv3d, channels: int) -> None:
    """Bias the last layer by 2 towards background: bone is a few per cent of the voxels."""
    assert head.bias is not None
    bias = head.bias.detach().reshape(channels, -1)
    bias.zero_()
    if channels == 1:
        bias.fill_(-2.0)
    else:
        bias[1:] = -2.0
    head.bias = nn.Parameter(bias.reshape(-1))


def _coarser(shape: tuple[int, int, int], stride: int) -> tuple[int, int, int]:
    return shape[0] // stride, shape[1] // stride, shape[2] // stride


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


SIZES = {
    "raylift_tiny": ("1.1 M parameters, for two CPU cores", RayliftSettings()),
    "raylift_s": (
        "small, for one GPU",
        RayliftSettings(encoder=(48, 96, 192, 256), lifted=(64, 48, 24), decoder=(96, 80, 48), head=24),
    ),
    "raylift_b": (
        "base, for one GPU; its Swin can start from published weights",
        RayliftSettings(
            encoder=(96, 72, 160, 256), lifted=(80, 48, 16), decoder=(160, 96, 48), head=24, backbone="swin"
        ),
    ),
}

for _name, (_summary, _settings) in SIZES.items():
    MODELS.register(_name, _summary, source="boneray", views="any number, any angle")(
        ModelSpec(_settings, Raylift, Recipe(), smallest=16)
    )
