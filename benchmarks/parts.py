"""What is measured, and against whom."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from benchmarks.bone_accuracy import femur_accuracy as femur_accuracy
from benchmarks.bone_accuracy import pelvis_accuracy as pelvis_accuracy
from benchmarks.bone_accuracy import real_accuracy as real_accuracy
from benchmarks.clock import compare, report
from benchmarks.data import data as data
from benchmarks.evaluation import evaluation as evaluation
from benchmarks.metrics import metrics as metrics
from benchmarks.morphometry import femur as femur
from benchmarks.morphometry import pelvis as pelvis
from benchmarks.morphometry import rib as rib
from benchmarks.morphometry import rib_accuracy as rib_accuracy
from benchmarks.morphometry import vertebra as vertebra
from benchmarks.morphometry import vertebra_accuracy as vertebra_accuracy
from boneray.core.camera import Camera, orbit_camera
from boneray.core.grid import Grid
from boneray.projection.joseph import line_integrals
from boneray.projection.joseph_gradient import back_project, ray_partials
from boneray.projection.rays import ray_fan
from boneray.projection.siddon import siddon_line_integrals


def projection() -> None:
    """Our Joseph kernel against sampling the volume along rays with torch, 256 pixels, 256 voxels of 1 mm."""
    grid = Grid.cube(256, 256.0)
    data = np.random.default_rng(0).random(grid.shape, np.float32)
    weights = data[0]
    for angle in (0.0, 37.0, 90.0):
        camera = orbit_camera(angle)
        contestants = {
            "boneray Joseph": lambda camera=camera: line_integrals(data, grid, camera),
            "boneray Siddon": lambda camera=camera: siddon_line_integrals(data, grid, camera),
            "boneray Joseph and pose gradient": lambda camera=camera: ray_partials(data, ray_fan(camera, grid)),
            "boneray back projection": lambda camera=camera: back_project(weights, grid, camera),
            "torch grid_sample, 1 mm steps": lambda camera=camera: march(data, grid, camera, step_mm=1.0),
        }
        report(f"projection at {angle:g} degrees", compare(contestants, rounds=5))
    least_ms = 1000 * data.nbytes / 20e9
    print(f"  reading the volume once at 20 GB/s would cost {least_ms:.1f} ms: the floor for any method")


def march(data: np.ndarray, grid: Grid, camera: Camera, *, step_mm: float) -> torch.Tensor:
    """The plain method: equal steps along each ray, trilinear samples, sum."""
    rows, columns = camera.detector_shape
    row, column = np.mgrid[0:rows, 0:columns]
    start, direction = camera.ray(np.stack([column, row], -1).reshape(-1, 2).astype(float))
    reach = float(np.linalg.norm(grid.size_mm)) / 2
    along = np.arange(-reach, reach, step_mm) + np.linalg.norm(camera.source_mm - grid.centre_mm)
    volume = torch.from_numpy(data)[None, None]
    total = torch.zeros(len(start))
    scale = torch.from_numpy(2 / grid.size_mm).float()
    centre = torch.from_numpy(grid.centre_mm).float()
    origin, ray = torch.from_numpy(np.ascontiguousarray(start)).float(), torch.from_numpy(direction).float()
    for block in np.array_split(along, 16):
        points = origin[:, None] + ray[:, None] * torch.from_numpy(block).float()[None, :, None]
        unit = ((points - centre) * scale).flip(-1)
        total += torch.nn.functional.grid_sample(volume, unit[None, None], align_corners=False)[0, 0, 0].sum(-1)
    return total.reshape(rows, columns) * step_mm


def phantoms() -> None:
    """A phantom patient at 64 and 128 voxels (no peer: the bar is 1 s for 128 voxels on one core)."""
    from boneray.phantom.patient import make_patient

    for anatomy in ("femur", "vertebra", "pelvis"):
        runs = {
            f"{anatomy}, {n} voxels": lambda n=n, anatomy=anatomy: make_patient(anatomy, seed=0, number=1, voxels=n)
            for n in (128, 64)
        }
        report("phantom patient", compare(runs, rounds=5))


def networks() -> None:
    """One patient through raylift_tiny and the published UNet at 64 voxels, two views."""
    from boneray.models.batch import Batch, camera_matrices
    from boneray.models.registry import MODELS, Task

    grid = Grid.cube(64, 128.0)
    cameras = [orbit_camera(a, detector_shape=(128, 128), detector_mm=(211.0, 211.0)) for a in (0.0, 90.0)]
    projections, depths = (np.stack(m) for m in zip(*(camera_matrices(c, grid) for c in cameras), strict=True))
    batch = Batch(torch.randn(1, 2, 1, 128, 128), torch.from_numpy(projections)[None], torch.from_numpy(depths)[None])
    runs = {}
    for name in ("raylift_tiny", "unet"):
        spec = MODELS.get(name).value
        network = spec.build(spec.settings, Task(grid.shape, (128, 128), 1, 2)).eval()
        runs[name] = torch.inference_mode()(lambda network=network: network(batch))
    report("one patient through a network", compare(runs))


def start_up() -> None:
    """`boneray --help`, whole process."""
    command = [sys.executable, "-m", "boneray.cli.app", "--help"]
    runs = {
        "boneray --help": lambda: subprocess.run(command, capture_output=True, check=True),
        "python -c pass": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
    }
    for t in compare(runs):
        print(f"  {t.name:44} {1000 * t.wall_s:9.1f} ms wall")
