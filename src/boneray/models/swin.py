"""The 2D Swin transformer, with the names of its published checkpoints.

Liu et al., "Swin transformer: hierarchical vision transformer using shifted windows", ICCV 2021.
Written from the paper; parameters are named and ordered as in the checkpoints of the paper's authors
and of timm (see `pretrained_swin.py`), so that those can be loaded. A map that is no multiple of the
window is padded with zeros. Where the whole map fits into one window it is not shifted, because a
shift would only cut it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4
WINDOW = 7


class Swin(nn.Module):
    """(N, C, a, b) pictures -> maps (N, C_i, a_i, b_i) from fine to coarse, each through its own layer norm.

    With `merged` the maps are those after the patch embedding and after the merging that follows
    every stage, the last one too: width * (1, 2, 4, 8, 16). Otherwise they are those at the end of
    each stage, and the last stage is not merged: width * (1, 2, 4, 8).
    """

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        patch: int,
        window: int = WINDOW,
        path_drop: float = 0.2,
        merged: bool,
    ) -> None:
        super().__init__()
        self.merged = merged
        self.width = width
        self.patch_embed = PatchEmbedding(channels, width, patch)
        blocks = sum(depths)
        rates = [path_drop * n / max(1, blocks - 1) for n in range(blocks)]
        stages, widths = [], [width] if merged else []
        for n, (depth, head_count) in enumerate(zip(depths, heads, strict=True)):
            here, rates = rates[:depth], rates[depth:]
            last = n == len(depths) - 1
            stages.append(Stage(width << n, head_count, window, here, merge=merged or not last))
            widths.append(width << (n + 1 if merged else n))
        self.layers = nn.ModuleList(stages)
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in widths)
        self.apply(_start)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed(images)
        maps = [x] if self.merged else []
        for stage in self.layers:
            before, x = stage(x)
            maps.append(x if self.merged else before)
        return [norm(m).permute(0, 3, 1, 2) for norm, m in zip(self.norms, maps, strict=True)]


class PatchEmbedding(nn.Module):
    """(N, C, a, b) -> (N, a / patch, b / patch, width), normalised."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks, every second one with shifted windows, then 2x2 tokens merged into one."""

    def __init__(self, width: int, heads: int, window: int, rates: list[float], *, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, window, shifted=bool(n % 2), path_drop=rate) for n, rate in enumerate(rates)
        )
        self.downsample = Merging(width) if merge else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Before and after the merging (twice the same without one)."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class Merging(nn.Module):
    """(N, a, b, C) -> (N, a/2, b/2, 2C); an odd edge is padded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, a::2, b::2] for b in (0, 1) for a in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Block(nn.Module):
    """Attention within windows, then a perceptron, each with a residual that is dropped at times in training."""

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool, path_drop: float) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.path_drop = path_drop
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self._attend(self.norm1(x)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        count, a, b, width = x.shape
        w = self.window
        shift = (self.shift if a > w else 0, self.shift if b > w else 0)
        padded_a, padded_b = -(-a // w) * w, -(-b // w) * w
        x = functional.pad(x, (0, 0, 0, padded_b - b, 0, padded_a - a))
        x = torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2)) if any(shift) else x
        tiles = x.reshape(count, padded_a // w, w, padded_b // w, w, width).transpose(2, 3)
        mask = separated((padded_a, padded_b), w, shift, x) if any(shift) else None
        tiles = self.attn(tiles.reshape(-1, w * w, width), mask)
        x = tiles.reshape(count, padded_a // w, padded_b // w, w, w, width).transpose(2, 3)
        x = x.reshape(count, padded_a, padded_b, width)
        x = torch.roll(x, shift, dims=(1, 2)) if any(shift) else x
        return x[:, :a, :b]

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or self.path_drop == 0.0:
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.path_drop
        return x * (kept / (1.0 - self.path_drop)).to(x.dtype)


class WindowAttention(nn.Module):
    """(windows, tokens, C) -> same; heads with a learnt bias for every relative position."""

    index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("index", relative_index(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(windows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.index.flatten()].reshape(tokens, tokens, self.heads)
        bias = bias.permute(2, 0, 1)[None].to(q.dtype)
        if mask is not None:
            bias = (bias + mask[:, None].to(q.dtype)).repeat(windows // len(mask), 1, 1, 1)
        x = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(windows, tokens, width))


class Perceptron(nn.Module):
    """Two layers with GELU in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


def relative_index(window: int) -> Tensor:
    """(tokens, tokens) row of the bias table for query and key; row = (da + w - 1) (2w - 1) + (db + w - 1)."""
    steps = torch.arange(window)
    a, b = (m.flatten() for m in torch.meshgrid(steps, steps, indexing="ij"))
    far = window - 1
    return (a[:, None] - a[None] + far) * (2 * window - 1) + (b[:, None] - b[None] + far)


def separated(size: tuple[int, int], window: int, shift: tuple[int, int], like: Tensor) -> Tensor:
    """(windows, tokens, tokens) minus infinity between tokens that a shift brought together from opposite edges."""
    wrapped = []
    for n, s in zip(size, shift, strict=True):
        place = torch.arange(n, device=like.device)
        wrapped.append((place >= n - s).long() if s else torch.zeros_like(place))
    region = 2 * wrapped[0][:, None] + wrapped[1][None]
    a, b = size[0] // window, size[1] // window
    tiles = region.reshape(a, window, b, window).transpose(1, 2).reshape(a * b, window * window)
    apart = tiles[:, :, None] != tiles[:, None]
    return torch.zeros(apart.shape, device=like.device, dtype=like.dtype).masked_fill(apart, float("-inf"))


def _start(module: nn.Module) -> None:
    """The published initialisation: normal with SD 0.02 for weights and bias tables, no offset."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
