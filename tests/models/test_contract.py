"""What any registered model must do."""

import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.losses.registry import training_loss
from boneray.models.checkpoint import CheckpointCard, build_network, load_checkpoint, save_checkpoint
from boneray.models.raylift import Raylift, RayliftSettings
from boneray.models.registry import MODELS, Task
from tests.models.networks import (
    MANY_PARAMETERS,
    build,
    full_size_on_meta,
    make_batch,
    meta,
    parameter_count,
    small_settings,
    smallest_grid,
)

NAMES = [entry.name for entry in MODELS]
LEARNING = [entry.name for entry in MODELS if entry.value.learns_by_gradient]
LARGE = [entry.name for entry in MODELS if entry.value.narrow is not None]
GRID = Grid.cube(32, 64.0)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_gives_labels_on_the_working_grid(name, classes):
    grid = smallest_grid(name)
    network = build(name, classes=classes).eval()
    with torch.inference_mode():
        prediction = network(make_batch(grid, classes=classes, cases=1))
    assert prediction.logits.shape == (1, 1 if classes == 1 else classes + 1, *grid.shape)
    assert torch.isfinite(prediction.logits).all()
    assert prediction.probabilities().shape == (1, classes, *grid.shape)
    labels = prediction.to_labels(grid, tuple(range(50, 50 + classes)))
    assert len(labels) == 1 and labels[0].grid is grid
    assert set(labels[0].ids) <= set(range(50, 50 + classes))


@pytest.mark.parametrize("name", LEARNING)
def test_every_parameter_receives_a_gradient(name):
    network = build(name, classes=2).train()
    inputs = make_batch(smallest_grid(name), classes=2)
    loss = MODELS.get(name).value.recipe.loss
    training_loss(loss, network(inputs), inputs.classes).backward()
    learning = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert learning
    dead = [n for n, p in learning.items() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not dead
    # a bias before a normalisation cancels, so its gradient may be an exact zero
    still = [n for n, p in learning.items() if not n.endswith("bias") and not p.grad.any()]
    assert not still


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network_and_a_checkpoint_brings_it_back(name, tmp_path):
    grid = smallest_grid(name)
    settings = small_settings(name).model_dump()
    edge = 2 * grid.shape[0]
    card = CheckpointCard(name, settings, "femur", ("target",), grid.shape, (128.0,) * 3, (edge, edge), ("ap", "lat"))
    torch.manual_seed(1)
    first = build_network(card).eval()
    torch.manual_seed(1)
    again = build_network(card)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    save_checkpoint(tmp_path / "c.safetensors", first, card)
    again, read = load_checkpoint(tmp_path / "c.safetensors")
    assert (read.model, read.task) == (card.model, card.task)
    inputs = make_batch(grid, cases=1)
    with torch.inference_mode():
        assert torch.equal(first(inputs).logits, again(inputs).logits)


@pytest.mark.parametrize("name", LEARNING)
def test_starts_near_background(name):
    grid = smallest_grid(name)
    with torch.inference_mode():
        assert (build(name).eval()(make_batch(grid, cases=1)).probabilities() > 0.5).float().mean() < 0.05


@pytest.mark.parametrize("name", LEARNING)
def test_what_does_not_fit_is_one_line_with_the_nearest_sizes(name):
    smallest = MODELS.get(name).value.smallest
    with pytest.raises(ConfigError, match=r"grid .*takes .*\d") as caught:
        build(name, Grid.cube(smallest + 1, 128.0))
    assert "\n" not in str(caught.value) and str(smallest) in str(caught.value)
    inputs = make_batch(smallest_grid(name), cases=1)
    network = build(name).eval()
    blind = type(inputs)(inputs.images, inputs.projections[:, :1], inputs.depths[:, :1])
    with pytest.raises(ConfigError, match="camera is missing") as caught:
        network(blind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in LEARNING if not n.startswith("raylift")])
