"""What networks show of their inside is what they computed: checked against plain transcriptions and closed forms."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.models.ear import EAR, EARSettings
from boneray.models.inner_maps import ShowsInside, inner_maps, shows_inside
from boneray.models.registry import MODELS
from boneray.models.volume_blocks import spread_views
from tests.models.networks import build, make_batch, small_settings, smallest_grid, task_of

GRID = Grid.cube(32, 128.0)
SMALL = {"channels": (4, 4, 8, 8, 8), "edge_channels": 4}
SHOWING = [entry.name for entry in MODELS if shows_inside(entry.name)]


def network(**changes):
    torch.manual_seed(0)
    return EAR(EARSettings(**{**SMALL, **changes}), task_of(GRID)).eval()


@torch.no_grad()
def maps_of(net, batch):
    """By (name, level)."""
    return {(m.name, m.level): m.values for m in net.inner_maps(batch)}


def normed(values):
    """Instance norm of (C, i, j, k) without weights, eps 1e-5."""
    mean, variance = values.mean((1, 2, 3), keepdims=True), values.var((1, 2, 3), keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-5)


def plain_frequency_enhancement(module, features):
    """The formula of the paper by numpy's FFT in double precision: (C, i, j, k) to the same."""
    spectrum = np.fft.fftn(normed(features), axes=(1, 2, 3), norm="ortho")

    def mixed(layer, values):
        weight, bias = layer.weight.detach().double().numpy()[..., 0, 0, 0], layer.bias.detach().double().numpy()
        return np.einsum("oc,cijk->oijk", weight, values) + bias[:, None, None, None]

    changed = mixed(module.real, spectrum.real) + 1j * mixed(module.imaginary, spectrum.imag)
    seen = np.abs(np.fft.ifftn(changed, axes=(1, 2, 3), norm="ortho"))
    layer = module.join[0]
    both = torch.from_numpy(np.concatenate([seen, features]))[None]
    joined = functional.conv3d(both, layer.weight.double(), layer.bias.double(), padding=1)[0].detach().numpy()
    return np.maximum(normed(joined), 0.0)


def test_the_frequency_maps_are_output_minus_input():
    net, batch = network(), make_batch(GRID, cases=1)
    found = maps_of(net, batch)
    before = spread_views(batch, net.task, "ear")
    for level in (1, 2, 3):
        with torch.no_grad():
            entering = net.encoder[level - 1](before)
        features = entering[0].double().numpy()
        wanted = plain_frequency_enhancement(net.frequency[level - 1], features) - features
        shown = found["frequency enhancement", level][0].numpy()
        np.testing.assert_allclose(shown, wanted, atol=2e-4)
        assert np.abs(wanted).max() > 0.5
        before = found["encoder", level]
        torch.testing.assert_close(found["frequency enhancement", level], before - entering)


