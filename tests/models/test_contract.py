"""What any registered model must do."""

import numpy as np
import pytest
import torch

from boneray.core.camera import orbit_camera
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.losses.overlap import dice_ce
from boneray.models.batch import Batch, camera_matrices
from boneray.models.checkpoint import CheckpointCard, build_network, load_checkpoint, save_checkpoint
from boneray.models.raylift import Raylift, RayliftSettings
from boneray.models.registry import MODELS, Task

GRID = Grid.cube(16, 64.0)
NAMES = [entry.name for entry in MODELS]
LEARNING = [entry.name for entry in MODELS if entry.value.learns_by_gradient]


def batch(views=(0.0, 90.0), cases=2, classes=1, seed=0):
    rng = torch.Generator().manual_seed(seed)
    cameras = [orbit_camera(a, detector_shape=(32, 32), detector_mm=(110.0, 110.0)) for a in views]
    projections, depths = (np.stack(m) for m in zip(*(camera_matrices(c, GRID) for c in cameras), strict=True))
    return Batch(
        torch.randn(cases, len(views), 1, 32, 32, generator=rng),
        torch.from_numpy(projections).expand(cases, -1, -1, -1),
        torch.from_numpy(depths).expand(cases, -1, -1),
        torch.randint(0, classes + 1, (cases, *GRID.shape), generator=rng),
    )


def build(name, classes=1):
    torch.manual_seed(0)
    spec = MODELS.get(name).value
    return spec.build(spec.settings, Task(GRID.shape, (32, 32), classes, 2))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_gives_labels_on_the_working_grid(name, classes):
    network = build(name, classes).eval()
    prediction = network(batch(classes=classes))
    assert prediction.logits.shape == (2, 1 if classes == 1 else classes + 1, *GRID.shape)
    assert torch.isfinite(prediction.logits).all()
    assert prediction.probabilities().shape == (2, classes, *GRID.shape)
    labels = prediction.to_labels(GRID, tuple(range(50, 50 + classes)))
    assert len(labels) == 2 and labels[0].grid is GRID
    assert set(labels[0].ids) <= set(range(50, 50 + classes))


@pytest.mark.parametrize("name", LEARNING)
def test_every_parameter_receives_a_gradient(name):
    network = build(name)
    inputs = batch()
    dice_ce(network(inputs).logits, inputs.classes).backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not dead
    assert sum(p.grad.abs().sum() > 0 for p in network.parameters()) == len(list(network.parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network_and_a_checkpoint_brings_it_back(name, tmp_path):
    card = CheckpointCard(name, {}, "femur", ("target",), GRID.shape, (64.0,) * 3, (32, 32), ("ap", "lat"))
    torch.manual_seed(1)
    first = build_network(card).eval()
    torch.manual_seed(1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), build_network(card).state_dict().values(), strict=True)
    )
    save_checkpoint(tmp_path / "c.safetensors", first, card)
    again, read = load_checkpoint(tmp_path / "c.safetensors")
    assert read == card
    assert torch.equal(first(batch()).logits, again(batch()).logits)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("raylift")])
def test_raylift_takes_any_number_of_views_in_any_order(name):
    network = build(name).eval()
    for views in ((0.0,), (0.0, 60.0, 120.0)):
        assert network(batch(views=views)).logits.shape == (2, 1, *GRID.shape)
    inputs = batch()
    turned = Batch(inputs.images.flip(1), inputs.projections.flip(1), inputs.depths.flip(1))
    torch.testing.assert_close(network(turned).logits, network(inputs).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", ["pooled", "concat"])
@pytest.mark.parametrize("lift", ["rays", "permute"])
def test_raylift_options_build_learn_and_answer(fusion, lift):
    network = Raylift(RayliftSettings(fusion=fusion, lift=lift), Task(GRID.shape, (32, 32), 2, 2))
    inputs = batch(classes=2)
    dice_ce(network(inputs).logits, inputs.classes).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    if fusion == "concat":
        with pytest.raises(ConfigError, match="2 views and got 3"):
            network(batch(views=(0.0, 45.0, 90.0)))


def test_published_unet_has_the_published_number_of_parameters():
    assert (
        sum(p.numel() for p in build("unet").parameters()) == 1_203_911
    )  # "1.2 M", XrayTo3D benchmark, Table of models


@pytest.mark.parametrize("name", LEARNING)
def test_starts_near_background(name):
    assert (build(name).eval()(batch()).probabilities() > 0.5).float().mean() < 0.05
