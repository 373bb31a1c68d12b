"""Every registered model takes one step through the real training module, by its own recipe and its paper's."""

import pytest
import torch

from boneray.models.registry import MODELS
from boneray.training.module import TrainingModule, warm_cosine
from tests.models.networks import build, make_batch, smallest_grid

SAME_WHEN_NARROW = ("swin_x2s_small", "swin_x2s_base", "swin_x2s_large")  # as swin_x2s_tiny, recipes included
LEARNING = [
    e.name
    for e in MODELS
    if e.value.learns_by_gradient and e.value.learns == "labels" and e.name not in SAME_WHEN_NARROW
]


def recipes(name):
    """The model's own and the paper's."""
    spec = MODELS.get(name).value
    found = {"own": (spec.recipe, {})}
    if "paper" in spec.recipes:
        found["paper"] = (spec.recipes["paper"].recipe, spec.recipes["paper"].settings)
    return found


@pytest.mark.parametrize("name", LEARNING)
def test_a_step_moves_the_network_by_optimiser_schedule_and_loss_of_the_recipe(name):
    inputs = make_batch(smallest_grid(name), cases=1 if name.startswith("swin") else 2)
    for title, (recipe, settings) in recipes(name).items():
        shell = TrainingModule(build(name, **settings).train(), recipe)
        shell.log = lambda *_, **__: None
        made = shell.configure_optimizers()
        optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimiser]
        assert type(optimiser) is kind, title
        first = recipe.learning_rate * warm_cosine(0, recipe)
        assert all(group["lr"] == pytest.approx(first) for group in optimiser.param_groups), title
        before = {n: p.detach().clone() for n, p in shell.network.named_parameters()}
        loss = shell.training_step(inputs, 0)
        assert torch.isfinite(loss), title
        loss.backward()
        optimiser.step()
        schedule.step()
        moved = [n for n, p in shell.network.named_parameters() if not torch.equal(p, before[n])]
        assert moved, title
        if recipe.stages:
            assert shell.network.stage == recipe.stages[0]
        assert optimiser.param_groups[0]["lr"] == pytest.approx(recipe.learning_rate * warm_cosine(1, recipe)), title
