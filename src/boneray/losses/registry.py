"""Registered losses."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from boneray.core.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: Registry[Loss] = Registry("loss", "boneray.losses", "boneray.losses")
