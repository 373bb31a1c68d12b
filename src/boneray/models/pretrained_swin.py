"""Swin checkpoints trained on photographs, for our 2D Swin: nothing is left out without a word.

Names are those of timm (`layers.N.downsample` merges before stage N) or of the paper's authors (it
merges after stage N); the first of the two is told by the lack of `layers.0.downsample`. Files are
.safetensors, as timm publishes them.

The first layer was made for three colours and, in most checkpoints, for patches of 4 pixels:

    grey       colours summed, pixels summed in blocks: what the network would have seen of a grey
               picture enlarged to its patch size
    published  every second pixel, colours repeated and cut to the number of channels, as Swin-X2S did
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError, InputError
from boneray.models.swin import Swin
from boneray.models.transfer import Transfer, read_weights, transfer

Adaptation = Literal["grey", "published"]
COMPUTED = ("relative_position_index", "attn_mask")
FIRST = "patch_embed.proj.weight"
TABLE = "relative_position_bias_table"


def load_pretrained_swin(swin: Swin, file: Path, *, adaptation: Adaptation = "grey") -> Transfer:
    """Start `swin` from a published checkpoint.

    Args:
        file: .safetensors with timm's names, also below a prefix such as `model.`.
    Raises:
        InputError: no readable file, or no Swin in it.
        ConfigError: a Swin of another width or other heads.
    """
    state = our_names(read_weights(file), merged=swin.merged, stages=len(swin.layers))
    if FIRST not in state:
        raise InputError(f"weights {file} hold no Swin transformer: {FIRST} is missing")
    _require_same_width(swin, state, file)

    def adapt(name: str, there: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str] | None:
        if name == FIRST:
            return adapted_patch(there, shape, adaptation)
        if name.endswith(TABLE):
            return resampled_table(there, shape)
        return None

    return transfer(swin, state, adapt)


def our_names(state: dict[str, Tensor], *, merged: bool, stages: int) -> dict[str, Tensor]:
    """Weights by our names; what can be computed (indices, masks) is left out."""
    prefix = next((name.removesuffix(FIRST) for name in state if name.endswith(FIRST)), "")
    out = {name.removeprefix(prefix): value for name, value in state.items()}
    before = not any(name.startswith("layers.0.downsample.") for name in out)
    named = {}
    for name, value in out.items():
        if name.endswith(COMPUTED):
            continue
        if before:
            name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m[1]) - 1}.downsample.", name)
        if not merged:
            name = re.sub(r"^norm\.", f"norms.{stages - 1}.", name)
        named[name] = value
    return named


def adapted_patch(weight: Tensor, shape: tuple[int, ...], adaptation: Adaptation) -> tuple[Tensor, str] | None:
    """The first layer for other channels and a patch that divides its own; see the file's head."""
    channels, patch = shape[1], shape[2]
    if weight.shape[2] % patch or shape[0] != weight.shape[0]:
        return None
    step = weight.shape[2] // patch
    if adaptation == "published":
        repeated = weight[:, :, ::step, ::step].repeat(1, math.ceil(channels / weight.shape[1]), 1, 1)
        return repeated[:, :channels], f"every {step}. pixel taken, colours repeated and cut to {channels}"
    grey = functional.avg_pool2d(weight.sum(dim=1, keepdim=True), step, divisor_override=1)
    return grey.repeat(1, channels, 1, 1) / channels, f"colours summed, blocks of {step}x{step} pixels summed"


def resampled_table(table: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str] | None:
    """Biases of relative positions for another window, interpolated between the old positions."""
    if table.shape[1] != shape[1]:
        return None
    old, new = math.isqrt(table.shape[0]), math.isqrt(shape[0])
    square = table.T.reshape(1, -1, old, old)
    resized = functional.interpolate(square, size=(new, new), mode="bicubic", align_corners=True)
    return resized.reshape(shape[1], -1).T, f"interpolated from windows of {(old + 1) // 2} to {(new + 1) // 2}"


def _require_same_width(swin: Swin, state: dict[str, Tensor], file: Path) -> None:
    width = state[FIRST].shape[0]
    if width != swin.width:
        raise ConfigError(f"weights {file} are of a Swin of width {width}; take one of width {swin.width}")
    own = swin.state_dict()
    for name, value in state.items():
        if name.endswith(TABLE) and name in own and value.shape[1] != own[name].shape[1]:
            raise ConfigError(
                f"weights {file} have {value.shape[1]} heads in {name.split('.attn')[0]}, this network "
                f"{own[name].shape[1]}; take a Swin with the same heads"
            )
