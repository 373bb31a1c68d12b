"""A network run by torch: on the GPU where there is one, else on the CPU, there in bfloat16 if that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, Prediction
from boneray.models.card import CheckpointCard
from boneray.models.checkpoint import load_checkpoint
from boneray.models.network_input import NetworkInput

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


class TorchNetwork:
    """A module in evaluation mode, called with a `NetworkInput`."""

    def __init__(self, network: nn.Module, *, bf16: bool = False) -> None:
        self.network = network.eval()
        self.bf16 = bf16
        self.threads = torch.get_num_threads()
        self.device = next((p.device for p in network.parameters()), torch.device("cpu"))

    @property
    def name(self) -> str:
        """torch, torch-bf16, or torch-cuda."""
        if self.device.type != "cpu":
            return f"torch-{self.device.type}"
        return "torch-bf16" if self.bf16 else "torch"

    @torch.inference_mode()
    def __call__(self, given: NetworkInput) -> Prediction:
        """The prediction for one patient."""
        batch = Batch.of(given).to(self.device)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16 and self.device.type == "cpu"):
            return self.network(batch)


def load_torch(checkpoint: str | Path, *, bf16: bool = False) -> tuple[TorchNetwork, CheckpointCard]:
    """The network of a checkpoint with its card, on the GPU where there is one (not with `bf16`).

    Raises:
        ConfigError: bfloat16 is asked for and this CPU does not compute with it.
    """
    if bf16 and not cpu_has_bf16():
        raise ConfigError("this CPU does not compute in bfloat16; leave the runtime at auto")
    network, card = load_checkpoint(checkpoint)
    return TorchNetwork(network.to("cuda" if torch.cuda.is_available() and not bf16 else "cpu"), bf16=bf16), card


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU says that it multiplies in bfloat16."""
    try:
        lines: list[str] = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return False
    found: set[Any] = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return bool(BF16_FLAGS & found)
