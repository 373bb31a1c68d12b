"""Weights from one network into another: what fits is copied, everything else is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from boneray.core.errors import InputError
from boneray.io.files import require_file

Adapt = Callable[[str, Tensor, tuple[int, ...]], tuple[Tensor, str] | None]


@dataclass(frozen=True)
class Transfer:
    """What became of the weights of a file.

    Attributes:
        copied: names that were copied as they are.
        adapted: sentences on weights that were copied with a change.
        misfits: sentences on weights of the same name and another shape; here they start anew.
        anew: names that only the network has; they start anew.
        unused: names that only the file has.
    """

    copied: tuple[str, ...]
    adapted: tuple[str, ...]
    misfits: tuple[str, ...]
    anew: tuple[str, ...]
    unused: tuple[str, ...]

    def lines(self) -> list[str]:
        """All of it as sentences; long lists of names are shortened to their common beginnings, with counts."""
        out = [f"{len(self.copied)} weights copied as they are", *self.adapted, *self.misfits]
        out += [f"starts anew: {text}" for text in grouped(self.anew)]
        out += [f"not used: {text}" for text in grouped(self.unused)]
        return out


def transfer(network: nn.Module, state: dict[str, Tensor], adapt: Adapt = lambda *_: None) -> Transfer:
    """Copy the weights of `state` that fit into `network`.

    Args:
        adapt: (name, weight of the file, shape here) -> a weight of that shape and a sentence on
            what was done, or None if nothing can be done.
    """
    own = network.state_dict()
    copied, adapted, misfits, anew = [], [], [], []
    with torch.no_grad():
        for name, here in own.items():
            if name not in state:
                anew.append(name)
                continue
            there = state[name]
            if there.shape == here.shape:
                here.copy_(there)
                copied.append(name)
                continue
            change = adapt(name, there.float(), tuple(here.shape))
            if change is None:
                misfits.append(f"{name}: {tuple(there.shape)} in the file, {tuple(here.shape)} here; starts anew")
                continue
            here.copy_(change[0])
            adapted.append(f"{name}: {tuple(there.shape)} in the file, {tuple(here.shape)} here; {change[1]}")
    unused = [name for name in state if name not in own]
    return Transfer(tuple(copied), tuple(adapted), tuple(misfits), tuple(anew), tuple(unused))


def initialise_from(network: nn.Module, file: Path) -> Transfer:
    """Start `network` from the weights of another checkpoint; every change of shape is told.

    Raises:
        InputError: no such file, no .safetensors file, or nothing in it fits.
    """
    done = transfer(network, read_weights(file))
    if not done.copied:
        raise InputError(f"checkpoint {file} has no weight that fits this network; start from one of the same model")
    return done


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights of a .safetensors file by name.

    Raises:
        InputError: not there, of another format (which could run code), or damaged.
    """
    if file.suffix != ".safetensors":
        raise InputError(f"weights {file} are no .safetensors file; other formats can run code and are refused")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(require_file(file, "weights"))
    except (SafetensorError, ValueError) as error:
        raise InputError(f"weights {file} cannot be read: {str(error).splitlines()[0]}") from None


def grouped(names: tuple[str, ...]) -> list[str]:
    """Names, those of one module in one text with their number."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        groups.setdefault(".".join(parts[: min(len(parts) - 1, 3)]) or name, []).append(name)
    return [many[0] if len(many) == 1 else f"{head}.* ({len(many)})" for head, many in groups.items()]
