"""A network as an ONNX file, run by ONNX Runtime on the CPU: the default where both are there. Needs no torch.

The file is made by `boneray export` (ours come with boneray) and holds one case with the views the checkpoint was
trained with. Where another number of views is given, the checkpoint itself is loaded with torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import ConfigError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.io.files import read_json
from boneray.models.card import CheckpointCard, card_file, read_card_file
from boneray.models.network_input import NetworkInput


@dataclass(frozen=True)
class Scores:
    """Scores per voxel: `logits` (1, 1, I, J, K) of one class, or (1, C + 1, I, J, K) with background first."""

    logits: NDArray[np.float32]

    def to_labels(self, grid: Grid, bone_ids: tuple[int, ...]) -> list[LabelMap]:
        """One label map; class c becomes `bone_ids[c - 1]`."""
        table = np.array((0, *bone_ids), dtype=np.uint8)
        if self.logits.shape[1] == 1:
            classes = (self.logits[:, 0] > 0).astype(np.uint8)
        else:
            classes = self.logits.argmax(axis=1).astype(np.uint8)
        return [LabelMap(table[case], grid) for case in classes]


class OnnxNetwork:
    """A loaded ONNX file, called with a `NetworkInput`.

    `fallback` gives the network that answers where the number of views is another; None if there is none.
    """

    name = "onnx"

    def __init__(self, raw: bytes, *, threads: int | None = None, fallback: Callable[[], Any] | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads = threads or cpu_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        self._shapes = {one.name: tuple(one.shape) for one in self._session.get_inputs()}
        self._fallback = fallback
        self._other: Callable[[NetworkInput], Any] | None = None

    def __call__(self, given: NetworkInput) -> Any:
        """The scores of one patient."""
        values = {name: getattr(given, name) for name in self._shapes}
        if any(values[name].shape != shape for name, shape in self._shapes.items()):
            return self._elsewhere(given)
        return Scores(self._session.run(None, values)[0])

    def _elsewhere(self, given: NetworkInput) -> Any:
        if self._fallback is None:
            views = self._shapes["images"][1] if "images" in self._shapes else "other"
            raise ConfigError(
                f"this ONNX file takes {views} views and got {given.images.shape[1]}; give that number of radiographs, "
                "or the .safetensors file"
            )
        other = self._other = self._other or self._fallback()
        return other(given)


def onnx_file(checkpoint: Path) -> Path | None:
    """The ONNX file that was made of this very .safetensors file; None if there is none beside it."""
    file = checkpoint.with_suffix(".onnx")
    about = card_file(file)
    if not file.is_file() or not about.is_file():
        return None
    facts = read_json(about, "ONNX description")
    stated = read_json(checkpoint.with_suffix(".json"), "checkpoint description").get("sha256")
    return file if facts.get("made_of") == stated and facts.get("kind") == "labels" else None


def load_onnx(file: Path, fallback: Callable[[], Any] | None = None) -> tuple[OnnxNetwork, CheckpointCard]:
    """The network in an ONNX file that `boneray export` wrote, with its card.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        InputError: damaged (SHA-256), or no file of ours.
    """
    if not is_installed():
        raise ConfigError("running ONNX files needs onnxruntime; install it with: pip install 'boneray[onnx]'")
    card, digest = read_card_file(card_file(file))
    kind = read_json(card_file(file), "ONNX description").get("kind")
    if kind != "labels":
        raise ConfigError(f"checkpoint {file} gives {kind}, not scores of labels; give the .safetensors file")
    raw = file.read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise InputError(f"checkpoint {file} is damaged: its SHA-256 differs from the one in its JSON; export it again")
    return OnnxNetwork(raw, fallback=fallback), card


def is_installed() -> bool:
    """Whether ONNX Runtime is there."""
    return find_spec("onnxruntime") is not None


def cpu_threads() -> int:
    """Cores this process may use, or OMP_NUM_THREADS where that is fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(stated))) if stated.isdigit() and int(stated) > 0 else cores
