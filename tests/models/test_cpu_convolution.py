"""Quicker convolutions give what torch's own give, and so do their gradients."""

import copy

import pytest
import torch
from torch import nn

from boneray.models.checkpoint import CheckpointCard, build_network
from boneray.models.cpu_convolution import QuickConv3d, quicken

LAYERS = {
    "one channel": (nn.Conv3d(1, 1, 3, padding=1), (1, 1, 5, 6, 16)),
    "one channel, no bias": (nn.Conv3d(1, 1, 3, padding=1, bias=False), (2, 1, 4, 3, 8)),
    "one channel, no multiple of eight": (nn.Conv3d(1, 1, 3, padding=1), (2, 1, 4, 5, 9)),
    "one channel, stride": (nn.Conv3d(1, 1, 3, 2, padding=1), (1, 1, 4, 4, 8)),
    "small single case": (nn.Conv3d(4, 6, 3, padding=1), (1, 4, 6, 7, 8)),
    "strided": (nn.Conv3d(2, 8, 3, 2, padding=1), (1, 2, 8, 8, 8)),
    "dilated groups": (nn.Conv3d(4, 8, 3, padding=2, dilation=2, groups=2), (1, 4, 8, 8, 8)),
    "reflecting": (nn.Conv3d(2, 2, 3, padding=1, padding_mode="reflect"), (1, 2, 5, 5, 5)),
    "point": (nn.Conv3d(4, 8, 1), (1, 4, 5, 5, 5)),
    "transposed": (nn.ConvTranspose3d(4, 2, 3, 2, padding=1, output_padding=1), (1, 4, 3, 4, 5)),
    "doubling into one": (nn.ConvTranspose3d(4, 1, 3, 2, padding=1, output_padding=1), (2, 4, 3, 4, 5)),
    "doubling into one, no bias": (nn.ConvTranspose3d(3, 1, 3, 2, 1, 1, bias=False), (1, 3, 2, 2, 3)),
    "two cases": (nn.Conv3d(4, 6, 3, padding=1), (2, 4, 6, 6, 6)),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", list(LAYERS))
def test_same_numbers_and_same_gradients(kind, channels_last):
    plain, shape = LAYERS[kind]
    quick = quicken(nn.Sequential(copy.deepcopy(plain)), channels_last=channels_last)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(quick(x), plain(x), rtol=1e-4, atol=1e-5)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    plain.zero_grad()
    plain(one).square().sum().backward()
    quick(two).square().sum().backward()
    torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(quick.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-3)


def test_names_of_weights_stay_and_built_networks_are_quick():
    card = CheckpointCard("unet", {}, "femur", ("target",), (32,) * 3, (64.0,) * 3, (64, 64), ("ap", "lat"))
    network = build_network(card)
    assert any(isinstance(m, QuickConv3d) for m in network.modules())
    assert all(type(m) is not nn.Conv3d for m in network.modules())
    first = next(m for m in network.modules() if isinstance(m, QuickConv3d))
    assert first.weight.is_contiguous(memory_format=torch.channels_last_3d)
    plain = nn.Conv3d(1, 1, 3)
    assert quicken(nn.Sequential(plain)).state_dict().keys() == nn.Sequential(nn.Conv3d(1, 1, 3)).state_dict().keys()
