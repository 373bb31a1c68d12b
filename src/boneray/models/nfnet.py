"""NFNet: residual networks without normalisation, here as the encoder of 3DDX.

Brock, De, Smith, Simonyan, "High-performance large-scale image recognition without normalization",
ICML 2021, arXiv 2102.06171.

    stem      four 3x3 convolutions, strides 2 1 1 2, widths 16-32-64-128
    stages    256, 512, 1536, 1536 channels, F0 with 1, 2, 6, 3 blocks, at 1/4, 1/8, 1/16, 1/32
    block     GELU / beta; 1x1, 3x3, 3x3, 1x1 with half the width inside and groups of 128 channels;
              squeeze-excite (half, doubled); a gain that starts at 0; times alpha = 0.2 plus the shortcut
    all convolutions have standardised weights and padding as TensorFlow's SAME
    classifier (only for the count of parameters): 1x1 to 3072, mean, 1000 classes: F0 has 71.49 million

Names of the weights are those timm publishes for dm_nfnet_f0 (`load_timm`), so that its .safetensors fit.
Deviation: the gain of a block starts at `start_gain`, 0.1 and not 0, in a network that starts anew; at 0
no weight inside a block would learn from the first step.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.models.transfer import Transfer, read_weights, transfer

GELU_GAIN = 1.7015043497085571  # makes the variance of gelu(x) 1 for normal x
ALPHA = 0.2
SQUEEZE_GAIN = 2.0
STEM_STRIDES = (2, 1, 1, 2)


class NFNetSettings(Settings):
    """Sizes; the defaults are F0. `group`: channels of a group in the 3x3 convolutions."""

    stem: int = Field(128, ge=8, multiple_of=8)
    widths: tuple[int, int, int, int] = (256, 512, 1536, 1536)
    depths: tuple[int, int, int, int] = (1, 2, 6, 3)
    group: int = Field(128, ge=1)
    final: int = Field(3072, ge=1)
    start_gain: float = 0.1


F0 = NFNetSettings()


class StandardConv(nn.Conv2d):
    """A convolution whose weights have mean 0 and variance 1 / fan-in per output channel, times a learnt gain."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups)
        self.gain = nn.Parameter(torch.ones(after, 1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        fan_in = self.weight[0].numel()
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-6) * (self.gain * fan_in**-0.5)
        padded = same_padded(features, self.kernel_size[0], self.stride[0])
        return functional.conv2d(padded, weight, self.bias, self.stride, groups=self.groups)


def same_padded(features: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around a picture so that its convolution has ceil(edge / stride) pixels; an odd one goes behind."""
    pads = []
    for edge in (features.shape[-1], features.shape[-2]):
        total = max((math.ceil(edge / stride) - 1) * stride + kernel - edge, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(features, pads)


def scaled_gelu(features: Tensor) -> Tensor:
    """GELU with a gain that keeps the variance."""
    return functional.gelu(features) * GELU_GAIN


class SqueezeExcite(nn.Module):
    """Channels weighed by what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(8, (channels // 2 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(channels, inside, 1)
        self.fc2 = nn.Conv2d(inside, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = functional.relu(self.fc1(features.mean((2, 3), keepdim=True)))
        return features * self.fc2(squeezed).sigmoid()


class Shortcut(nn.Module):
    """Mean of 2x2 where the block halves the picture, then 1x1."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = StandardConv(before, after, 1)

    def forward(self, features: Tensor) -> Tensor:
        if self.stride > 1:
            features = functional.avg_pool2d(features, 2, self.stride, ceil_mode=True, count_include_pad=False)
        return self.conv(features)


class Block(nn.Module):
    """One residual block; see the top of the file. `beta`: what undoes the spread of its input."""

    def __init__(self, before: int, after: int, stride: int, beta: float, settings: NFNetSettings) -> None:
        super().__init__()
        inside = max(1, after // 2)
        group = math.gcd(settings.group, inside)
        self.beta = beta
        self.downsample = Shortcut(before, after, stride) if stride > 1 or before != after else None
        self.conv1 = StandardConv(before, inside, 1)
        self.conv2 = StandardConv(inside, inside, 3, stride, groups=inside // group)
        self.conv2b = StandardConv(inside, inside, 3, groups=inside // group)
        self.conv3 = StandardConv(inside, after, 1)
        self.attn_last = SqueezeExcite(after)
        self.skipinit_gain = nn.Parameter(torch.tensor(settings.start_gain))

    def forward(self, features: Tensor) -> Tensor:
        active = scaled_gelu(features) * self.beta
        shortcut = features if self.downsample is None else self.downsample(active)
        inner = self.conv2b(scaled_gelu(self.conv2(scaled_gelu(self.conv1(active)))))
        inner = self.attn_last(self.conv3(scaled_gelu(inner))) * SQUEEZE_GAIN
        return inner * self.skipinit_gain * ALPHA + shortcut


class NFNet(nn.Module):
    """(B, C, H, W) -> the features after each stage, at 1/4, 1/8, 1/16 and 1/32 of the picture.

    Args:
        classes: with a classifier for so many, `forward` gives their scores instead.
    """

    def __init__(self, channels: int, settings: NFNetSettings = F0, *, classes: int = 0) -> None:
        super().__init__()
        widths = [settings.stem // 8, settings.stem // 4, settings.stem // 2, settings.stem]
        befores = [channels, *widths[:-1]]
        self.stem = nn.ModuleDict(
            {
                f"conv{n}": StandardConv(before, after, 3, stride)
                for n, (before, after, stride) in enumerate(zip(befores, widths, STEM_STRIDES, strict=True), start=1)
            }
        )
        self.stages = nn.ModuleList()
        before, spread = settings.stem, 1.0
        for number, (width, depth) in enumerate(zip(settings.widths, settings.depths, strict=True)):
            blocks = []
            for n in range(depth):
                stride = 2 if n == 0 and number > 0 else 1
                blocks.append(Block(before, width, stride, 1.0 / spread, settings))
                spread = 1.0 if n == 0 else spread  # the first block's shortcut starts from a spread of 1
                spread = math.sqrt(spread**2 + ALPHA**2)
                before = width
            self.stages.append(nn.Sequential(*blocks))
        self.final_conv = StandardConv(before, settings.final, 1) if classes else None
        self.head = nn.ModuleDict({"fc": nn.Linear(settings.final, classes)}) if classes else None

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Features after each stage."""
        here = pictures
        for n in range(1, 5):
            here = self.stem[f"conv{n}"](here)
            if n < 4:
                here = scaled_gelu(here)
        out = []
        for stage in self.stages:
            here = stage(here)
            out.append(here)
        return out

    def forward(self, pictures: Tensor) -> list[Tensor] | Tensor:
        out = self.features(pictures)
        if self.final_conv is None or self.head is None:
            return out
        return self.head["fc"](scaled_gelu(self.final_conv(out[-1])).mean((2, 3)))


def load_timm(network: NFNet, file: Path) -> Transfer:
    """Start from a .safetensors file with timm's names; a first layer for colours is summed to grey.

    Raises:
        InputError: no readable file.
    """
    return transfer(network, read_weights(file), adapted_first)


def adapted_first(name: str, there: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str] | None:
    """The first convolution for another number of channels; gains of other shapes are laid out anew."""
    if name == "stem.conv1.weight" and there.shape[0] == shape[0] and there.shape[2:] == shape[2:]:
        grey = there.sum(dim=1, keepdim=True).expand(-1, shape[1], -1, -1)
        return grey.contiguous(), f"stem: {there.shape[1]} colours summed, for {shape[1]} channel(s)"
    if there.numel() == math.prod(shape):
        return there.reshape(shape), f"{name}: {tuple(there.shape)} laid out as {shape}"
    return None
