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
LABELLING = [entry.name for entry in MODELS if entry.value.learns == "labels"]
INTENSITIES = [entry.name for entry in MODELS if entry.value.learns == "intensities"]
DEPTH = [entry.name for entry in MODELS if entry.value.learns == "depth_maps"]  # their own: test_depth_networks.py
GRIDDED = [name for name in LEARNING if name not in DEPTH]
LARGE = [entry.name for entry in MODELS if entry.value.narrow is not None]
GRID = Grid.cube(32, 64.0)
QUICK_WHEN_NARROW = ("ear", "sit", "x2ct_generator")  # below 50 million parameters here; so is swin_x2s_tiny with 32.5


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LABELLING)
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


@pytest.mark.parametrize("name", INTENSITIES)
def test_gives_intensities_on_the_working_grid_and_labels_above_the_threshold(name, tmp_path):
    grid = smallest_grid(name)
    network = build(name).eval()
    network.set_scale(-900.0, 200.0)
    with torch.inference_mode():
        prediction = network(make_batch(grid, cases=2))
    assert prediction.values.shape == (2, 1, *grid.shape) and torch.isfinite(prediction.values).all()
    volumes, labels = prediction.to_volumes(grid), prediction.to_labels(grid, (22,))
    assert len(volumes) == len(labels) == 2 and volumes[0].grid is labels[0].grid is grid
    hu = 200.0 * prediction.values[1, 0].numpy() - 900.0
    torch.testing.assert_close(torch.from_numpy(volumes[1].data), torch.from_numpy(hu), rtol=0, atol=1e-2)
    assert ((labels[1].data == 22) == (volumes[1].data > -500.0)).all() and set(labels[1].ids) <= {22}
    with pytest.raises(ConfigError, match="3 bones apart") as caught:
        build(name, classes=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", INTENSITIES)
def test_the_scale_in_hu_survives_a_checkpoint_of_16_bits(name, tmp_path):
    grid = smallest_grid(name)
    edge = 2 * grid.shape[0]
    settings = small_settings(name).model_dump()
    card = CheckpointCard(
        name, settings, "vertebra", ("target",), grid.shape, (128.0,) * 3, (edge, edge), ("ap", "lat")
    )
    network = build_network(card)
    network.set_scale(-987.654, 123.456)
    save_checkpoint(tmp_path / "c.safetensors", network, card, half=True)
    again, _ = load_checkpoint(tmp_path / "c.safetensors")
    assert again.scale_hu.tolist() == pytest.approx([-987.654, 123.456], abs=1e-4)


@pytest.mark.parametrize("name", LEARNING)
def test_every_parameter_receives_a_gradient(name):
    spec = MODELS.get(name).value
    classes = 2 if spec.learns == "labels" else 1
    network = build(name, classes=classes).train()
    inputs = make_batch(smallest_grid(name), classes=classes)
    training_loss(spec.recipe.loss, network(inputs), inputs.reference(spec.learns), learns=spec.learns).backward()
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
        assert torch.equal(first(inputs).output, again(inputs).output)


@pytest.mark.parametrize("name", [n for n in LEARNING if n in LABELLING])
def test_starts_near_background(name):
    grid = smallest_grid(name)
    with torch.inference_mode():
        assert (build(name).eval()(make_batch(grid, cases=1)).probabilities() > 0.5).float().mean() < 0.05


@pytest.mark.parametrize("name", GRIDDED)
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


@pytest.mark.parametrize("name", GRIDDED)
def test_pictures_of_any_size_and_odd_grids(name):
    """Pictures need not be square nor twice the grid (raylift: multiples of 16 or 32); grids need not be cubes."""
    smallest = MODELS.get(name).value.smallest
    wide = smallest if name == "concat_1d" else 2 * smallest if smallest == 32 else smallest + 32
    grid = Grid((smallest, smallest, wide), (2.0, 2.0, 2.0), (3.0, -8.0, 40.0))
    pictures = (96, 160) if name.startswith("raylift") else (101, 67)
    spec = MODELS.get(name).value
    network = spec.build(small_settings(name), Task(grid.shape, pictures, 1, 2)).eval()
    with torch.inference_mode():
        output = network(make_batch(grid, cases=1, image_shape=pictures)).output
    assert output.shape == (1, 1, *grid.shape) and torch.isfinite(output).all()


@pytest.mark.parametrize("name", [n for n in LARGE if n not in DEPTH])
def test_the_full_size_answers_without_memory(name):
    grid = Grid.cube(64, 128.0)
    classes = 54 if name in LABELLING else 1
    network = full_size_on_meta(name, grid.shape, classes=classes).eval()
    if not name.endswith("tiny") and name not in QUICK_WHEN_NARROW:
        assert parameter_count(network) > MANY_PARAMETERS
    channels = 55 if name in LABELLING else 1
    assert network(meta(make_batch(grid, cases=1))).output.shape == (1, channels, *grid.shape)


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


@pytest.mark.parametrize("name", [n for n in LEARNING if n in INTENSITIES or n.startswith("bx2s")])
def test_views_in_any_order_and_60_to_140_degrees_apart(name):
    """EAR keeps the lateral view and moves the other, which at 140 degrees looks more from the side than the front."""
    network = build(name).eval()
    with torch.inference_mode():
        for angle in (30.0, -50.0):
            inputs = make_batch(smallest_grid(name), cases=1, views=(angle, 90.0))
            turned = type(inputs)(inputs.images.flip(1), inputs.projections.flip(1), inputs.depths.flip(1))
            assert torch.equal(network(turned).output, network(inputs).output)


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
