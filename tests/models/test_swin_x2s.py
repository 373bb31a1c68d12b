"""What Swin-X2S must do: views expanded as stated, exchanged as stated, parts that can be switched off."""

import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.losses.registry import training_loss
from boneray.models.batch import Batch
from boneray.models.registry import MODELS
from boneray.models.swin_x2s import CrossAttention, Spread
from tests.models.networks import build, make_batch, parameter_count

GRID = Grid.cube(64, 128.0)
NAME = "swin_x2s_tiny"


def volumes(network, seed):
    """Random volumes at every level that the network reads."""
    rng = torch.Generator().manual_seed(seed)
    width = network.settings.width
    channels = [network.task.view_count // 2, *(width << n for n in range(5))]
    return {n: torch.randn(1, channels[n], *[64 >> n] * 3, generator=rng) for n in network.levels}


def test_a_map_is_spread_along_the_axis_its_view_looks_along():
    spread = Spread(3)
    features = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert torch.equal(spread(features, 1), features[:, :, :, None].expand(1, 1, 2, 3, 2))  # starts as replication
    with torch.no_grad():
        spread.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        spread.bias.copy_(torch.tensor([0.0, 10.0, 20.0]))
    assert spread(features, 0)[0, 0, 2].tolist() == [[20.0, 23.0], [26.0, 29.0]]


def test_exchanging_the_views_exchanges_the_answers():
    network = build(NAME, GRID).eval()
    one, two = volumes(network, 1), volumes(network, 2)
    with torch.inference_mode():
        first, second = network.decode(one, two)
        second_again, first_again = network.decode(two, one)
    torch.testing.assert_close(first, first_again, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, second_again, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first, second, atol=1e-2)


def test_each_view_is_told_what_the_other_shows():
    torch.manual_seed(0)
    exchange = CrossAttention(8, 2, 8)
    x = torch.randn(2, 8, 2, 2, 2)
    changed = torch.stack([x[0], x[1] + torch.randn(8, 2, 2, 2)])
    first, second = exchange(x)
    first_then, second_then = exchange(changed)
    assert not torch.allclose(first, first_then, atol=1e-3)  # keys and values of the first come from the second
    assert not torch.allclose(second, second_then, atol=1e-3)
    # without a residual a view whose other is all alike answers the same everywhere
    alike = exchange(torch.stack([x[0], torch.ones(8, 2, 2, 2)]))[0]
    torch.testing.assert_close(alike, alike[:, :1, :1, :1].expand_as(alike), rtol=1e-4, atol=1e-5)


def test_cross_attention_is_that_of_torch():
    torch.manual_seed(0)
    exchange = CrossAttention(8, 2, 8)
    other = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        for linear in (exchange.query, exchange.key, exchange.value):
            linear.bias.normal_()
        other.in_proj_weight.copy_(torch.cat([f.weight for f in (exchange.query, exchange.key, exchange.value)]))
        other.in_proj_bias.copy_(torch.cat([f.bias for f in (exchange.query, exchange.key, exchange.value)]))
        other.out_proj.load_state_dict(exchange.out.state_dict())
    x = torch.randn(2, 8, 2, 2, 2)
    tokens = exchange.norm_in(exchange.embed(x).flatten(2).transpose(1, 2) + exchange.position)
    want, _ = other(tokens, tokens.flip(0), tokens.flip(0))
    got = exchange(x)
    torch.testing.assert_close(got.flatten(2).transpose(1, 2), exchange.norm_out(want), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("switches", "levels"),
    [({}, (0, 1, 2, 3, 4, 5)), ({"transformer_skip": False}, (0, 5)), ({"conv_skip": False}, (5,))],
)
def test_parts_that_are_switched_off_are_gone_and_the_rest_learns(switches, levels):
    network = build(NAME, GRID, **switches).train()
    assert network.levels == levels
    inputs = make_batch(GRID, cases=1)
    training_loss("dice_ce_kl_mean", network(inputs), inputs.classes).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert parameter_count(network) <= parameter_count(build(NAME, GRID))


def test_more_views_per_direction_are_channels_in_a_fixed_order():
    network = build(NAME, GRID, views=4).eval()
    views = make_batch(GRID, cases=1, views=(0.0, 45.0, 90.0, 135.0))
    frontal, lateral = network.pictures(views)
    assert frontal.shape == lateral.shape == (1, 2, 64, 64)
    with torch.inference_mode():
        assert network(views).views.shape == (1, 2, 1, 64, 64, 64)
    with pytest.raises(ConfigError, match="one frontal and one lateral") as caught:
        network(Batch(views.images[:, [0, 1, 0, 1]], views.projections[:, [0, 1, 0, 1]], views.depths[:, [0, 1, 0, 1]]))
    assert "\n" not in str(caught.value)
    for wrong in (1, 3):
        with pytest.raises(ConfigError, match="as many frontal as lateral"):
            build(NAME, GRID, views=wrong)


def test_views_share_layers_so_the_first_two_sizes_are_equal():
    with pytest.raises(ConfigError, match="first two sizes equal; it takes 96x96x64"):
        build(NAME, Grid((96, 64, 64), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)))


def test_the_term_between_views_pulls_the_answers_together():
    """Gradient steps on the term alone make the two answers of the network alike."""
    from boneray.losses.cross_view import divergence

    network = build(NAME, GRID).train()
    inputs = make_batch(GRID, cases=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    distances = []
    for _ in range(4):
        apart = divergence(network(inputs).views).mean()
        distances.append(apart.item())
        optimiser.zero_grad()
        apart.backward()
        optimiser.step()
    assert distances[-1] < 0.5 * distances[0]


def test_every_size_has_the_recipes_of_paper_scripts_and_ablation():
    for size in ("tiny", "small", "base", "large"):
        recipes = MODELS.get(f"swin_x2s_{size}").value.recipes
        assert set(recipes) == {
            "paper",
            "code",
            "without_cross_loss",
            "without_augmentation",
            "without_transformer_skip",
            "without_conv_skip",
        }
        assert recipes["paper"].recipe.loss == "dice_ce_kl_sum" and recipes["code"].recipe.loss == "dice_ce_kl_mean"
        assert recipes["without_cross_loss"].recipe.loss == "dice_ce_published"
        assert recipes["without_augmentation"].recipe.stored_pairs.zoom == 0
        paper = recipes["paper"].recipe
        assert (paper.learning_rate, paper.weight_decay, paper.batch_size, paper.epochs) == (3e-5, 0.5, 1, 250)
        assert paper.steps_for(571) == 250 * 571 and paper.warmup_fraction * paper.epochs == pytest.approx(20)
