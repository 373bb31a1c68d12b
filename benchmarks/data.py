"""Data: a whole CT to a case on one core, and how far processes, parts and clusters speed many of them up."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.label_maps import label_map
from boneray.datasets.phantom import phantom_case
from boneray.datasets.registry import Pair
from boneray.datasets.splits import split_by_patient, write_splits
from boneray.io.case_folder import case_folders, read_description, write_case, write_dataset
from boneray.io.nifti import write_labels, write_volume
from boneray.phantom.patient import make_patient

LARGE = (512, 512, 400)
BAR_S, BAR_GB = 6.0, 3.0
SMALL, COUNT = (192, 192, 160), 40
SHARE_LOCAL, SHARE_RAY = 0.9, 0.8
LOTS, LOTS_S = 10_000, 10.0


def data() -> None:
    """One 512x512x400 CT to a 128^3 case with two views; 40 smaller ones by two workers; 10,000 case folders."""
    with tempfile.TemporaryDirectory() as folder:
        one_case(Path(folder))
        many_cases(Path(folder))
        many_folders(Path(folder))


def one_case(folder: Path) -> None:
    """Seconds and peak memory of one case in a process of its own, after one small case for the compiler."""
    write_scan(folder / "large", LARGE)
    write_scan(folder / "small", (96, 96, 80))
    found = [json.loads(child(folder, "one", "small", "large")) for _ in range(3)]
    best = min(found, key=lambda row: row["cpu_s"])
    size_mb = (folder / "large_ct.nii.gz").stat().st_size / 2**20
    print(f"  CT {' x '.join(map(str, LARGE))} int16, {size_mb:.0f} MB packed -> 128^3 case with two views, one core")
    print(f"    {best['cpu_s']:.2f} s of processor ({best['wall_s']:.2f} s wall; bar {BAR_S:g} s), ", end="")
    print(f"peak {best['peak_gb']:.2f} GB (bar {BAR_GB:g} GB)")


def many_cases(folder: Path) -> None:
    """Two workers, and Ray where it is installed, against two independent processes on the same CTs."""
    for number in range(COUNT):
        write_scan(folder / f"many{number:02d}", SMALL, number)
    rounds: dict[str, list[float]] = {}
    engines = ["independent", "local"]
    try:
        import ray  # noqa: F401

        engines.append("ray")
    except ModuleNotFoundError:
        print("  ray is not installed (extra `scale`); its row is left out")
    for number in range(3):
        for engine in engines if number % 2 == 0 else reversed(engines):
            rounds.setdefault(engine, []).append(timed(folder, engine, f"{engine}-{number}"))
    base = min(rounds["independent"])
    print(f"  {COUNT} CTs of {' x '.join(map(str, SMALL))}: two independent processes {base:.1f} s")
    for engine, bar in (("local", SHARE_LOCAL), ("ray", SHARE_RAY)):
        if engine in rounds:
            best = min(rounds[engine])
            print(
                f"    2 workers, {engine}: {best:.1f} s, {100 * base / best:.0f} % of their speed "
                f"(bar {100 * bar:.0f} %)"
            )


def many_folders(folder: Path) -> None:
    """Inspecting, splitting and starting to train on 10,000 case folders, whose arrays are one file each, linked."""
    from boneray.cli.app import main as boneray
    from boneray.training.plan import TrainSettings, plan

    root, settings = folder / "lots", TrainSettings(cache=folder / "cache")
    write_folders(root)

    def split() -> None:
        patients = {f.name: str(read_description(f)["patient_id"]) for f in case_folders(root)}
        write_splits(root / "splits.json", split_by_patient(patients, seed=0, test=0.15), seed=0)

    def begin() -> None:
        made = plan("unet", root, settings)
        cases = {part: made.load(part) for part in ("train", "validation")}
        assert sum(map(len, cases.values())) + len(made.parts["test"]) == LOTS

    def inspect() -> None:
        sys.argv = ["boneray", "inspect", str(root), "--html", str(folder / "page.html"), "--json"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            boneray()
        assert (folder / "page.html").stat().st_size > 0

    print(f"  {LOTS} case folders (bar {LOTS_S:g} s each)")
    for what, step in (
        ("split", split), ("inspected, with a page of 48", inspect), ("cached for training, once", begin),
        ("planned and opened for training", begin),
    ):  # fmt: skip
        start = time.process_time()
        step()
        print(f"    {what}: {time.process_time() - start:.1f} s of processor")


def write_folders(root: Path) -> None:
    """One phantom under 10,000 names, two cases for each patient."""
    write_case(root / "c00000", phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=32))
    template = json.loads((root / "c00000" / "case.json").read_text())
    files = [path for path in (root / "c00000").iterdir() if path.name != "case.json"]
    rows = []
    for number in range(LOTS):
        name, patient = f"c{number:05d}", f"p{number // 2:05d}"
        (root / name).mkdir(exist_ok=True)
        text = json.dumps(template | {"case_id": name, "patient_id": patient}, indent=2)
        (root / name / "case.json").write_text(text)
        for file in files if number else ():
            os.link(file, root / name / file.name)
        rows.append({"case_id": name, "patient_id": patient, "status": "ok", "notes": [], "flags": []})
    write_dataset(root, name="lots", anatomy="pelvis", licence="CC0-1.0", source={}, cases=rows)


def timed(folder: Path, engine: str, out: str) -> float:
    """Seconds from the start of the first process to the end of the last."""
    start = time.perf_counter()
    if engine == "independent":
        runs = [spawn(folder, "many", out + part, "local", "1", part) for part in ("1/2", "2/2")]
    else:
        runs = [spawn(folder, "many", out, engine, "2", "1/1")]
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    return time.perf_counter() - start


def child(folder: Path, *arguments: str) -> str:
    run = spawn(folder, *arguments)
    text = run.communicate()[0]
    assert run.returncode == 0
    return text


def spawn(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.data", str(folder), *arguments]
    return subprocess.Popen(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True)


def write_scan(stem: Path, shape: tuple[int, int, int], number: int = 0) -> None:
    """A pelvis phantom in a CT of any size, with noise, so that packing it costs what it costs in life."""
    case = make_patient("pelvis", seed=1, number=number % 4, voxels=96)
    assert case.ct is not None and case.labels is not None
    ids = np.zeros(case.ct.grid.shape, np.uint8)
    start = np.round(case.ct.grid.to_index(case.labels.grid.origin_mm)).astype(int)
    ids[tuple(slice(s, s + n) for s, n in zip(start, case.labels.grid.shape, strict=True))] = case.labels.data
    zoom = [new / old for new, old in zip(shape, ids.shape, strict=True)]
    rng = generator(1, "scan", number)
    hu = ndimage.zoom(case.ct.data.astype(np.float32), zoom, order=1)
    hu += rng.standard_normal(hu.shape, np.float32) * 20
    spacing = tuple(s / z for s, z in zip(case.ct.grid.spacing_mm, zoom, strict=True))
    grid = Grid(shape, spacing, tuple(-s * (n - 1) / 2 for s, n in zip(spacing, shape, strict=True)))
    write_volume(stem.with_name(f"{stem.name}_ct.nii.gz"), Volume(np.rint(hu).astype(np.int16), grid))
    write_labels(stem.with_name(f"{stem.name}_labels.nii.gz"), LabelMap(ndimage.zoom(ids, zoom, order=0), grid))


def pair(folder: Path, name: str) -> Pair:
    return Pair(name, name, folder / f"{name}_ct.nii.gz", folder / f"{name}_labels.nii.gz", label_map("boneray"))


def peak_gb() -> float:
    """Most memory this process had, GB; `ru_maxrss` would also count what its parent had when it was started."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def work(folder: Path, kind: str, *arguments: str) -> dict[str, float]:
    """What a process of its own does; its working time and peak memory."""
    from boneray.datasets.collection import prepare_collection
    from boneray.datasets.prepare import PrepareOptions, prepare_pair
    from boneray.datasets.rules import COMMON

    if kind == "one":
        small, large = arguments
        options = PrepareOptions("pelvis", voxels=128, views=("ap", "lat"))
        with tempfile.TemporaryDirectory() as out:
            prepare_pair(pair(folder, small), options, Path(out), rules=COMMON)
            wall, cpu = time.perf_counter(), time.process_time()
            rows = prepare_pair(pair(folder, large), options, Path(out), rules=COMMON)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert rows[0]["status"] == "ok", rows
        return {"wall_s": wall, "cpu_s": cpu, "peak_gb": peak_gb()}
    out, engine, workers, part = arguments
    i, n = map(int, part.split("/"))
    pairs = [pair(folder, f"many{number:02d}") for number in range(COUNT)]
    options = PrepareOptions("pelvis", voxels=64, pixels=128)
    wall = time.perf_counter()
    made = prepare_collection(
        pairs, options, name="many", out=folder / "out" / out.replace("/", "of"), workers=int(workers), engine=engine,
        part=(i, n), rules=COMMON,
    )  # fmt: skip
    assert made["rejected"] == 0, made["cases"]
    return {"wall_s": time.perf_counter() - wall}


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), *sys.argv[2:])))
