"""EAR's modules against plain references, and each switch by what it changes."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from boneray.core.grid import Grid
from boneray.models.ear import EAR, AttentionShortcut, EARSettings, EdgeAttention, FrequencyEnhancement
from boneray.models.volume_blocks import spread_views
from tests.models.networks import make_batch, parameter_count, task_of

GRID = Grid.cube(32, 128.0)
SMALL = {"channels": (4, 4, 8, 8, 8), "edge_channels": 4}


def network(**changes):
    torch.manual_seed(0)
    return EAR(EARSettings(**{**SMALL, **changes}), task_of(GRID)).eval()


def dft(shape):
    """One matrix per axis: F[f, n] = exp(-2 pi i f n / N) / sqrt(N)."""
    return [np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n) for n in shape]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("output", ["magnitude", "real"])
def test_the_frequency_module_is_its_plain_transcription(kernel, output):
    torch.manual_seed(1)
    module = FrequencyEnhancement(2, kernel, output)
    features = torch.randn(1, 2, 3, 4, 5)
    plain = features.double().numpy()
    plain = (plain - plain.mean((2, 3, 4), keepdims=True)) / np.sqrt(plain.var((2, 3, 4), keepdims=True) + 1e-5)
    a, b, c = dft((3, 4, 5))
    spectrum = np.einsum("xi,yj,zk,ncijk->ncxyz", a, b, c, plain)

    def convolved(layer, values):
        weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
        return functional.conv3d(torch.from_numpy(values.copy()), weight, bias, padding=kernel // 2).numpy()

    changed = convolved(module.real, spectrum.real) + 1j * convolved(module.imaginary, spectrum.imag)
    back = np.einsum("xi,yj,zk,ncxyz->ncijk", a.conj(), b.conj(), c.conj(), changed)
    wanted = np.abs(back) if output == "magnitude" else back.real
    np.testing.assert_allclose(module.in_frequencies(features).detach().numpy(), wanted, atol=2e-5)


def test_a_gate_of_zero_leaves_the_features_and_of_one_doubles_them():
    torch.manual_seed(0)
    module = EdgeAttention((4, 4), 4).eval()
    fine, coarse = torch.randn(1, 4, 8, 8, 8), torch.randn(1, 4, 4, 4, 4)
    entered = module.enter[0](fine)
    alone = entered + module.residual[0](entered)
    for bias, factor in ((-100.0, 1.0), (100.0, 2.0)):
        torch.nn.init.zeros_(module.gates[0][2].weight)
        torch.nn.init.constant_(module.gates[0][2].bias, bias)
        torch.testing.assert_close(module([fine, coarse]), module.leave(alone * factor))


def test_the_shortcut_weighs_channels_then_places():
    torch.manual_seed(0)
    module = AttentionShortcut(6, 16, 3)
    x = torch.randn(1, 6, 4, 4, 4)
    first, second = (module.channel[n].weight[:, :, 0, 0, 0] for n in (0, 2))
    biases = module.channel[0].bias, module.channel[2].bias
    pooled = [x.mean((2, 3, 4)), x.amax((2, 3, 4))]
    weights = torch.sigmoid(sum(torch.relu(p @ first.T + biases[0]) @ second.T + biases[1] for p in pooled))
    y = x * weights[:, :, None, None, None]
    place = torch.sigmoid(
        functional.conv3d(
            torch.cat([y.mean(1, True), y.amax(1, True)], 1), module.spatial.weight, module.spatial.bias, padding=1
        )
    )
    torch.testing.assert_close(module(x), y * place)


@pytest.mark.parametrize(
    ("switch", "prefix"), [("frequency", "frequency."), ("edge", "edge."), ("attention_shortcut", "shortcuts.")]
)
def test_a_switch_takes_away_exactly_its_part(switch, prefix):
    whole, without = network().state_dict(), network(**{switch: False}).state_dict()
    assert {n for n in whole if n not in without} == {n for n in whole if n.startswith(prefix)}
    assert all(without[n].shape == whole[n].shape for n in without)


def test_without_its_effect_a_module_is_as_good_as_not_there():
    inputs = make_batch(GRID, cases=1)
    whole = network()
    with torch.no_grad():
        whole.edge.leave.weight.zero_()
        whole.edge.leave.bias.fill_(-200.0)  # no edge anywhere: features times 1 + 0
        for shortcut in whole.shortcuts:
            shortcut.channel[2].weight.zero_()
            shortcut.channel[2].bias.fill_(100.0)
            shortcut.spatial.weight.zero_()
            shortcut.spatial.bias.fill_(100.0)
    bare = network(edge=False, attention_shortcut=False)
    bare.load_state_dict({n: v for n, v in whole.state_dict().items() if not n.startswith(("edge.", "shortcuts."))})
    with torch.inference_mode():
        torch.testing.assert_close(whole(inputs).values, bare(inputs).values)
        assert bare(inputs).edges is None and whole(inputs).edges.shape == (1, 1, *GRID.shape)


@pytest.mark.parametrize(
    "changes", [{"first_stride": 1}, {"injection": "concatenate"}, {"frequency_kernel": 3, "frequency_output": "real"}]
)
def test_what_the_paper_leaves_open_can_be_chosen(changes):
    inputs = make_batch(GRID)
    made = network(**changes).train()
    made(inputs).values.square().mean().backward()
    assert all(p.grad is not None for p in made.parameters())
    assert made(inputs).values.shape == (2, 1, *GRID.shape)
    default = parameter_count(network())
    assert (parameter_count(made) != default) == (
        "frequency_output" in changes or "injection" in changes or "first_stride" in changes
    )


def test_pictures_are_repeated_along_the_rays():
    inputs = make_batch(GRID, cases=1)
    volume = spread_views(inputs, task_of(GRID), "ear")
    assert volume.shape == (1, 2, *GRID.shape)
    assert (volume[:, 0] == volume[:, 0, :, :1]).all() and (volume[:, 1] == volume[:, 1, :1]).all()
    assert volume[:, 0].std() > 0.1 and volume[:, 1].std() > 0.1
