"""Losses at known points, against another implementation, and gradients against differences."""

import math

import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.losses.boundary import surface_distance
from boneray.losses.cross_view import divergence
from boneray.losses.registry import LOSSES, training_loss
from boneray.models.batch import LabelLogits, ViewLogits

LABELS = [entry for entry in LOSSES if entry.facts.get("learns", "labels") == "labels" and not entry.facts.get("whole")]
NAMES = [entry.name for entry in LABELS if not entry.facts.get("per_view")]
PER_VIEW = [entry.name for entry in LOSSES if entry.facts.get("per_view")]


def classes_of(channels, edge=3):
    return torch.randint(0, max(channels, 2), (2, edge, edge, edge), generator=torch.Generator().manual_seed(0))


def perfect_logits(classes, channels):
    if channels == 1:
        return (classes[:, None].double() * 2 - 1) * 50
    return (torch.nn.functional.one_hot(classes, channels).movedim(-1, 1).double() * 2 - 1) * 50


def random_logits(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_values_by_hand():
    logits = torch.zeros(1, 1, 2, 2, 2)
    classes = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    classes[0, 0] = 1  # half of the voxels
    # p = 1/2 everywhere: overlap 2, sums 4 and 4: 1 - (2 * 2 + 1) / (4 + 4 + 1)
    assert LOSSES.get("dice").value(logits, classes).item() == pytest.approx(1 - 5 / 9)
    assert LOSSES.get("dice_published").value(logits, classes).item() == pytest.approx(0.5, abs=1e-5)
    assert LOSSES.get("cross_entropy").value(logits, classes).item() == pytest.approx(math.log(2))
    assert LOSSES.get("bce").value(logits, classes).item() == pytest.approx(math.log(2))
    assert LOSSES.get("focal").value(logits, classes).item() == pytest.approx(math.log(2) / 4)
    # every voxel errs by 1/2; an empty prediction has no surface, the reference is 1 voxel away everywhere
    assert LOSSES.get("hausdorff").value(logits, classes).item() == pytest.approx(0.25 * 1)


def test_distances_to_a_surface_by_hand():
    mask = torch.zeros(1, 2, 5, 1, 1, dtype=torch.bool)
    mask[0, 0, :2] = True
    assert surface_distance(mask)[0, 0].flatten().tolist() == [2, 1, 1, 2, 3]
    assert surface_distance(mask)[0, 1].abs().sum() == 0  # nothing there: no surface


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_costs_nothing_and_gradients_are_right(name, channels):
    loss = LOSSES.get(name).value
    classes = classes_of(channels)
    assert loss(perfect_logits(classes, channels), classes).item() == pytest.approx(0.0, abs=1e-6)
    logits = random_logits(2, channels, 3, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), (logits,))


@pytest.mark.parametrize("channels", [1, 4])
def test_published_losses_are_those_of_monai(channels):
    from monai.losses import DiceCELoss, DiceLoss, FocalLoss

    classes, logits = classes_of(channels, edge=6), random_logits(2, channels, 6, 6, 6)
    target = classes[:, None]
    one = channels == 1
    many = {"sigmoid": one, "softmax": not one, "to_onehot_y": not one}
    assert torch.isclose(LOSSES.get("dice_published").value(logits, classes), DiceLoss(**many)(logits, target))
    wanted = DiceCELoss(**many)(logits, target.double() if one else target)
    assert torch.isclose(LOSSES.get("dice_ce_published").value(logits, classes), wanted)
    if one:
        wanted = FocalLoss(gamma=2.0, use_softmax=False)(logits, target.double())
    else:  # MONAI takes the mean over channels, only one of which counts per voxel
        wanted = channels * FocalLoss(gamma=2.0, use_softmax=True, to_onehot_y=True)(logits, target)
    torch.testing.assert_close(LOSSES.get("focal").value(logits, classes), wanted.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("channels", [1, 4])
def test_hausdorff_is_that_of_monai(channels):
    from monai.losses import HausdorffDTLoss

    classes, logits = classes_of(channels, edge=6), random_logits(2, channels, 6, 6, 6)
    if channels == 1:
        other = HausdorffDTLoss(alpha=2.0, sigmoid=True)
    else:
        other = HausdorffDTLoss(alpha=2.0, softmax=True, to_onehot_y=True)
    target = classes[:, None].double()  # MONAI keeps its distances in the type of the target
    wanted = other(logits, target).double()
    assert torch.isclose(LOSSES.get("hausdorff").value(logits, classes), wanted, rtol=1e-5)


def test_divergence_of_two_views_by_hand():
    # one voxel, two classes: view 0 says 1/2 and 1/2, view 1 says 1/4 and 3/4
    views = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75]]]))[..., None, None, None].double()
    there = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)  # view 0 against view 1
    back = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(views).flatten(2).sum(2)[0].tolist() == pytest.approx([there, back])
    sigmoids = torch.tensor([0.0, math.log(3)])[None, :, None, None, None, None].double()  # the same in one channel
    assert divergence(sigmoids).flatten(2).sum(2)[0].tolist() == pytest.approx([there, back])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sum_is_the_mean_times_voxels_and_classes(channels):
    classes = classes_of(channels)
    views = random_logits(2, 2, channels, 3, 3, 3)
    single = sum(LOSSES.get("dice_ce_published").value(views[:, v], classes) for v in range(2)) / 2
    mean = LOSSES.get("dice_ce_kl_mean").value(views, classes) - single
    total = LOSSES.get("dice_ce_kl_sum").value(views, classes) - single
    assert mean.item() > 0 and total.item() == pytest.approx(mean.item() * 27 * max(2, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PER_VIEW)
def test_views_that_agree_with_the_reference_cost_nothing(name, channels):
    loss = LOSSES.get(name).value
    classes = classes_of(channels)
    perfect = perfect_logits(classes, channels)
    assert loss(torch.stack([perfect, perfect], 1), classes).item() == pytest.approx(0.0, abs=1e-6)
    views = random_logits(2, 2, channels, 3, 3, 3)
    assert loss(views, classes).item() == pytest.approx(loss(views.flip(1), classes).item())
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), (views.requires_grad_(),))


def test_a_loss_between_views_pulls_both_views():
    views = random_logits(1, 2, 1, 3, 3, 3).requires_grad_()
    divergence(views).mean().backward()
    assert (views.grad.flatten(2).abs().sum(2) > 0).all()


def test_a_loss_is_applied_to_what_the_model_answers():
    classes = classes_of(1)
    views = random_logits(2, 2, 1, 3, 3, 3)
    answer = ViewLogits.of(views)
    torch.testing.assert_close(answer.logits, views.mean(1))
    assert training_loss("dice", answer, classes) == LOSSES.get("dice").value(views.mean(1), classes)
    assert training_loss("dice_ce_kl_mean", answer, classes) == LOSSES.get("dice_ce_kl_mean").value(views, classes)
    plain = LabelLogits(views[:, 0])
    with_term = LabelLogits(views[:, 0], penalty=torch.tensor(3.0))
    assert training_loss("dice", with_term, classes) == training_loss("dice", plain, classes) + 3
    with pytest.raises(ConfigError, match="answers of views"):
        training_loss("dice_ce_kl_mean", plain, classes)
