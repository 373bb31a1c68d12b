"""SI and CASI against the paper's equations in plain float64, their invariances, and empty maps."""

import math

import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.losses.registry import LOSSES, training_loss
from boneray.models.depth_prediction import DepthPrediction, MaskPrediction

NAMES = ("si_indep", "si_dep", "casi_indep", "casi_dep")


def maps(seed=0, pictures=2, count=4, edge=12, share=0.6):
    draw = torch.Generator().manual_seed(seed)
    shape = (pictures, count, edge, edge)
    reference = 900 + 200 * torch.rand(shape, generator=draw, dtype=torch.float64)
    prediction = reference + 30 * torch.randn(shape, generator=draw, dtype=torch.float64) + 15
    reference[torch.rand(shape, generator=draw) > share] = math.nan
    return prediction, reference


def loss_called(name):
    """The registered loss on tensors: (depths, reference) -> scalar."""
    return lambda depths, reference: LOSSES.get(name).value(answer(depths), reference)


def answer(depths):
    return DepthPrediction(depths, depths.shape[1], torch.eye(3, 4).expand(len(depths), 3, 4))


def transcribed(name, prediction, reference):
    """Equations 1 to 4 pixel by pixel, in python floats."""
    family, kind = name.split("_")
    per_picture = []
    for p, r in zip(prediction.tolist(), reference.tolist(), strict=True):
        pairs = [
            [(y, t) for ys, ts in zip(a, b, strict=True) for y, t in zip(ys, ts, strict=True) if not math.isnan(t)]
            for a, b in zip(p, r, strict=True)
        ]
        everything = [pair for one in pairs for pair in one]
        shift = sum(t for _, t in everything) / len(everything) - sum(y for y, _ in everything) / len(everything)

        def g(y, t, shift=shift):
            if family == "si":
                return math.log(y) - math.log(t)
            return math.log(max(0.0, y + shift) + 1e-6) - math.log(t + 1e-6)

        def root(pixels):
            values = [g(y, t) for y, t in pixels]
            n = len(values)
            return math.sqrt(sum(v * v for v in values) / n - 0.85 / n**2 * sum(values) ** 2)

        if kind == "dep":
            per_picture.append(10 * root(everything))
        else:
            per_picture.append(10 / len(pairs) * sum(root(one) for one in pairs))
    return sum(per_picture) / len(per_picture)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_paper_s_equations(name):
    for seed in range(3):
        prediction, reference = maps(seed)
        want = transcribed(name, prediction, reference)
        loss = loss_called(name)
        assert abs(float(loss(prediction, reference)) - want) <= 1e-12
        assert abs(float(loss(prediction.float(), reference.float())) - want) <= 1e-5 * want


def test_one_pixel_by_hand():
    """Prediction e times the reference at every pixel: g = 1, so 10 sqrt(1 - 0.85) = 3.8730 for SI."""
    reference = torch.full((1, 1, 2, 2), 100.0, dtype=torch.float64)
    assert float(loss_called("si_indep")(math.e * reference, reference)) == pytest.approx(3.8729833462)
    # CASI takes the whole shift away
    assert float(loss_called("casi_indep")(math.e * reference, reference)) <= 1e-6


@pytest.mark.parametrize("kind", ["indep", "dep"])
def test_casi_ignores_a_common_shift_and_si_does_not(kind):
    prediction, reference = maps()
    casi, si = loss_called(f"casi_{kind}"), loss_called(f"si_{kind}")
    torch.testing.assert_close(casi(prediction + 120.0, reference), casi(prediction, reference), rtol=0, atol=1e-10)
    assert abs(float(si(prediction + 120.0, reference) - si(prediction, reference))) > 0.1
    # a shift of one map alone is an error to both
    one = prediction.clone()
    one[:, 0] += 300.0
    assert float(casi(one, reference) - casi(prediction, reference)) > 0.1


