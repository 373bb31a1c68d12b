"""Pre-training of the encoder of 3DDX without any label: what was hidden of a picture is to be painted in.

He et al. 2022, Masked autoencoders, which 3DDX names for its best run without saying how it is done for a
convolutional encoder. Decided here: squares of 32 pixels (one cell of the encoder's last stage), three
quarters of them hidden by the picture's mean (0 after standardising); the decoder is one 1x1 convolution
from the last stage to the pixels of each square; the loss is the squared error of hidden squares only,
each standardised by itself. The decoder is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.core.errors import DataError
from boneray.core.seeds import derived_seed
from boneray.io.files import write_atomic
from boneray.models.nfnet import NFNet
from boneray.models.sizes import require_multiple

PATCH = 32


class PretrainSettings(Settings):
    """`ratio` of hidden squares, optimiser steps, batch and rate (AdamW, cosine to zero)."""

    ratio: float = Field(0.75, gt=0, lt=1)
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0)


PLAIN = PretrainSettings()


class MaskedPictures(nn.Module):
    """An encoder with the decoder it is pre-trained with; `forward` gives the loss of pictures (B, C, H, W)."""

    def __init__(self, encoder: NFNet, channels: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.Conv2d(width, channels * PATCH * PATCH, 1)

    def forward(self, pictures: Tensor, hidden: Tensor) -> Tensor:
        """Mean squared error of the hidden squares; `hidden`: (B, H / 32, W / 32) bool."""
        wide = hidden.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
        painted = self.decoder(self.encoder.features(pictures.masked_fill(wide, 0.0))[-1])
        squares = functional.pixel_unshuffle(pictures, PATCH)  # (B, C 32^2, H / 32, W / 32)
        mean, spread = squares.mean(1, keepdim=True), squares.std(1, keepdim=True)
        error = (painted - (squares - mean) / (spread + 1e-3)).square().mean(1)
        return error[hidden].mean()


def hidden_squares(shape: tuple[int, int, int], ratio: float, draw: torch.Generator) -> Tensor:
    """(B, rows, columns) bool with the same number of hidden squares in every picture, one at least, not all."""
    count, rows, columns = shape
    squares = rows * columns
    least = min(squares - 1, max(1, round(ratio * squares)))
    order = torch.rand(count, squares, generator=draw).argsort(1)
    return (order < least).reshape(shape)


def pretrain(
    encoder: NFNet,
    pictures: Tensor,
    settings: PretrainSettings = PLAIN,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> list[float]:
    """Pre-train an encoder in place on standardised pictures (N, C, H, W); the loss of every step.

    Raises:
        ConfigError: the edge of the pictures is no multiple of 32; DataError: fewer than four squares.
    """
    require_multiple("pre-training", pictures.shape[-2:], PATCH, what="picture")
    rows, columns = (edge // PATCH for edge in pictures.shape[-2:])
    if rows * columns < 4 or not len(pictures):
        raise DataError(
            f"{len(pictures)} pictures of {rows * columns} squares; give some of at least 64 pixels an edge"
        )
    draw = torch.Generator().manual_seed(derived_seed(seed, "pretraining"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "decoder"))
        widths = encoder.stages[-1][-1].conv3.out_channels  # type: ignore[index, union-attr]
        network = MaskedPictures(encoder, pictures.shape[1], int(widths)).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    losses = []
    for step in range(settings.steps):
        chosen = torch.randint(len(pictures), (settings.batch_size,), generator=draw)
        hidden = hidden_squares((settings.batch_size, rows, columns), settings.ratio, draw)
        loss = network(pictures[chosen], hidden)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % max(1, settings.steps // 10) == 0:
            say(f"step {step + 1}: loss {losses[-1]:.3f}")
    return losses


def write_encoder(path: Path, encoder: NFNet) -> Path:
    """Write an encoder as .safetensors; `model.pretrained` of depth_3ddx starts from it."""
    state = {name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
    return write_atomic(path, lambda file: file.write_bytes(save(state)))
