"""What one network shows of its inside for one case, as arrays on the voxels of each level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boneray.core.case import Case
from boneray.core.grid import Grid
from boneray.models.batch import Batch
from boneray.models.checkpoint import find_checkpoint, load_checkpoint
from boneray.models.inner_maps import Kind, inner_maps
from boneray.models.network_input import NetworkInput
from boneray.models.registry import MODELS
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.reconstruction.sides import mirrored_radiograph, other_side


@dataclass(frozen=True)
class SeenMap:
    """An inner map of one case: `values` (C, i, j, k) on the voxels of its level; see `models.inner_maps`."""

    name: str
    level: int
    kind: Kind
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Inside:
    """What one network showed for one case.

    Attributes:
        method: its name in the figures.
        model, settings, recipe: of the checkpoint; settings with their defaults.
        grid: the working grid.
        prediction: (I, J, K) in `unit`: HU, or the greatest probability of any bone.
        maps: in the order in which the network gives them.
    """

    method: str
    model: str
    settings: dict[str, Any]
    recipe: dict[str, Any]
    grid: Grid
    prediction: NDArray[np.float32]
    unit: str
    maps: tuple[SeenMap, ...]


def look_inside(checkpoint: str | Path, case: Case, *, method: str = "") -> Inside:
    """Show a case to a checkpoint, as `reconstruct` does, and keep its inner maps.

    Raises:
        ConfigError: its network has none, or the case does not fit it.
        InputError: as `load_checkpoint`.
    """
    network, card = load_checkpoint(checkpoint)

    @torch.inference_mode()
    def looking(given: NetworkInput) -> Any:
        batch = Batch.of(given)
        return network(batch), inner_maps(network, batch, model=card.model)

    reconstructor = Reconstructor(looking, card)
    reconstructor.require_anatomy(case.anatomy)
    shown, target = case.radiographs, case.target
    centre = reconstructor.centre_mm(shown, None if case.labels is None else case.labels.grid.centre_mm)
    mirrored = reconstructor.must_mirror(target)
    if mirrored:
        shown = {view: mirrored_radiograph(r, float(centre[0])) for view, r in shown.items()}
        target = other_side(target)
    (answer, found), grid = reconstructor.prediction(shown, target=target, centre_mm=centre)
    way = -1 if mirrored else 1

    def array(values: torch.Tensor) -> NDArray[np.float32]:
        return np.ascontiguousarray(values.float().numpy()[..., ::way, :, :])

    of_bones = hasattr(answer, "probabilities")
    values = answer.probabilities()[0].amax(dim=0) if of_bones else answer.hounsfield()[0]
    seen = tuple(SeenMap(m.name, m.level, m.kind, array(m.values[0])) for m in found)
    name = method or name_of(checkpoint)
    settings = MODELS.get(card.model).value.settings.model_dump() | card.settings
    return Inside(
        name, card.model, settings, card.training.get("recipe", {}), grid,
        array(values), "probability" if of_bones else "HU", seen,
    )  # fmt: skip


def name_of(checkpoint: str | Path) -> str:
    """The name of a checkpoint; of a `best` one that of its run folder, or of the cell whose `run` that is."""
    file = find_checkpoint(checkpoint)
    if file.stem not in ("best", "last"):
        return file.stem
    folder = file.resolve().parent
    return folder.parent.name if folder.name == "run" else folder.name
