"""What the two-stage network must do: each stage learns its own part, and a frozen decoder stays frozen."""

import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.losses.registry import training_loss
from boneray.models.batch import Batch
from tests.models.networks import build, make_batch

GRID = Grid.cube(32, 64.0)
SHAPE = ("shape_encoder", "shape_code")
DECODER = ("unfold", "decoder")
XRAY = ("xray_encoder", "xray_code")
LEARNT = {
    "autoencoder": SHAPE + DECODER,
    "encoder": XRAY,
    "latent": XRAY,
    "joint": XRAY + SHAPE + DECODER,
    "end_to_end": XRAY + DECODER,
}


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("stage", list(LEARNT))
def test_a_stage_moves_its_own_part_and_nothing_else(stage, classes):
    network = build("tl_embedding", GRID, classes=classes).train()
    network.enter(stage)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    inputs = make_batch(GRID, classes=classes)
    for _ in range(2):
        optimiser.zero_grad()
        training_loss("dice_ce", network(inputs), inputs.classes).backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == name.startswith(LEARNT[stage]), name


def test_the_decoder_stays_frozen_even_where_it_was_moving():
    """The two stages one after the other, with one optimiser: what the first taught the decoder remains."""
    network = build("tl_embedding", GRID).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    inputs = make_batch(GRID)

    def step():
        optimiser.zero_grad()
        training_loss("dice_ce", network(inputs), inputs.classes).backward()
        optimiser.step()

    network.enter("autoencoder")
    step()
    taught = {n: p.detach().clone() for n, p in network.named_parameters() if n.startswith(DECODER)}
    network.enter("encoder")
    step()
    step()
    assert all(torch.equal(taught[n], p) for n, p in network.named_parameters() if n in taught)


def test_the_autoencoder_learns_from_labels_alone_and_the_answer_comes_from_pictures_alone():
    network = build("tl_embedding", GRID, dropout=0.0).train()
    network.enter("autoencoder")
    inputs = make_batch(GRID)
    other_pictures = Batch(inputs.images + 1, inputs.projections, inputs.depths, inputs.classes)
    torch.manual_seed(3)
    first = network(inputs).logits
    torch.manual_seed(3)
    assert torch.equal(first, network(other_pictures).logits)
    network.eval()
    other_labels = Batch(inputs.images, inputs.projections, inputs.depths, None)
    assert torch.equal(network(inputs).logits, network(other_labels).logits)
    with pytest.raises(ConfigError, match="learns from references"):
        network.train()(other_labels)


def test_noise_on_the_labels_has_the_published_variance():
    network = build("tl_embedding", GRID).train()
    network.enter("autoencoder")
    seen = []
    network.shape_encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    inputs = make_batch(GRID)
    network(inputs)
    noise = seen[0][:, 0] - inputs.classes
    assert noise.var().item() == pytest.approx(0.01, rel=0.02) and noise.mean().item() == pytest.approx(0, abs=2e-3)


def test_latent_regression_learns_the_code_of_the_reference():
    network = build("tl_embedding", GRID).train()
    network.enter("latent")
    inputs = make_batch(GRID)
    prediction = network(inputs)
    labels = inputs.classes[:, None].float()
    distance = (network.code_of_radiographs(inputs) - network.code_of_labels(labels)).square().sum(1).mean()
    torch.testing.assert_close(prediction.penalty, distance)
    assert not prediction.logits.requires_grad
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(15):
        optimiser.zero_grad()
        network(inputs).penalty.backward()
        optimiser.step()
    assert network(inputs).penalty < 0.5 * distance


def test_a_frozen_decoder_does_not_drop_out():
    network = build("tl_embedding", GRID, dropout=0.5).train()
    inputs = make_batch(GRID)
    assert torch.equal(network(inputs).logits, network(inputs).logits)
    network.enter("end_to_end")
    assert not torch.equal(network(inputs).logits, network(inputs).logits)


def test_an_unknown_stage_is_refused():
    with pytest.raises(ConfigError, match="no stage 'decoder'; choose of autoencoder"):
        build("tl_embedding", GRID).enter("decoder")
