"""The same work on many items in several processes: one thread each, and one that dies costs one item.

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
from typing import TypeVar

from boneray.core.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
AHEAD = 2  # items per process that wait in the queue, so that none is idle
WORTH_A_PROCESS = 16  # items; a process takes a second or two to start


def worker_count(items: int, wanted: int | None = None) -> int:
    """Processes for so many items: as many as wanted, else one per usable core where that pays."""
    if wanted is not None:
        return max(1, min(wanted, items))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, items // WORTH_A_PROCESS))


def results(
    work: Callable[[T], R], items: Sequence[T], *, workers: int, died: Callable[[T], R] | None = None
) -> Iterator[tuple[int, R]]:
    """(place in `items`, work(item)) in the order in which they are done.

    With one worker the work is done in this process. Otherwise `work` and the items must be
    picklable. When a process dies (killed for its memory, say) the items that were in work are
    tried again, each alone; the one that kills its process once more gives `died(item)`.

    Raises:
        DataError: an item killed its process twice, and there is no `died`.
        whatever `work` raises.
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
                    for future in sorted(wait(in_work, return_when=FIRST_COMPLETED).done, key=in_work.__getitem__):
                        result = future.result()
                        yield in_work.pop(future), result
        except BrokenProcessPool:
            left = sorted(in_work.values())
            if alone:
                yield from ((place, lost(items[place], died)) for place in left)
            else:
                suspects.extend(left)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def lost(item: T, died: Callable[[T], R] | None) -> R:
    """The result of an item that killed its process twice."""
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
