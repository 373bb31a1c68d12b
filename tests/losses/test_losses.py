"""Losses at known points, and gradients against differences."""

import math

import pytest
import torch

from boneray.losses.registry import LOSSES

NAMES = [entry.name for entry in LOSSES]


def test_values_by_hand():
    logits = torch.zeros(1, 1, 2, 2, 2)
    classes = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    classes[0, 0] = 1  # half of the voxels
    # p = 1/2 everywhere: overlap 2, sums 4 and 4: 1 - (2 * 2 + 1) / (4 + 4 + 1)
    assert LOSSES.get("dice").value(logits, classes).item() == pytest.approx(1 - 5 / 9)
    assert LOSSES.get("cross_entropy").value(logits, classes).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_costs_nothing_and_gradients_are_right(name, channels):
    loss = LOSSES.get(name).value
    classes = torch.randint(0, max(channels, 2), (2, 3, 3, 3), generator=torch.Generator().manual_seed(0))
    if channels == 1:
        perfect = (classes[:, None].double() * 2 - 1) * 50
    else:
        perfect = torch.nn.functional.one_hot(classes, channels).movedim(-1, 1).double() * 50
    assert loss(perfect, classes).item() == pytest.approx(0.0, abs=1e-6)
    logits = torch.randn(2, channels, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), (logits.requires_grad_(),))
