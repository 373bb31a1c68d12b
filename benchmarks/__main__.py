"""`make bench`: run every benchmark, or the ones named."""

from __future__ import annotations

import sys

from benchmarks import parts
from benchmarks.clock import peak_memory_mb

ALL = (
    "start_up", "projection", "phantoms", "metrics", "evaluation", "data", "networks",
    "femur", "pelvis", "vertebra", "rib",
)  # fmt: skip


def main(names: list[str]) -> None:
    """Run the named benchmarks in order."""
    for name in names or ALL:
        print(f"\n== {name}: {getattr(parts, name).__doc__.splitlines()[0]}")
        getattr(parts, name)()
        print(f"  peak memory so far {peak_memory_mb():.0f} MB")


main(sys.argv[1:])
