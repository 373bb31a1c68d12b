"""Which grids and how many views a network takes, and one line for those it does not."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from boneray.core.errors import ConfigError
from boneray.models.batch import Batch
from boneray.models.registry import Task


def require_multiple(model: str, shape: Sequence[int], multiple: int, *, least: int = 0, what: str = "grid") -> None:
    """Raise ConfigError with the nearest valid sizes unless every edge is a multiple, and at least `least`."""
    least = max(least, multiple)
    for n in shape:
        if n % multiple or n < least:
            below = n // multiple * multiple
            near = [size for size in (below, below + multiple) if size >= least] or [least]
            raise ConfigError(
                f"{what} size {n} is not a multiple of {multiple}{f' from {least} on' if least > multiple else ''}; "
                f"{model} takes {' or '.join(map(str, near))}"
            )


def require_power_of_two(model: str, edges: Sequence[int], *, least: int) -> None:
    """Raise ConfigError with the nearest valid sizes unless every edge is a power of two, and at least `least`."""
    for n in edges:
        if n < least or n & (n - 1):
            below = 1 << (max(n, 1).bit_length() - 1)
            near = [size for size in (below, 2 * below) if size >= least] or [least]
            raise ConfigError(f"grid size {n} is not a power of two; {model} takes {' or '.join(map(str, near))}")


def require_cube(model: str, shape: Sequence[int]) -> None:
    """Raise ConfigError unless all edges are equal."""
    if len(set(shape)) > 1:
        raise ConfigError(
            f"grid {'x'.join(map(str, shape))} is not a cube; {model} takes one, for example {shape[0]}^3"
        )


def require_two_views(model: str, task: Task) -> None:
    """Raise ConfigError unless the task has two views."""
    if task.view_count != 2:
        raise ConfigError(f"{model} takes one frontal and one lateral view, {task.view_count} view(s) are asked for")


def require_views(batch: Batch, count: int | None = None) -> None:
    """Raise ConfigError unless the batch has `count` views (any number if None) and a camera for each."""
    views = batch.images.shape[1]
    if count is not None and views != count:
        raise ConfigError(f"this network was built for {count} views and got {views}; give {count}")
    cameras: tuple[Tensor | None, ...] = (batch.projections, batch.depths)
    if any(c is None or c.shape[1] != views for c in cameras):
        raise ConfigError(f"a camera is missing: {views} view(s) need as many cameras; give one for each")
