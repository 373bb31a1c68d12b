"""Losses of intensities in closed form: a shifted cube, identical volumes, a single voxel."""

import math

import numpy as np
import pytest
import torch

from boneray.core.errors import ConfigError
from boneray.losses.intensity import NOT_CERTAIN, edges, sobel_magnitude
from boneray.losses.registry import LOSSES, training_loss
from boneray.losses.surface_classes import with_edges
from boneray.metrics.intensity import frequency_distance_raw
from boneray.models.batch import Intensities, LabelLogits, SurfaceLogits

NAMES = [entry.name for entry in LOSSES if entry.facts.get("learns") == "intensities"]
EDGE, CUBE = 12, 4


def answer(values, edge_map=None):
    return Intensities(values[:, None], 0.0, 1.0, 0.5, edges=edge_map)


def loss_of(name, prediction, reference):
    return training_loss(name, answer(prediction), reference, learns="intensities").item()


def cube(shift=0, edge=EDGE):
    volume = torch.zeros(1, edge, edge, edge, dtype=torch.float64)
    volume[:, 4 + shift : 4 + shift + CUBE, 4 : 4 + CUBE, 4 : 4 + CUBE] = 1.0
    return volume


def noise(seed, edge=6, cases=2):
    return torch.randn(cases, edge, edge, edge, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_cube_that_is_shifted_by_one_voxel():
    wrong = 2 * CUBE**2 / EDGE**3  # a face is missed, a face is too much
    assert loss_of("intensity_l1", cube(1), cube()) == pytest.approx(wrong)
    assert loss_of("intensity_mse", cube(1), cube()) == pytest.approx(wrong)
    # along i the shadow is the same; along j and k two edges of it differ
    assert loss_of("intensity_projection", cube(1), cube()) == pytest.approx((0 + 2 * (2 * CUBE / EDGE**2)) / 3)
    back = loss_of("intensity_projection", cube(), cube(1))
    assert back == pytest.approx(loss_of("intensity_projection", cube(1), cube()))


def test_a_single_voxel_in_the_frequency_domain():
    reference = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    prediction = reference.clone()
    prediction[0, 0, 0, 0] = 3.0  # at the origin its spectrum is real and flat: 3 / sqrt(64) everywhere
    assert loss_of("intensity_frequency", prediction, reference) == pytest.approx(math.log10(3 / 8), abs=1e-5)
    assert loss_of("intensity_frequency", reference, reference) == pytest.approx(-6.0)


def test_the_frequency_distance_is_that_of_the_metric():
    a, b = noise(1, cases=1), noise(2, cases=1)
    assert loss_of("intensity_frequency", b, a) == pytest.approx(
        frequency_distance_raw(a[0].numpy(), b[0].numpy()), abs=1e-5
    )


def test_sobel_of_a_single_voxel_and_of_a_ramp():
    voxel = torch.zeros(1, 5, 5, 5, dtype=torch.float64)
    voxel[0, 2, 2, 2] = 1.0
    got = sobel_magnitude(voxel)[0]
    assert got[2, 2, 2] == pytest.approx(0, abs=1e-6)
    assert got[3, 2, 2] == pytest.approx(1 / 8, abs=1e-6)  # 1/2 x 2/4 x 2/4
    assert got[3, 3, 2] == pytest.approx(math.sqrt(2) / 16, abs=1e-6)
    assert got[1, 3, 1] == pytest.approx(math.sqrt(3) / 32, abs=1e-6)
    assert got[0].abs().max() == pytest.approx(0, abs=1e-6)
    ramp = torch.arange(6.0, dtype=torch.float64)[None, None, :, None].expand(1, 6, 6, 6) * 2.5
    assert sobel_magnitude(ramp)[0, :, 1:-1] == pytest.approx(2.5, abs=1e-6)


def test_identical_volumes_have_the_entropy_of_their_edges():
    reference = noise(3)
    most = sobel_magnitude(reference).flatten(1).amax(1)
    e = edges(reference, most).numpy()
    entropy = float(-(e * np.log(e) + (1 - e) * np.log(1 - e)).mean())
    assert loss_of("intensity_edge", reference, reference) == pytest.approx(entropy, rel=1e-9)
    assert loss_of("intensity_edge", noise(4), reference) > entropy
    flat = torch.zeros(1, 6, 6, 6, dtype=torch.float64)  # no edge anywhere: what is left is that nothing is certain
    c = NOT_CERTAIN
    least = -(c * math.log(c) + (1 - c) * math.log(1 - c))
    assert loss_of("intensity_edge", flat, flat) == pytest.approx(least)


@pytest.mark.parametrize("name", ["intensity_l1", "intensity_mse", "intensity_projection"])
def test_identical_volumes_cost_nothing(name):
    assert loss_of(name, noise(5), noise(5)) == 0.0


def test_sums_have_the_weights_of_the_paper():
    a, b = noise(6), noise(7)
    part = {name: loss_of(name, b, a) for name in NAMES if name not in ("ear", "ear_edge_map")}
    two = part["intensity_l1"] + 0.1 * part["intensity_edge"]
    three = two + 0.1 * part["intensity_frequency"]
    assert part["intensity_l1_edge"] == pytest.approx(two)
    assert part["intensity_l1_edge_frequency"] == pytest.approx(three)
    assert loss_of("ear", b, a) == pytest.approx(three + 0.1 * part["intensity_projection"])
    certain = edges(a, sobel_magnitude(a).flatten(1).amax(1))
    with_map = training_loss("ear_edge_map", answer(b, torch.logit(certain)[:, None]), a, learns="intensities").item()
    assert with_map - loss_of("ear", b, a) == pytest.approx(0.1 * loss_of("intensity_edge", a, a), rel=1e-6)
    with pytest.raises(ConfigError, match="gives none"):
        loss_of("ear_edge_map", b, a)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right_and_finite_where_nothing_is(name):
    reference = noise(8, edge=3, cases=1)
    edge_map = noise(9, edge=3, cases=1)[:, None]
    assert torch.autograd.gradcheck(
        lambda x: training_loss(name, answer(x, edge_map), reference, learns="intensities"),
        (noise(10, edge=3, cases=1).requires_grad_(),),
    )
    flat = torch.zeros(1, 4, 4, 4, requires_grad=True)
    training_loss(
        name, answer(flat, torch.zeros(1, 1, 4, 4, 4)), torch.zeros(1, 4, 4, 4), learns="intensities"
    ).backward()
    assert torch.isfinite(flat.grad).all()


def test_a_loss_of_another_kind_is_refused_in_one_line():
    logits = LabelLogits(torch.zeros(1, 1, 4, 4, 4))
    with pytest.raises(ConfigError, match="ear is for intensities, and this model learns labels") as caught:
        training_loss("ear", logits, torch.zeros(1, 4, 4, 4, dtype=torch.long))
    assert "dice_ce" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="dice is for labels"):
        loss_of("dice", cube(), cube())
    with pytest.raises(ConfigError, match="inside and edge"):
        training_loss("surface_ce", logits, torch.zeros(1, 4, 4, 4, dtype=torch.long))


