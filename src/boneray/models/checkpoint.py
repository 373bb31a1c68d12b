"""A checkpoint: one safetensors file and one JSON beside it. That alone is enough for inference.

NAME.safetensors   weights; never a pickle
NAME.json          model, settings, anatomy, classes, grid, pictures, versions, licence, SHA-256
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from boneray import __version__
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.config import load_settings
from boneray.core.errors import ConfigError, InputError
from boneray.core.grid import Grid
from boneray.core.registry import unknown_name
from boneray.io.files import read_json, require_file, require_new_file, write_atomic, write_json
from boneray.models.cpu_convolution import quicken
from boneray.models.registry import MODELS, Task

SCHEMA = "boneray/checkpoint/1"
PACKAGED = Path(__file__).parent / "weights"
TARGET = "target"


@dataclass(frozen=True)
class CheckpointCard:
    """All that is known of a checkpoint besides its weights.

    Attributes:
        model: registered name.
        settings: of the model.
        anatomy: what it reconstructs.
        classes: bone names in class order; ("target",) for a one-bone anatomy, where the case
            says which bone it is.
        grid_shape, grid_size_mm: working grid, centred where the case's grid is.
        image_shape: pictures (H, W) as the network sees them.
        views: names of the views it was trained with.
        data_licence: of the training data.
        training: recipe, seed, steps, data name, split hash, validation score.
    """

    model: str
    settings: dict[str, Any]
    anatomy: str
    classes: tuple[str, ...]
    grid_shape: tuple[int, int, int]
    grid_size_mm: tuple[float, float, float]
    image_shape: tuple[int, int]
    views: tuple[str, ...]
    data_licence: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What the network is built for."""
        return Task(tuple(self.grid_shape), tuple(self.image_shape), len(self.classes), len(self.views))  # type: ignore[arg-type]

    def grid_at(self, centre_mm: Any) -> Grid:
        """The working grid about a centre, axis-aligned RAS."""
        spacing = [size / n for size, n in zip(self.grid_size_mm, self.grid_shape, strict=True)]
        origin = [c - s * (n - 1) / 2 for c, s, n in zip(centre_mm, spacing, self.grid_shape, strict=True)]
        return Grid(self.grid_shape, tuple(spacing), tuple(origin))  # type: ignore[arg-type]


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
            name: value.half() if value.dtype == torch.float32 and "running" not in name else value
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
    card, digest = _read_card(file.with_suffix(".json"))
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


def find_checkpoint(name_or_file: str | Path) -> Path:
    """The .safetensors file behind a packaged name, a file or a run folder."""
    path = Path(name_or_file)
    if path.is_dir():
        return require_file(path / "best.safetensors", "checkpoint")
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if path.suffix == ".safetensors" or path.exists():
        file = require_file(path, "checkpoint")
        if file.suffix != ".safetensors":
            raise InputError(
                f"checkpoint {file} is not a .safetensors file; other formats can run code and are refused"
            )
        return file
    packaged = PACKAGED / f"{name_or_file}.safetensors"
    if packaged.is_file():
        return packaged
    known = packaged_checkpoints()
    raise ConfigError(
        unknown_name("checkpoint", str(name_or_file), known) if known else f"no checkpoint {name_or_file}"
    )


def packaged_checkpoints() -> list[str]:
    """Names of the checkpoints that come with boneray."""
    return sorted(file.stem for file in PACKAGED.glob("*.safetensors"))


def read_card(name_or_file: str | Path) -> CheckpointCard:
    """The card alone, without reading the weights."""
    return _read_card(find_checkpoint(name_or_file).with_suffix(".json"))[0]


def _read_card(file: Path) -> tuple[CheckpointCard, str]:
    values = read_json(file, "checkpoint description")
    if values.get("schema") != SCHEMA:
        raise InputError(f"checkpoint description {file} has schema {values.get('schema')!r}; {SCHEMA!r} is needed")
    try:
        fields: dict[str, Any] = {k: values[k] for k in CheckpointCard.__dataclass_fields__}
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        card = CheckpointCard(**fields)
        find_anatomy(card.anatomy)
        return card, str(values["sha256"])
    except (KeyError, TypeError) as error:
        raise InputError(f"checkpoint description {file} lacks or misuses {error}") from None


def _versions() -> dict[str, str]:
    out = {"boneray": __version__}
    for package in ("torch", "numpy", "monai", "lightning"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = "absent"
    return out
