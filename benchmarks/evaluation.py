"""`boneray evaluate` on a thousand cases, as a user runs it: start of the processes, reading and writing included."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.io.nifti import write_labels

CASES, PROCESSES, LIMIT_S = 1000, 2, 180
PLACES = ((0.3, 0.3), (0.3, 0.7), (0.7, 0.3), (0.7, 0.7))


def evaluation() -> None:
    """1,000 cases of 64^3 to 96^3 voxels of 1.5 mm with 4 bones, two processes of one thread; the bar is 180 s."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        for number in range(CASES):
            write_pair(folder, number)
        print(f"  writing the {CASES} cases took {time.perf_counter() - started:.1f} s and does not count")
        for what in ("first run, all cases", "second run, all cases found in the folder"):
            wall_s, cpu_s = run_command(folder)
            print(f"  {what:44} {wall_s:9.1f} s wall {cpu_s:9.1f} s CPU (bar {LIMIT_S} s)")


def run_command(folder: Path) -> tuple[float, float]:
    """Seconds of wall time and of all processes together."""
    import resource

    paths = ["--reference", folder / "reference", "--prediction", folder / "prediction", "--out", folder / "out"]
    command = [sys.executable, "-m", "boneray.cli.app", "evaluate", *map(str, paths), "--workers", str(PROCESSES)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu_s


def write_pair(folder: Path, number: int) -> None:
    """Four balls in the reference; in the prediction one voxel further along i and of other sizes."""
    rng = generator(0, "benchmark", number)
    voxels = int(rng.integers(64, 97))
    grid = Grid.cube(voxels, 1.5 * voxels)
    for side, shift in (("reference", 0), ("prediction", 1)):
        data = np.zeros(grid.shape, np.uint8)
        for label, (x, y) in enumerate(PLACES, start=1):
            centre = np.array((x, y, 0.5)) * voxels + (shift, 0, 0)
            i, j, k = (np.arange(voxels) - c for c in centre)
            radius = rng.uniform(0.12, 0.18) * voxels
            data[(i**2)[:, None, None] + (j**2)[:, None] + k**2 < radius**2] = label
        write_labels(folder / side / f"case-{number:04d}.nii.gz", LabelMap(data, grid))