def test_maps_have_the_sizes_of_the_paper():
    """Five levels, each half of the one before (128 to 4, here 32 to 1); FEM in the first three; one map of edges."""
    shapes = {key: tuple(values.shape[1:]) for key, values in maps_of(network(), make_batch(GRID, cases=1)).items()}
    channels = SMALL["channels"]
    edges = {level: 32 // 2**level for level in range(1, 6)}
    wanted = {("encoder", n): (channels[n - 1], *(edges[n],) * 3) for n in range(1, 6)}
    wanted |= {("decoder", n): wanted["encoder", n] for n in range(1, 5)}
    wanted |= {("frequency enhancement", n): wanted["encoder", n] for n in (1, 2, 3)}
    wanted |= {("edge attention", n): (1, *(edges[n],) * 3) for n in range(1, 5)}
    assert shapes == wanted
    whole = maps_of(network(first_stride=1), make_batch(GRID, cases=1))
    assert whole["encoder", 1].shape[2:] == (32, 32, 32) and whole["encoder", 5].shape[2:] == (2, 2, 2)


def test_the_edges_are_those_of_the_module_and_weigh_the_decoder():
    net, batch = network(), make_batch(GRID, cases=2)
    found = maps_of(net, batch)
    with torch.no_grad():
        logits = net.edge([found["encoder", level] for level in (1, 2, 3)])
        torch.testing.assert_close(found["edge attention", 1], 1 / (1 + torch.exp(-logits)))
        second = functional.interpolate(logits, scale_factor=0.5, mode="trilinear")
        torch.testing.assert_close(found["edge attention", 2], 1 / (1 + torch.exp(-second)))
        skip = net.shortcuts[0](found["encoder", 1])
        joined = net.decoder[0](torch.cat([net.up[0](found["decoder", 2]), skip], dim=1))
        torch.testing.assert_close(found["decoder", 1], joined * (1 + found["edge attention", 1]))
        answer = net(batch).values
        torch.testing.assert_close(net.head(net.last(found["decoder", 1])), answer)


def test_edges_of_a_bias_alone_are_its_sigmoid():
    net = network()
    with torch.no_grad():
        net.edge.leave.weight.zero_()
        net.edge.leave.bias.fill_(np.log(3.0))
    found = maps_of(net, make_batch(GRID, cases=1))
    for level in range(1, 5):
        np.testing.assert_allclose(found["edge attention", level].numpy(), 0.75, atol=1e-6)


def test_a_constant_image_has_constant_edges(monkeypatch):
    """Without zeros around it, and without a bias of all frequencies, which is an impulse at the first voxel.

    A picture that is brighter on one side has edges that differ.
    """
    net = network()
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            module.padding_mode = "replicate"
    for module in net.frequency:
        nn.init.zeros_(module.real.bias)
        nn.init.zeros_(module.imaginary.bias)
    picture = torch.full((1, 2, 32, 32, 32), 0.7)
    monkeypatch.setattr("boneray.models.ear.spread_views", lambda *_: picture)
    for values in (v for (name, _), v in maps_of(net, None).items() if name == "edge attention"):
        assert float(values.max() - values.min()) < 1e-6
    picture[:, :, 16:] = 2.0
    finest = maps_of(net, None)["edge attention", 1]
    assert float(finest.max() - finest.min()) > 0.1


@pytest.mark.parametrize(
    ("switch", "gone"), [("frequency", "frequency enhancement"), ("edge", "edge attention"), ("attention_shortcut", "")]
)
def test_a_module_that_is_off_has_no_maps(switch, gone):
    whole = {name for name, _ in maps_of(network(), make_batch(GRID, cases=1))}
    without = {name for name, _ in maps_of(network(**{switch: False}), make_batch(GRID, cases=1))}
    assert whole - without == ({gone} if gone else set())


@pytest.mark.parametrize("name", SHOWING)
def test_looking_changes_nothing_and_maps_cover_the_grid(name):
    """The same answer before and after; attention is between 0 and 1; levels of one name are told apart."""
    if name.startswith("swin_x2s") and name != "swin_x2s_tiny":
        assert shows_inside(name)
        return
    grid = smallest_grid(name)
    batch = make_batch(grid, cases=1)
    net = build(name, grid).eval()
    with torch.inference_mode():
        first = net(batch).output
        found = inner_maps(net, batch, model=name)
        assert torch.equal(net(batch).output, first)
    assert isinstance(net, ShowsInside) and small_settings(name)
    assert len({(m.name, m.level) for m in found}) == len(found) > 0
    for m in found:
        assert m.values.ndim == 5 and len(m.values) == 1 and torch.isfinite(m.values).all()
        assert all(n % part == 0 for n, part in zip(grid.shape, m.values.shape[2:], strict=True))
        if m.kind == "attention":
            assert float(m.values.min()) >= 0 and float(m.values.max()) <= 1


def test_gates_of_a_bias_alone_are_its_sigmoid_and_no_hook_stays():
    from monai.networks.nets.attentionunet import AttentionBlock

    net, grid = build("attention_unet").eval(), smallest_grid("attention_unet")
    gates = [module for module in net.modules() if isinstance(module, AttentionBlock)]
    with torch.no_grad():
        for gate in gates:
            gate.psi[1].weight.zero_()
            gate.psi[1].bias.fill_(-np.log(4.0))
    found = maps_of(net, make_batch(grid, cases=1))
    sizes = [grid.shape[0] // 2**n for n in range(4)]
    assert [(key, v.shape[2]) for key, v in found.items()] == [
        (("attention gates", n + 1), size) for n, size in enumerate(sizes)
    ]
    for values in found.values():
        np.testing.assert_allclose(values.numpy(), 0.2, atol=1e-6)
    assert not any(gate.psi._forward_hooks for gate in gates)


def test_maps_of_swin_x2s_begin_with_the_pictures_and_end_in_the_answer():
    name = "swin_x2s_tiny"
    batch, net = make_batch(smallest_grid(name), cases=1), build(name).eval()
    found = maps_of(net, batch)
    with torch.no_grad():
        frontal, lateral = net.pictures(batch)
        torch.testing.assert_close(found["2D Swin, frontal", 1][:, :, :, 0], frontal)
        torch.testing.assert_close(found["2D Swin, lateral", 1][:, :, 0], lateral)
        views = net(batch).views
        for n, view in enumerate(("frontal", "lateral")):
            torch.testing.assert_close(net.head(found[f"3D decoder, {view}", 1]) + net.offset, views[:, n])
    spread = net.spread["2"](found["2D Swin, lateral", 3][:, :, 0], 0)
    both = torch.cat([spread, spread])
    with torch.no_grad():
        torch.testing.assert_close(found["3D encoder, lateral", 3], net.encoders["2"](both)[:1], atol=1e-4, rtol=1e-4)


def test_a_network_without_maps_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="model unet shows no maps of its inside; these do: attention_unet, ear") as e:
        inner_maps(build("unet"), make_batch(GRID), model="unet")
    assert "\n" not in str(e.value)
