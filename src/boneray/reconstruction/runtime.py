"""What runs a network: ONNX Runtime on the CPU where it and the exported file are there, otherwise torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name
from boneray.models.card import CheckpointCard, find_checkpoint
from boneray.models.network_input import NetworkInput
from boneray.reconstruction.onnx_runtime import is_installed, load_onnx, onnx_file

RUNTIMES = ("auto", "onnx", "torch", "torch-bf16")
Network = Callable[[NetworkInput], Any]


def load_network(checkpoint: str | Path, runtime: str = "auto") -> tuple[Network, CheckpointCard]:
    """A checkpoint, ready to be called, with its card.

    Args:
        checkpoint: a name, a .safetensors or .onnx file, or a run folder.
        runtime: auto (a GPU with torch, else ONNX Runtime, else torch), onnx, torch or torch-bf16.
    Raises:
        ConfigError: no such runtime, or it cannot run this checkpoint.
        InputError: as `find_checkpoint`.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(unknown_name("runtime", runtime, list(RUNTIMES)))
    file = find_checkpoint(checkpoint)
    if file.suffix == ".onnx":
        if runtime in ("torch", "torch-bf16"):
            raise ConfigError(f"checkpoint {file} is an ONNX file; give the .safetensors file for {runtime}")
        return load_onnx(file)
    exported = onnx_file(file) if runtime in ("auto", "onnx") else None
    if runtime == "onnx" and exported is None:
        raise ConfigError(
            f"there is no ONNX file of checkpoint {checkpoint}; make one with: boneray export {checkpoint} --out "
            f"{file.with_suffix('.onnx')}"
        )
    if exported is not None and (runtime == "onnx" or (is_installed() and not has_gpu())):
        return load_onnx(exported, lambda: _torch(file)[0])
    return _torch(file, bf16=runtime == "torch-bf16")


def _torch(file: Path, *, bf16: bool = False) -> tuple[Network, CheckpointCard]:
    from boneray.reconstruction.torch_runtime import load_torch

    return load_torch(file, bf16=bf16)


def has_gpu() -> bool:
    """Whether torch sees a GPU; it is only asked where a driver is there, since asking takes seconds."""
    if not Path("/dev/nvidiactl").exists() and sys.platform == "linux":
        return False
    import torch

    return bool(torch.cuda.is_available())


def versions() -> dict[str, str]:
    """Of boneray and of what computes, without loading any of it."""
    found = {}
    for package in ("boneray", "numpy", "scipy", "onnxruntime", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
