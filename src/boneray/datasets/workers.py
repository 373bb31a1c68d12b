"""The same pure function on many items: here, in a pool of processes, as one part of n, or on Ray.

The results come in the order of the items, so that what is written from them does not depend on who did the work.
Nothing is imported here that computes: a process of the pool is told to use one thread before numpy, numba and their
libraries start in it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from boneray.core.errors import ConfigError
from boneray.core.registry import unknown_name
from boneray.core.workers import AHEAD, THREADS, lost, results

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], R]
Died = Callable[[T], R]
Done = Iterator[tuple[int, R]]

ENGINES = ("local", "ray")
TRIES = 2  # of an item whose worker died, on Ray
STORE_BYTES = 100 * 2**20  # Ray's shared memory: items and rows are small


def run_cases(
    function: Work[T, R],
    items: Sequence[T],
    *,
    workers: int = 1,
    engine: str = "local",
    part: tuple[int, int] | None = None,
    died: Died[T, R] | None = None,
    progress: Callable[[Iterator[T]], Iterator[T]] = iter,
) -> Iterator[tuple[T, R]]:
    """(item, function(item)) in the order of the items.

    Args:
        function: depends on its item alone and can be called twice; with several workers it and the
            items must be picklable (module-level functions, `functools.partial`, plain data).
        workers: processes; 1 works in this one. On Ray, 0 takes what the cluster has.
        engine: `local`, or `ray` (extra `scale`) on the cluster it finds, else on this machine.
        part: (i, n), the i-th of n equal shares, counted from 1: `items[i - 1 :: n]`.
        died: result of an item whose process was killed, also when it was tried alone (for its
            memory, say); without it that is a DataError.
        progress: wraps the iterator of done items.
    Raises:
        ConfigError: unknown engine, fewer than one worker, or a part that is none.
        whatever `function` raises.
    """
    if engine not in ENGINES:
        raise ConfigError(unknown_name("engine", engine, list(ENGINES)))
    if workers < (0 if engine == "ray" else 1):
        raise ConfigError(f"{workers} workers cannot work; give 1 or more")
    chosen = list(items) if part is None else share(items, part)
    ray = engine == "ray"
    done = _on_ray(function, chosen, workers, died) if ray else results(function, chosen, workers=workers, died=died)
    ready: dict[int, R] = {}

    def in_order() -> Iterator[T]:
        waiting = 0
        try:
            for place, result in done:
                ready[place] = result
                while waiting in ready:
                    yield chosen[waiting]
                    waiting += 1
        finally:
            done.close()  # type: ignore[attr-defined]

    for place, item in enumerate(progress(in_order())):
        yield item, ready.pop(place)


def share(items: Sequence[T], part: tuple[int, int]) -> list[T]:
    """The i-th of n shares of the items, `part` = (i, n) counted from 1.

    Raises:
        ConfigError: i does not lie in 1..n.
    """
    i, n = part
    if not 1 <= i <= n:
        raise ConfigError(f"part {i}/{n} does not exist; parts go from 1/{n} to {n}/{n}")
    return list(items[i - 1 :: n])


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) of `i/n`."""
    left, _, right = text.partition("/")
    if not (left.isdecimal() and right.isdecimal()):
        raise ConfigError(f"part '{text}' must be i/n, such as 1/8")
    share((), (int(left), int(right)))
    return int(left), int(right)


def _on_ray(work: Work[T, R], items: Sequence[T], workers: int, died: Died[T, R] | None) -> Done[R]:
    """As `results`, as tasks of one core each on the Ray cluster of RAY_ADDRESS, else on a local one made for this."""
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        start: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        if not os.environ.get("RAY_ADDRESS"):
            start |= {"num_cpus": workers or None, "object_store_memory": STORE_BYTES}
        ray.init(**start, runtime_env={"env_vars": dict.fromkeys(THREADS, "1")})
    try:
        task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_call)
        at_once = AHEAD * max(1, workers or int(ray.cluster_resources().get("CPU", 1)))
        in_work: dict[Any, int] = {}
        waiting = deque(range(len(items)))
        while waiting or in_work:
            while waiting and len(in_work) < at_once:
                in_work[task.remote(work, items[waiting[0]])] = waiting[0]
                waiting.popleft()
            for reference in ray.wait(list(in_work), num_returns=1)[0]:
                place = in_work.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                    result = lost(items[place], died)
                yield place, result
    finally:
        if ours:
            ray.shutdown()


def _call(work: Work[T, R], item: T) -> R:
    return work(item)  # Ray takes functions alone: neither builtins nor partials


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError("engine ray needs the package ray; install it with: pip install 'boneray[scale]'") from None
    return ray