def test_another_number_of_views_is_refused(name):
    three = make_batch(smallest_grid(name), cases=1, views=(0.0, 45.0, 90.0))
    with pytest.raises(ConfigError, match="2 views and got 3"):
        build(name).eval()(three)


@pytest.mark.parametrize("name", LEARNING)
def test_pictures_of_any_size_and_odd_grids(name):
    """Pictures need not be square nor twice the grid (raylift: multiples of 16 or 32); grids need not be cubes."""
    smallest = MODELS.get(name).value.smallest
    wide = smallest if name == "concat_1d" else 2 * smallest if smallest == 32 else smallest + 32
    grid = Grid((smallest, smallest, wide), (2.0, 2.0, 2.0), (3.0, -8.0, 40.0))
    pictures = (96, 160) if name.startswith("raylift") else (101, 67)
    spec = MODELS.get(name).value
    network = spec.build(small_settings(name), Task(grid.shape, pictures, 1, 2)).eval()
    with torch.inference_mode():
        logits = network(make_batch(grid, cases=1, image_shape=pictures)).logits
    assert logits.shape == (1, 1, *grid.shape) and torch.isfinite(logits).all()


@pytest.mark.parametrize("name", LARGE)
def test_the_full_size_answers_without_memory(name):
    grid = Grid.cube(64, 128.0)
    network = full_size_on_meta(name, grid.shape, classes=54).eval()
    if not name.endswith("tiny"):  # 32.5 million; narrow only to be quick
        assert parameter_count(network) > MANY_PARAMETERS
    assert network(meta(make_batch(grid, cases=1))).logits.shape == (1, 55, *grid.shape)


def test_no_model_that_is_too_large_for_a_test_lacks_a_narrow_one():
    for name in set(LEARNING) - set(LARGE):
        assert parameter_count(full_size_on_meta(name, (64, 64, 64))) <= MANY_PARAMETERS


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("raylift")])
def test_raylift_takes_any_number_of_views_in_any_order(name):
    grid = smallest_grid(name)
    network = build(name).eval()
    for views in ((0.0,), (0.0, 60.0, 120.0)):
        assert network(make_batch(grid, views=views)).logits.shape == (2, 1, *grid.shape)
    inputs = make_batch(grid)
    turned = type(inputs)(inputs.images.flip(1), inputs.projections.flip(1), inputs.depths.flip(1))
    torch.testing.assert_close(network(turned).logits, network(inputs).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("concat", "swin_x2s"))])
def test_a_frontal_and_a_lateral_picture_are_known_by_their_cameras(name):
    inputs = make_batch(smallest_grid(name), cases=1)
    network = build(name).eval()
    turned = type(inputs)(inputs.images.flip(1), inputs.projections.flip(1), inputs.depths.flip(1))
    with torch.inference_mode():
        assert torch.equal(network(turned).logits, network(inputs).logits)
    two_frontal = make_batch(smallest_grid(name), cases=1, views=(0.0, 20.0))
    with pytest.raises(ConfigError, match="one frontal and one lateral"):
        network(two_frontal)


@pytest.mark.parametrize("fusion", ["pooled", "concat"])
@pytest.mark.parametrize("lift", ["rays", "permute"])
def test_raylift_options_build_learn_and_answer(fusion, lift):
    grid = Grid.cube(16, 64.0)
    network = Raylift(RayliftSettings(fusion=fusion, lift=lift), Task(grid.shape, (32, 32), 2, 2))
    inputs = make_batch(grid, classes=2)
    training_loss("dice_ce", network(inputs), inputs.classes).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    if fusion == "concat":
        with pytest.raises(ConfigError, match="2 views and got 3"):
            network(make_batch(grid, views=(0.0, 45.0, 90.0)))


def test_a_network_that_normalises_over_the_batch_refuses_to_learn_from_one_case():
    network = build("concat_1d").train()
    with pytest.raises(ConfigError, match="batches of 2 or more") as caught:
        network(make_batch(smallest_grid("concat_1d"), cases=1))
    assert "\n" not in str(caught.value)
