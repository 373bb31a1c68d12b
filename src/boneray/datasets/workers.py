"""The same pure function on many items: here, in a pool of processes, as one part of n, or on Ray.

The results come in the order of the items, so that what is written from them does not depend on who did the work.
Nothing is imported here that computes: a process of the pool is told to use one thread before numpy, numba and their
libraries start in it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from boneray.core.errors import ConfigError, DataError
from boneray.core.registry import unknown_name

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], R]
Died = Callable[[T], R]
Done = Iterator[tuple[int, R]]

ENGINES = ("local", "ray")
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
AHEAD = 2  # items per process that wait in the queue, so that none is idle
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
    done = _on_ray(function, chosen, workers, died) if engine == "ray" else finished(function, chosen, workers, died)
    results: dict[int, R] = {}

    def in_order() -> Iterator[T]:
        waiting = 0
        try:
            for place, result in done:
                results[place] = result
                while waiting in results:
                    yield chosen[waiting]
                    waiting += 1
        finally:
            done.close()  # type: ignore[attr-defined]

    for place, item in enumerate(progress(in_order())):
        yield item, results.pop(place)


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


def finished(work: Work[T, R], items: Sequence[T], workers: int, died: Died[T, R] | None = None) -> Done[R]:
    """(place in `items`, work(item)) in the order in which they are done, in `workers` processes of this machine.

    When a process dies, the items in work are tried again, each alone; the one that kills its
    process once more gives `died(item)`.
    """
    if workers == 1:
        for place, item in enumerate(items):
            yield place, work(item)
        return
    waiting, suspects = deque(range(len(items))), deque[int]()
    while waiting or suspects:
        alone = bool(suspects)
        queue, at_once = (suspects, 1) if alone else (waiting, AHEAD * workers)
        in_work: dict[Future[R], int] = {}
        count = 1 if alone else min(workers, len(waiting))
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin)
        try:
            with _one_thread():
                while queue or in_work:
                    while queue and len(in_work) < at_once:
                        in_work[pool.submit(work, items[queue[0]])] = queue[0]
                        queue.popleft()
                    for future in wait(in_work, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield in_work.pop(future), result
        except BrokenProcessPool:
            left = sorted(in_work.values())
            if alone:
                yield from ((place, _lost(items[place], died)) for place in left)
            else:
                suspects.extend(left)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _lost(item: T, died: Died[T, R] | None) -> R:
    if died is None:
        raise DataError(f"the process working on {item!r:.200} was killed twice (out of memory?); use fewer workers")
    return died(item)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started meanwhile compute with one thread, also if their main module imports numpy first."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin() -> None:
    """A process of the pool: one thread, deaf to Ctrl-C (its parent is not), gone when its parent is."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    """Without this a process whose parent was killed would wait for work for ever."""
    connection.wait([sentinel])
    os._exit(1)


def _on_ray(work: Work[T, R], items: Sequence[T], workers: int, died: Died[T, R] | None) -> Done[R]:
    """As `finished`, as tasks of one core each on the Ray cluster of RAY_ADDRESS, else on a local one made for this."""
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
                    result = _lost(items[place], died)
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