def test_the_edge_of_a_cube_and_the_weights_near_its_surface():
    classes = torch.zeros(1, 13, 13, 13, dtype=torch.long)
    classes[0, 3:10, 3:10, 3:10] = 1  # 7^3: an outer layer 1 voxel from the outside, then 2
    parts = with_edges(classes, 1)
    assert (parts == 2).sum() == 7**3 - 5**3 and (parts == 1).sum() == 5**3
    scores = SurfaceLogits.of(torch.zeros(1, 3, 13, 13, 13), 1)
    near = 9**3 - 5**3  # outside, corners are sqrt(3) = 1.73 away, within 1.8
    assert training_loss("surface_ce_plain", scores, classes).item() == pytest.approx(math.log(3))
    assert training_loss("surface_ce", scores, classes).item() == pytest.approx(
        math.log(3) * (1 + near / 13**3), rel=1e-6
    )
    two = SurfaceLogits.of(torch.zeros(1, 2, 13, 13, 13), 1)
    assert training_loss("surface_ce_plain", two, classes).item() == pytest.approx(math.log(2))
    empty = torch.zeros(1, 5, 5, 5, dtype=torch.long)
    none = SurfaceLogits.of(torch.zeros(1, 3, 5, 5, 5), 1)
    assert training_loss("surface_ce", none, empty).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("bones", [1, 2])
def test_inside_and_edge_are_one_bone_as_probabilities_are(bones):
    parts = torch.randn(2, 1 + 2 * bones, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    p = parts.softmax(dim=1)
    wanted = torch.stack([p[:, 1 + c] + p[:, 1 + bones + c] for c in range(bones)], dim=1)
    torch.testing.assert_close(SurfaceLogits.of(parts, bones).probabilities(), wanted)
