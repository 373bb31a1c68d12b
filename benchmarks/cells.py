"""Eight small cells by two workers, against two processes that do four each: `python -m benchmarks.cells [local|ray]`.

Both sides do the same cells with one thread each, and the phantoms and the step times are there before the clock runs.
The two processes do their cells in themselves, the least that eight cells can take; `boneray benchmark` with one
worker gives every cell a process of its own and takes longer than they do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.run import run_study
from boneray.benchmark.study import read_study
from boneray.core.workers import THREADS

STUDY = {
    "name": "cells",
    "data": [
        {
            "name": "femur",
            "phantom": {"anatomy": "femur", "cases": 12, "seed": 3, "voxels": 32, "pixels": 64},
            "validation": 2,
            "test": 4,
        }
    ],
    "models": ["raylift_tiny"],
    "seeds": list(range(1, 9)),
    "cases_seen": 240,
    "batch_size": 2,
    "recipe": {"validations": 1},
}


def command(folder: Path, seeds: list[int], workers: int = 1, engine: str = "local") -> list[str]:
    """A process that does these cells, in itself or by workers, into a folder that may hold the phantoms already."""
    config = folder.with_suffix(".yaml")
    config.write_text(json.dumps({**STUDY, "seeds": seeds}))
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.cells", "--study", str(config)]
    return [*line, str(folder), str(workers), engine]


def study(config: str, folder: str, workers: str, engine: str) -> None:
    """What such a process does."""
    import torch

    torch.set_num_threads(1)
    run_study(
        read_study(Path(config)), Path(folder), resume=True, workers=int(workers), engine=engine, run_cell=run_cell
    )


def seconds(commands: list[list[str]]) -> float:
    """Wall time until the last of them is done."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = time.perf_counter()
    running = [subprocess.Popen(line, **quiet) for line in commands]  # type: ignore[call-overload]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"a run failed: {codes}")
    return time.perf_counter() - start


def main(engine: str = "local") -> float:
    """Print both times and the share of the two processes' rate that the workers reach."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        first = root / "first"
        seconds([command(first, [99])])  # phantoms, step time and compiled kernels
        for copy in ("together", "left", "right"):
            shutil.copytree(first, root / copy)
        apart = seconds([command(root / "left", [1, 2, 3, 4]), command(root / "right", [5, 6, 7, 8])])
        together = seconds([command(root / "together", STUDY["seeds"], 2, engine)])  # type: ignore[arg-type]
    print(f"two processes {apart:.1f} s, two workers ({engine}) {together:.1f} s: {100 * apart / together:.0f} %")
    return apart / together


if __name__ == "__main__":
    study(*sys.argv[2:]) if sys.argv[1:2] == ["--study"] else main(*sys.argv[1:])
