"""What a network shows of its inside: maps on the working grid, between its pictures and its answer.

A network that shows them has a method

    def inner_maps(self, batch: Batch) -> tuple[InnerMap, ...]

which names them itself, so that nobody has to know the paths of its modules. The simplest way there is a list that
`inner_maps` hands along the way of `forward`, which hands along None and so keeps and computes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from boneray.core.errors import ConfigError
from boneray.models.batch import Batch
from boneray.models.registry import MODELS

Kind = Literal["features", "attention", "difference"]


@dataclass(frozen=True)
class InnerMap:
    """One map of one level.

    Attributes:
        name: what it is, in words; maps of one name are drawn on one sheet.
        level: 1 is the first that the pictures pass.
        kind: features are any numbers, attention lies between 0 and 1, a difference has a sign.
        values: (B, C, i, j, k), covering the working grid with as many or fewer voxels.
    """

    name: str
    level: int
    kind: Kind
    values: Tensor


@runtime_checkable
class ShowsInside(Protocol):
    """A network with inner maps."""

    def inner_maps(self, batch: Batch) -> tuple[InnerMap, ...]: ...


def shows_inside(model: str) -> bool:
    """Whether the networks of a registered model have inner maps, told without building one."""
    return hasattr(MODELS.get(model).value.build, "inner_maps")


def inner_maps(network: nn.Module, batch: Batch, *, model: str) -> tuple[InnerMap, ...]:
    """The maps of a network; `model` is its name, for the error.

    Raises:
        ConfigError: it has none.
    """
    if not isinstance(network, ShowsInside):
        able = ", ".join(entry.name for entry in MODELS if shows_inside(entry.name))
        raise ConfigError(f"model {model} shows no maps of its inside; these do: {able}")
    return network.inner_maps(batch)