@pytest.mark.parametrize("family", ["si", "casi"])
def test_one_map_is_its_own_neighbour(family):
    prediction, reference = maps(count=1)
    dep, indep = (loss_called(f"{family}_{kind}")(prediction, reference) for kind in ("dep", "indep"))
    torch.testing.assert_close(dep, indep, rtol=0, atol=1e-14)
    many, many_reference = maps(count=4)
    values = [float(loss_called(f"{family}_{kind}")(many, many_reference)) for kind in ("dep", "indep")]
    assert abs(values[0] - values[1]) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_empty_maps_cost_nothing_and_give_no_nan(name):
    loss = loss_called(name)
    prediction, reference = maps()
    without, reference_without = prediction[:, :3], reference[:, :3]
    emptied = reference.clone()
    emptied[:, 3] = math.nan
    torch.testing.assert_close(loss(prediction, emptied), loss(without, reference_without), rtol=0, atol=1e-12)
    nothing = torch.full_like(reference, math.nan)
    for target in (emptied, nothing):
        learner = prediction.clone().requires_grad_(True)
        value = loss(learner, target)
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(learner.grad).all()
    assert float(loss(prediction, nothing)) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    prediction, reference = maps(pictures=1, count=2, edge=4)
    assert torch.autograd.gradcheck(lambda p: loss_called(name)(p, reference), prediction.requires_grad_(True))
    exact = torch.where(torch.isfinite(reference), reference, 1000.0).requires_grad_(True)
    loss_called(name)(exact, reference).backward()
    assert torch.isfinite(exact.grad).all()


def test_a_prediction_far_too_deep_is_cut_at_zero_and_stays_finite():
    reference = torch.tensor([[[[10.0, 30.0]]]], dtype=torch.float64)
    prediction = torch.tensor([[[[500.0, 560.0]]]], dtype=torch.float64)  # aligned: -10 and 50
    want = [math.log(1e-6) - math.log(10 + 1e-6), math.log(50 + 1e-6) - math.log(30 + 1e-6)]
    cost = 10 * math.sqrt(sum(v * v for v in want) / 2 - 0.85 / 4 * sum(want) ** 2)
    assert float(loss_called("casi_dep")(prediction, reference)) == pytest.approx(cost, abs=1e-9)


def test_a_front_only_network_learns_the_fronts():
    prediction, reference = maps(count=4)
    fronts = loss_called("si_indep")(prediction[:, :2], reference[:, :2])
    assert torch.equal(loss_called("si_indep")(prediction[:, :2], reference), fronts)


def test_masks_by_hand_and_by_transcription():
    """Certain and right: Dice 0, and cross-entropy of the smoothed label only; half a pixel wrong by hand."""
    reference = torch.tensor([[[[900.0, math.nan]]]], dtype=torch.float64)
    logits = torch.tensor([[[[0.0, -2.0]]]], dtype=torch.float64)
    p = [0.5, 1 / (1 + math.exp(2.0))]
    sizes, apart = sum(p) + 1, (1 - p[0]) + p[1]
    dice = 1 - (sizes - apart + 1) / (sizes + 1)
    entropy = -(0.95 * math.log(p[0]) + 0.05 * math.log(1 - p[0]) + 0.05 * math.log(p[1]) + 0.95 * math.log(1 - p[1]))
    masks = MaskPrediction(logits, torch.eye(3, 4)[None])
    got = training_loss("masks_dice_ce", masks, reference, learns="depth_maps")
    assert float(got) == pytest.approx(dice + entropy / 2, abs=1e-12)
    sure = MaskPrediction(torch.tensor([[[[40.0, -40.0]]]], dtype=torch.float64), torch.eye(3, 4)[None])
    assert float(training_loss("masks_dice_ce", sure, reference, learns="depth_maps")) == pytest.approx(0.05 * 40)
    with pytest.raises(ConfigError, match="predicts depths"):
        training_loss("masks_dice_ce", answer(logits), reference, learns="depth_maps")
    with pytest.raises(ConfigError, match="predicts masks"):
        training_loss("si_dep", masks, reference, learns="depth_maps")
