"""Can a network learn two cases by heart? `python -m boneray.benchmark.overfit [MODEL ...]` prints a table.

A network that cannot has an error in its wiring, whatever its number of parameters. Two phantom femora on the
smallest grid that the model takes (32 voxels an edge at least), both in every batch, by the loss and the rate of the
model's own recipe, without augmentation. The Dice is that of the network in evaluation, over both cases.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from boneray.datasets.phantom import phantom_case
from boneray.losses.registry import training_loss
from boneray.models.batch import Batch
from boneray.models.checkpoint import TARGET, CheckpointCard, build_network
from boneray.models.cost import count
from boneray.models.registry import MODELS
from boneray.training.module import class_dice
from boneray.training.samples import class_map, collate, to_sample

ENOUGH = 0.95
MOST_STEP_S = 5.0
LEAST_EDGE = 32
LOOK_EVERY = 20
STEPS = {"tl_embedding": 800, "raylift_tiny": 400}  # two networks one after the other; batch statistics that lag
USUAL_STEPS = 300
COPIES = {"concat_1d": 4}  # its BatchNorm1d keeps n / (n - 1) times the variance of the n cases that it learns by
FASTEST_GFLOPS = 200.0  # of one core, as in `step_cost`


@dataclass(frozen=True)
class Learnt:
    """What became of it: Dice after so many steps of so many allowed, or why it was not run."""

    model: str
    edge: int
    parameters: int
    dice: float | None = None
    steps: int = 0
    budget: int = 0
    step_s: float | None = None
    reason: str = ""


def overfit(model: str, *, seed: int = 0) -> Learnt:
    """Train until the Dice is enough or the steps are over; a model with too long a step on one core is not run."""
    spec = MODELS.get(model).value
    edge = max(LEAST_EDGE, spec.smallest)
    card = CheckpointCard(model, {}, "femur", (TARGET,), (edge,) * 3, (128.0,) * 3, (2 * edge,) * 2, ("ap", "lat"))
    cost = count(model, card.task)
    asked = Learnt(model, edge, cost.parameters, budget=STEPS.get(model, USUAL_STEPS))
    least = 3 * 2 * cost.flop / 1e9 / FASTEST_GFLOPS
    if least > MOST_STEP_S or cost.parameters > 1e8:
        return replace(asked, reason=f"a step on one core takes {least:.1f} s or more by its operations alone")
    batch = two_cases(edge, copies=COPIES.get(model, 1))
    assert batch.classes is not None
    torch.manual_seed(seed)
    network = build_network(card).train()
    recipe = spec.recipe
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    dice, seconds = 0.0, []
    for step in range(asked.budget):
        if recipe.stages and network.stage != (stage := recipe.stages[step * len(recipe.stages) // asked.budget]):
            network.enter(stage)  # type: ignore[operator]
        start = time.process_time()
        optimiser.zero_grad()
        training_loss(recipe.loss, network(batch), batch.classes).backward()
        optimiser.step()
        seconds.append(time.process_time() - start)
        if step == 1 and min(seconds) > MOST_STEP_S:
            return replace(asked, step_s=min(seconds), reason=f"a step on one core takes {min(seconds):.1f} s")
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            network.eval()
            with torch.no_grad():
                dice = float(class_dice(network(batch).class_map(), batch.classes).mean())
            network.train()
            if dice >= ENOUGH:
                break
    return replace(asked, dice=dice, steps=len(seconds), step_s=sorted(seconds)[len(seconds) // 2])


def two_cases(edge: int, *, copies: int = 1) -> Batch:
    """Two phantom femora in a batch, each so many times."""
    cases = [phantom_case("femur", seed=0, number=n, voxels=edge, pixels=2 * edge) for n in (0, 1)] * copies
    samples = []
    for case in cases:
        assert case.labels is not None
        samples.append(to_sample(class_map(case, (TARGET,)), case.labels.grid, list(case.radiographs.values())))
    return collate(samples)


def main(names: Sequence[str]) -> None:
    """Print the table, a line as soon as it is known."""
    torch.set_num_threads(1)
    learning = [e.name for e in MODELS if e.value.learns_by_gradient and e.value.learns == "labels"]
    head = ("model", "grid", "steps", "of at most", "Dice", "processor seconds a step", "")
    sys.stdout.write(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|\n")
    for name in names or learning:
        row = overfit(name)
        dice = "–" if row.dice is None else f"{row.dice:.3f}"
        step = "–" if row.step_s is None else f"{row.step_s:.2f}"
        why = f"not run: {row.reason}" if row.reason else ""
        steps = row.steps or "–"
        sys.stdout.write(f"| `{name}` | {row.edge}³ | {steps} | {row.budget} | {dice} | {step} | {why} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
