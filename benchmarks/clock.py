"""Fair timing: alternate the contestants, take medians of process time and wall time."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Median seconds of one contestant; CPU seconds count all threads."""

    name: str
    wall_s: float
    cpu_s: float


def compare(contestants: dict[str, Callable[[], object]], *, rounds: int = 7) -> list[Timing]:
    """Run every contestant once to warm up, then `rounds` times in alternating order."""
    for run in contestants.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(rounds):
        names = list(contestants) if round_number % 2 == 0 else list(reversed(contestants))
        for name in names:
            start_wall, start_cpu = time.perf_counter(), time.process_time()
            contestants[name]()
            wall[name].append(time.perf_counter() - start_wall)
            cpu[name].append(time.process_time() - start_cpu)
    return [Timing(name, statistics.median(wall[name]), statistics.median(cpu[name])) for name in contestants]


def report(title: str, timings: list[Timing]) -> None:
    """Print one comparison; the first contestant is ours and counts 1."""
    ours = timings[0]
    print(f"\n{title}")
    for t in timings:
        ratio = t.cpu_s / ours.cpu_s
        print(f"  {t.name:44} {1000 * t.wall_s:9.1f} ms wall {1000 * t.cpu_s:9.1f} ms CPU {ratio:7.2f} x CPU")


def peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
