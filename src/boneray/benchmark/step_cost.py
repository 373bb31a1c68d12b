"""What one model costs on one data set: size, operations, and the time and memory of a training step.

Measured once per study, in a process of its own, and kept, so that a study which goes on decides as before.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from boneray import __version__
from boneray.core.config import load_settings
from boneray.core.errors import BonerayError
from boneray.io.files import json_text
from boneray.losses.registry import training_loss
from boneray.models.checkpoint import build_network
from boneray.models.cost import count, sample_batch
from boneray.models.registry import MODELS, Task
from boneray.training.plan import TrainSettings, plan
from boneray.training.run import choose_accelerator

FASTEST_GFLOPS = 200.0  # of one processor core in 32 bits; no step can be quicker than its operations at this rate
BACKWARD = 3.0  # a step is a forward pass and about two more
RUNS, ENOUGH_S = 2, 1.0  # steps that are timed; fewer where they took so many seconds


def step_cost(
    order: dict[str, Any], most_step_s: float | None, known: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> dict[str, Any]:
    """Parameters, GFLOP of a forward pass, seconds and MB of a training step, and why it is not run, or "".

    A step that cannot be under `most_step_s` by its operations alone is not tried.

    Args:
        order: model, data folder, training settings, threads and device (see `boneray.benchmark.run`).
        known: costs by their `step`: one that was measured for another variant, or on other data of the
            same grid, pictures, views and number of bones, is not measured again.
    """
    found: dict[str, Any] = {"parameters": None, "gflop": None, "step_s": None, "step_memory_mb": None, "refused": ""}
    spec = MODELS.get(order["model"]).value
    try:
        settings = load_settings(TrainSettings, base=order["train"])
        card = plan(order["model"], Path(order["data"]), settings).card
        step = _step(order, card.task)
        if step in known:
            return dict(known[step])
        cost = count(order["model"], card.task, settings.model)
        on_cpu = choose_accelerator(order["device"]) == "cpu"
    except BonerayError as error:
        return {**found, "refused": str(error)}
    found["step"] = step
    found |= {"parameters": cost.parameters, "gflop": cost.flop / 1e9}
    if not spec.learns_by_gradient:
        return found
    least = BACKWARD * settings.recipe.batch_size * cost.flop / 1e9 / FASTEST_GFLOPS / order["threads"]
    if on_cpu and most_step_s is not None and least > most_step_s:
        reason = f"a step takes {least:.1f} s or more by its operations alone; the limit is {most_step_s:g} s"
        return {**found, "refused": reason}
    found |= _in_its_own_process(order)
    if on_cpu and most_step_s is not None and not found["refused"] and found["step_s"] > most_step_s:
        found["refused"] = f"a step takes {found['step_s']:.1f} s; the limit is {most_step_s:g} s"
    return found


def _step(order: dict[str, Any], task: Task) -> str:
    """Hash of all that a training step depends on."""
    train = order["train"]
    recipe = {name: train["recipe"].get(name) for name in ("batch_size", "loss", "precision")}
    asked = [__version__, order["model"], train["model"], recipe, order["threads"], order["device"], asdict(task)]
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


def _in_its_own_process(order: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "boneray.benchmark.step_cost", json.dumps(order)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    killed = f"a step was ended by signal {-done.returncode}; was there enough memory?"
    return {"refused": killed if done.returncode < 0 else f"a step failed: {last}"}


def measured_step(order: dict[str, Any]) -> dict[str, Any]:
    """Median seconds of a few training steps on noise, and the most memory of this process in MB.

    The first step warms up and is not counted; one slow step after it is enough. On the CPU the seconds are
    those of the processor divided by the threads, which other work on the machine changes little.
    """
    import resource  # not on every system

    torch.set_num_threads(order["threads"])
    settings = load_settings(TrainSettings, base=order["train"])
    recipe, device = settings.recipe, choose_accelerator(order["device"])
    card = plan(order["model"], Path(order["data"]), settings).card
    network = build_network(card).to(device).train()
    one = sample_batch(card.task)
    parts = {k: v.expand(recipe.batch_size, *v.shape[1:]) for k, v in vars(one).items() if v is not None}
    shape = (recipe.batch_size, *card.task.grid_shape)
    classes = torch.randint(0, card.task.class_count + 1, shape, generator=torch.Generator().manual_seed(0))
    learns = MODELS.get(order["model"]).value.learns
    batch = replace(one, **parts, classes=classes)
    if learns == "intensities":
        batch = replace(batch, intensities=torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    batch = batch.to(device)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    seconds: list[float] = []
    while len(seconds) < 1 + RUNS and sum(seconds[1:]) < ENOUGH_S:
        start, start_cpu = time.perf_counter(), time.process_time()
        optimiser.zero_grad()
        training_loss(recipe.loss, network(batch), batch.reference(learns), learns=learns).backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        spent = time.perf_counter() - start if device != "cpu" else (time.process_time() - start_cpu) / order["threads"]
        seconds.append(spent)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 1e6
    return {"step_s": statistics.median(seconds[1:]), "step_memory_mb": memory, "refused": ""}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured_step(json.loads(sys.argv[1]))) + "\n")
