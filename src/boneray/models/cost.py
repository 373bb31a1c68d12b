"""What a network costs: parameters, floating-point operations, memory, time. The same tools for all of them.

Operations are counted as 2 per multiply-add, by torch's own counter, on the meta device, so that the
largest network needs no memory to be counted. Published figures often count multiply-adds once, or
leave parameters out that are not inside a layer: see `docs/models.md`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from boneray.core.camera import orbit_camera
from boneray.core.config import load_settings
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.models.batch import Batch, camera_matrices
from boneray.models.cpu_convolution import quicken
from boneray.models.registry import MODELS, Task

EDGE_MM = 128.0
BARE_PROCESS_MB = 550.0  # Python, torch and its autograd
RUNS = 5


@dataclass(frozen=True)
class Cost:
    """What one forward pass with one case costs, and what the network weighs.

    Attributes:
        parameters: all; bare_parameters: those that a module holds itself, outside torch's layers,
            which some tools do not see.
        flop: floating-point operations of a forward pass, 2 per multiply-add.
        latency_s: median of a few forward passes, by the clock; cpu_s: the same in seconds of all
            processors together, which other work on the machine changes little. None if it was not run.
        peak_memory_mb: most memory of a process that does nothing else, with Python and torch;
            None if it was not run.
        device, threads: where it was run.
    """

    model: str
    grid_shape: tuple[int, int, int]
    classes: int
    views: int
    parameters: int
    bare_parameters: int
    flop: int
    latency_s: float | None = None
    cpu_s: float | None = None
    peak_memory_mb: float | None = None
    device: str = ""
    threads: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def count(model: str, task: Task, settings: dict[str, Any] | None = None) -> Cost:
    """Parameters and operations, without running anything.

    Raises:
        ConfigError: unknown model or setting, or a task that the model cannot be built for.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network = weightless(model, task, settings or {}).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(sample_batch(task).to("meta"))
    return Cost(
        MODELS.get(model).name,
        task.grid_shape,
        task.class_count,
        task.view_count,
        parameters=sum(p.numel() for p in network.parameters()),
        bare_parameters=sum(p.numel() for module in network.modules() if not _is_layer(module) for p in _own(module)),
        flop=counter.get_total_flops(),
    )


def measure(model: str, task: Task, settings: dict[str, Any] | None = None) -> Cost:
    """As `count`, and run on the CPU in a process of its own for time and memory.

    Raises:
        ConfigError: as `count`, or the process ended early, most likely for lack of memory.
    """
    counted = count(model, task, settings)
    order = json.dumps({"model": counted.model, "task": asdict(task), "settings": settings or {}})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "boneray.models.cost", order],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = "it was killed, likely for lack of memory" if done.returncode < 0 else done.stderr.strip().split("\n")[-1]
        raise ConfigError(f"{counted.model} cannot be run at {'x'.join(map(str, task.grid_shape))}: {why}")
    return Cost(**{**counted.to_dict(), **json.loads(done.stdout)})


def rough_step_memory_mb(model: str, task: Task, settings: dict[str, Any], batch_size: int) -> float:
    """About what a training step in 32 bits needs, without running it; within a third of what was measured so far.

    Weights, gradients and the optimiser's two moments; what the forward pass keeps for the backward
    pass, twice, since that makes as much again; Python and torch.
    """
    network = weightless(model, task, settings).train()
    one = sample_batch(task)
    parts = {name: v.expand(batch_size, *v.shape[1:]) for name, v in vars(one).items() if v is not None}
    weights = 4 * sum(p.numel() * p.element_size() for p in network.parameters())
    kept = kept_for_backward(network, replace(one, **parts).to("meta"))
    return BARE_PROCESS_MB + (weights + 2 * kept) / 1e6


def kept_for_backward(network: nn.Module, batch: Any) -> int:
    """Bytes that autograd keeps of one forward pass, each tensor once, parameters not counted."""
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that its address is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(batch)
    return sum(storage.nbytes() for storage in kept.values())


def weightless(model: str, task: Task, settings: dict[str, Any]) -> nn.Module:
    """The network on the meta device."""
    spec = MODELS.get(model).value
    chosen = load_settings(type(spec.settings), base={**spec.settings.model_dump(), **settings})
    try:
        with torch.device("meta"):
            return spec.build(chosen, task)
    except RuntimeError:  # a library that reads numbers off tensors while it builds
        return spec.build(chosen, task).to("meta")


def sample_batch(task: Task) -> Batch:
    """One case of noise, seen by as many cameras as the task has views, evenly spread over half a turn."""
    grid = Grid(task.grid_shape, tuple(EDGE_MM / n for n in task.grid_shape), (0.0, 0.0, 0.0))  # type: ignore[arg-type]
    angles = [180.0 * n / task.view_count for n in range(task.view_count)]
    cameras = [
        orbit_camera(a, centre_mm=grid.centre_mm, detector_shape=task.image_shape, detector_mm=(2.5 * EDGE_MM,) * 2)
        for a in angles
    ]
    pairs = [camera_matrices(camera, grid) for camera in cameras]
    projections, depths = (torch.from_numpy(np.stack(m))[None] for m in zip(*pairs, strict=True))
    images = torch.randn(1, task.view_count, 1, *task.image_shape, generator=torch.Generator().manual_seed(0))
    return Batch(images, projections, depths)


def _is_layer(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn")


def _own(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _run(order: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own: build, run a few times, and say time and memory."""
    import resource  # not on every system

    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in order["task"].items()}
    task = Task(**fields)
    spec = MODELS.get(order["model"]).value
    settings = load_settings(type(spec.settings), base={**spec.settings.model_dump(), **order["settings"]})
    network = quicken(spec.build(settings, task), channels_last=spec.channels_last).eval()
    batch = sample_batch(task)
    seconds, cpu_seconds = [], []
    with torch.inference_mode():
        for _ in range(RUNS + 1):
            start, cpu_start = time.perf_counter(), time.process_time()
            network(batch)
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return {
        "latency_s": statistics.median(seconds[1:]),
        "cpu_s": statistics.median(cpu_seconds[1:]),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(json.loads(sys.argv[1]))))
