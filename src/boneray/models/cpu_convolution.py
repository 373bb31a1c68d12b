"""The same 3D convolutions, quicker on a CPU in 32 bits. The sums are the same but for their order.

One case: for a single case with a small map torch takes a plain kernel instead of oneDNN's, which is
several times quicker. Two cases are given to oneDNN, so a case of zeros goes along in training, and
without gradients oneDNN is called by its name.

One channel: oneDNN computes several channels at once, and a convolution of one channel into one (the
last layer of a U-Net for one bone) has only one. Eight neighbours along the last axis become eight
channels, and its 3 weights along that axis a band in 8 x 8 weights for 3 blocks. Eight times the
operations, in a tenth of the time (measured in `docs/models.md`). A transposed convolution that doubles
the resolution into one channel computes the eight halves of a voxel as eight channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL = 20480  # cases x channels x planes x rows up to which torch leaves oneDNN aside
BLOCK = 8


def _band() -> Tensor:
    """(o, i, block, tap): 1 where output o of a block meets input i of the block before, the same or the next."""
    band = torch.zeros(BLOCK, BLOCK, 3, 3)
    for o in range(BLOCK):
        for tap in range(3):
            place = o + tap - 1
            band[o, place % BLOCK, place // BLOCK + 1, tap] = 1.0
    return band


def _halves() -> Tensor:
    """(half, input, weight): the first half sees its voxel by weight 1, the second it by 2 and the next by 0."""
    halves = torch.zeros(2, 2, 3)
    halves[0, 0, 1] = halves[1, 0, 2] = halves[1, 1, 0] = 1.0
    return halves


BAND, HALVES = _band(), _halves()


def quicken(network: nn.Module, *, channels_last: bool = False) -> nn.Module:
    """Let the 3D convolutions of `network` take the quick way; the values of its weights and their names stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = QuickConv3d
        elif type(module) is nn.ConvTranspose3d:
            module.__class__ = QuickConvTranspose3d
        if channels_last and isinstance(module, QuickConv3d | QuickConvTranspose3d):
            module.to(memory_format=torch.channels_last_3d)
    return network


class QuickConv3d(nn.Conv3d):
    """A Conv3d that gives small single cases, and single channels, to oneDNN in a form it is quick at."""

    def forward(self, x: Tensor) -> Tensor:
        if not _on_cpu(x) or self.kernel_size == (1, 1, 1) or isinstance(self.padding, str):
            return super().forward(x)
        if self._is_single_channel() and x.shape[-1] % BLOCK == 0:
            return single_channel(x, self.weight, self.bias)
        if not _is_slow(x) or self.padding_mode != "zeros":
            return super().forward(x)
        if torch.is_grad_enabled():
            return super().forward(torch.cat([x, torch.zeros_like(x)]))[:1]
        return torch.ops.aten.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )

    def _is_single_channel(self) -> bool:
        shape = (self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation)
        return shape == (1, 1, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1)) and self.padding_mode == "zeros"


class QuickConvTranspose3d(nn.ConvTranspose3d):
    """A ConvTranspose3d that gives small single cases to oneDNN."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not _on_cpu(x):
            return super().forward(x, output_size)
        if output_size is None and self._doubles_into_one():
            return doubled_into_one(x, self.weight, self.bias)
        if not _is_slow(x):
            return super().forward(x, output_size)
        return super().forward(torch.cat([x, torch.zeros_like(x)]), output_size)[:1]

    def _doubles_into_one(self) -> bool:
        shape = (self.out_channels, self.kernel_size, self.stride, self.padding, self.output_padding, self.dilation)
        return self.groups == 1 and shape == (1, (3,) * 3, (2,) * 3, (1,) * 3, (1,) * 3, (1,) * 3)


def single_channel(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, 1, I, J, K) convolved with (1, 1, 3, 3, 3), zeros around; K is a multiple of 8."""
    count, _, i, j, k = x.shape
    blocks = x.reshape(count, i, j, k // BLOCK, BLOCK).permute(0, 4, 1, 2, 3)
    banded = torch.einsum("oibt,dht->oidhb", BAND, weight[0, 0])
    out = functional.conv3d(blocks, banded, None if bias is None else bias.expand(BLOCK), padding=1)
    return out.permute(0, 2, 3, 4, 1).reshape(x.shape)


def doubled_into_one(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, I, J, K) -> (N, 1, 2I, 2J, 2K): transposed convolution with (C, 1, 3, 3, 3) and stride 2."""
    count, channels, i, j, k = x.shape
    kernels = torch.einsum("cxyz,pax,qby,rdz->pqrcabd", weight[:, 0], HALVES, HALVES, HALVES)
    padded = functional.pad(x, (0, 1, 0, 1, 0, 1))
    out = functional.conv3d(padded, kernels.reshape(8, channels, 2, 2, 2), None if bias is None else bias.expand(8))
    out = out.reshape(count, 2, 2, 2, i, j, k).permute(0, 4, 1, 5, 2, 6, 3)
    return out.reshape(count, 1, 2 * i, 2 * j, 2 * k)


def _on_cpu(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and x.ndim == 5
    return plain and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


def _is_slow(x: Tensor) -> bool:
    small = x.shape[0] == 1 and x.shape[1] * x.shape[2] * x.shape[3] <= SMALL
    return small and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
