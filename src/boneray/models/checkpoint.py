"""A checkpoint: one safetensors file and one JSON beside it. That alone is enough for inference.

NAME.safetensors   weights; never a pickle
NAME.json          model, settings, anatomy, classes, grid, pictures, versions, licence, SHA-256
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

from boneray import __version__
from boneray.core.config import load_settings
from boneray.core.errors import InputError
from boneray.io.files import require_new_file, write_atomic, write_json
from boneray.models.card import SCHEMA, TARGET, CheckpointCard, find_checkpoint, read_card, read_card_file
from boneray.models.checkpoint_names import PACKAGED, packaged_checkpoints
from boneray.models.cpu_convolution import quicken
from boneray.models.registry import MODELS

__all__ = [
    "PACKAGED",
    "TARGET",
    "CheckpointCard",
    "build_network",
    "find_checkpoint",
    "load_checkpoint",
    "pack_checkpoint",
    "packaged_checkpoints",
    "read_card",
    "save_checkpoint",
]

KEPT_WHOLE = ("running", "scale_hu")  # buffers that 16 bits would spoil


def build_network(card: CheckpointCard) -> nn.Module:
    """The untrained network a card describes."""
    spec = MODELS.get(card.model).value
    settings = load_settings(type(spec.settings), base={**spec.settings.model_dump(), **card.settings})
    return quicken(spec.build(settings, card.task), channels_last=spec.channels_last)


def save_checkpoint(path: Path, network: nn.Module, card: CheckpointCard, *, half: bool = False) -> Path:
    """Write `path` (.safetensors) and its JSON; `half` stores floating weights in 16 bits."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {
            name: value if value.dtype != torch.float32 or any(kept in name for kept in KEPT_WHOLE) else value.half()
            for name, value in state.items()
        }
    raw = save(state)
    write_atomic(path, lambda file: file.write_bytes(raw))
    values = {
        "schema": SCHEMA,
        **vars(card),
        "parameters": sum(p.numel() for p in network.parameters()),
        "versions": _versions(),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    write_json(path.with_suffix(".json"), values)
    return path


def load_checkpoint(name_or_file: str | Path) -> tuple[nn.Module, CheckpointCard]:
    """The network in evaluation mode with its card.

    Args:
        name_or_file: a packaged name (`boneray list checkpoints`), a .safetensors file, or a run
            folder (its best checkpoint).
    Raises:
        InputError: not there, damaged (SHA-256), or weights that do not fit the card.
        ConfigError: a model or anatomy this boneray does not know.
    """
    file = find_checkpoint(name_or_file)
    if file.suffix == ".onnx":
        raise InputError(f"checkpoint {file} is an ONNX file, which torch does not load; give the .safetensors file")
    card, digest = read_card_file(file.with_suffix(".json"))
    raw = file.read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise InputError(f"checkpoint {file} is damaged: its SHA-256 differs from the one in its JSON; fetch it again")
    from safetensors import SafetensorError
    from safetensors.torch import load

    network = build_network(card)
    try:
        network.load_state_dict(load(raw))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise InputError(f"checkpoint {file} does not fit model {card.model}: {str(error).splitlines()[0]}") from None
    return network.eval(), card


def pack_checkpoint(source: str | Path, out: Path, *, force: bool = False) -> Path:
    """Write the checkpoint behind `source` to `out` with 16-bit weights.

    Raises:
        InputError: `out` is no .safetensors file, or exists and `force` is not given.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"output {out} must end in .safetensors")
    require_new_file(out, force=force)
    return save_checkpoint(out, *load_checkpoint(source), half=True)


def _versions() -> dict[str, str]:
    out = {"boneray": __version__}
    for package in ("torch", "numpy", "monai", "lightning"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = "absent"
    return out
