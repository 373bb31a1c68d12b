"""How long a network takes against the plain MONAI one: `python -m benchmarks.networks`.

Both have the same weights. The plain one is given its replicated volume ready made; ours makes it.
Seconds are those of all processors together, which other work on the machine changes little.
"""

from __future__ import annotations

import copy
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from boneray.losses.registry import LOSSES, training_loss
from boneray.models.cost import sample_batch
from boneray.models.cpu_convolution import quicken
from boneray.models.export import INPUTS, session, to_onnx
from boneray.models.lifting import replicated_views
from boneray.models.registry import MODELS, Task

RUNS = 5


def inference(edge: int = 128) -> dict[str, float]:
    """Seconds of a forward pass with one case, and the largest difference of a score."""
    plain, batch, _ = prepared(edge, 1)
    plain.eval()
    quick = quicken(copy.deepcopy(plain), channels_last=True)
    with torch.inference_mode():
        volume = replicated_views(batch, plain.task).contiguous()
        wanted = plain(batch).logits
        found = {
            "plain_s": processor_seconds(lambda: plain.network(volume)),
            "ours_s": processor_seconds(lambda: quick(batch)),
            "difference": float((quick(batch).logits - wanted).abs().max()),
        }
    runner = session(to_onnx(quick, batch))
    given = {name: getattr(batch, name).numpy() for name in INPUTS}
    found["onnx_s"] = processor_seconds(lambda: runner.run(None, given))
    found["onnx_difference"] = float(abs(runner.run(None, given)[0] - wanted.numpy()).max())
    return found


def training(kind: str, edge: int = 64, cases: int = 4) -> dict[str, float]:
    """Seconds and peak memory of training steps, alone in this process."""
    network, batch, classes = prepared(edge, cases)
    network.train()
    volume = replicated_views(batch, network.task).contiguous()
    if kind == "ours":
        del volume
        quicken(network, channels_last=True)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        if kind == "ours":
            loss = training_loss("dice_published", network(batch), classes)
        else:
            loss = LOSSES.get("dice_published").value(network.network(volume), classes)
        loss.backward()
        optimiser.step()

    return {"s": processor_seconds(step), "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def prepared(edge: int, cases: int) -> tuple[Any, Any, torch.Tensor]:
    """A seeded unet, a batch of noise and random classes."""
    task = Task((edge,) * 3, (2 * edge,) * 2, 1, 2)
    torch.manual_seed(0)
    spec = MODELS.get("unet").value
    network = spec.build(spec.settings, task)
    one = sample_batch(task)
    parts = {k: v.repeat(cases, *[1] * (v.ndim - 1)) for k, v in vars(one).items() if v is not None}
    classes = (torch.rand(cases, *task.grid_shape, generator=torch.Generator().manual_seed(1)) > 0.97).long()
    return network, replace(one, **parts), classes


def processor_seconds(work: Callable[[], object]) -> float:
    """Median over a few runs, after one that warms up."""
    work()
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def in_a_process_of_its_own(kind: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.networks", kind], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    if arguments:
        print(json.dumps(training(arguments[0])))
        return
    found = inference()
    print("| unet | plain | ours | ratio | |\n| --- | --- | --- | --- | --- |")
    ratio = found["plain_s"] / found["ours_s"]
    print(
        f"| forward, 128³, one case | {found['plain_s']:.3f} s | {found['ours_s']:.3f} s | {ratio:.2f} "
        f"| largest difference {found['difference']:.0e} |"
    )
    ratio = found["plain_s"] / found["onnx_s"]
    print(
        f"| exported, ONNX Runtime | {found['plain_s']:.3f} s | {found['onnx_s']:.3f} s | {ratio:.2f} "
        f"| largest difference {found['onnx_difference']:.0e} |"
    )
    plain, ours = in_a_process_of_its_own("plain"), in_a_process_of_its_own("ours")
    print(
        f"| training step, 64³, four cases | {plain['s']:.3f} s | {ours['s']:.3f} s | {plain['s'] / ours['s']:.2f} "
        f"| memory {plain['mb']:.0f} and {ours['mb']:.0f} MB |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
