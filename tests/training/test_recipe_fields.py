"""Fields of a recipe do what they say: optimiser, spared parameters, constant rate, stages, loss between views."""

import pytest
import torch

from boneray.losses.registry import training_loss
from boneray.models.registry import MODELS, Recipe
from boneray.training.module import TrainingModule, warm_cosine
from tests.models.networks import build, make_batch, smallest_grid


def test_optimiser_and_spared_parameters():
    network = build("swin_x2s_tiny")
    recipe = MODELS.get("swin_x2s_tiny").value.recipes["code"].recipe
    optimiser = TrainingModule(network, recipe).configure_optimizers()["optimizer"]
    assert type(optimiser) is torch.optim.AdamW
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decays) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        assert decays[id(parameter)] == (0.0 if name.endswith("relative_position_bias_table") else 0.5)
    adam = TrainingModule(build("unet"), MODELS.get("unet").value.recipes["paper"].recipe)
    assert type(adam.configure_optimizers()["optimizer"]) is torch.optim.Adam


def test_a_constant_rate_stays_after_its_warm_up():
    recipe = Recipe(steps=100, warmup_fraction=0.1, schedule="constant")
    assert [warm_cosine(s, recipe) for s in (4, 10, 99)] == pytest.approx([0.5, 1.0, 1.0])


def test_stages_follow_each_other_in_equal_shares(monkeypatch):
    network = build("tl_embedding")
    shell = TrainingModule(network, Recipe(steps=8, stages=("autoencoder", "encoder"), ema=0.0))
    shell.log = lambda *_, **__: None
    inputs = make_batch(smallest_grid("tl_embedding"))
    seen = []
    for step in range(9):
        monkeypatch.setattr(TrainingModule, "global_step", step)
        shell.training_step(inputs, 0)
        seen.append(network.stage)
    assert seen == ["autoencoder"] * 4 + ["encoder"] * 5


def test_the_loss_sees_every_view():
    network = build("swin_x2s_tiny").train()
    shell = TrainingModule(network, Recipe(loss="dice_ce_kl_mean", ema=0.0))
    shell.log = lambda *_, **__: None
    inputs = make_batch(smallest_grid("swin_x2s_tiny"), cases=1)
    torch.manual_seed(0)
    got = shell.training_step(inputs, 0)
    torch.manual_seed(0)
    assert torch.equal(got, training_loss("dice_ce_kl_mean", network(inputs), inputs.classes))
