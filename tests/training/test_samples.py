"""Training samples: replayable, mirrored exactly, cameras turned as they are named."""

import numpy as np
import pytest
import torch

from boneray.core.camera import orbit_camera
from boneray.datasets.phantom import phantom_case
from boneray.models.registry import CameraMixture, Recipe
from boneray.projection.render import render
from boneray.training.samples import Samples, TrainingCase, class_map, mirrored, turned


@pytest.fixture(scope="module")
def case():
    made = phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=32)
    names = ("sacrum", "hip_right", "hip_left")
    return TrainingCase(
        made.case_id, made.labels.grid, class_map(made, names), made.ct, tuple(made.radiographs.values())
    )


NAMES = ("sacrum", "hip_right", "hip_left")


def samples(case, *, seed=0, recipe=None, augment=True):
    recipe = recipe or Recipe(batch_size=2)
    return Samples([case], count=8, image_shape=(32, 32), class_names=NAMES, recipe=recipe, seed=seed, augment=augment)


def test_a_sample_is_the_same_whenever_it_is_drawn(case):
    first, again = samples(case), samples(case)
    for n in (5, 0, 3):
        a, b = first[n], again[n]
        assert torch.equal(a.images, b.images) and torch.equal(a.projections, b.projections)
    assert not torch.equal(first[0].images, first[1].images)
    assert not torch.equal(first[0].images, samples(case, seed=1)[0].images)


def test_turning_a_camera_is_taking_the_view_at_another_angle():
    centre = np.array([4.0, -3.0, 9.0])
    got = turned(orbit_camera(90.0, centre_mm=centre), -15.0, centre)
    np.testing.assert_allclose(got.pose, orbit_camera(75.0, centre_mm=centre).pose, atol=1e-9)


def test_the_mirror_image_of_a_patient_is_seen_mirrored_and_its_sides_swap(case):
    other = mirrored(case, NAMES)
    assert (other.classes == 2).sum() == (case.classes == 3).sum()
    assert np.array_equal(other.classes[::-1] == 2, case.classes == 3)
    ap = orbit_camera(0.0, centre_mm=case.grid.centre_mm, detector_shape=(24, 24), detector_mm=(500.0, 500.0))
    np.testing.assert_allclose(
        render(other.ct, ap).line_integrals, render(case.ct, ap).line_integrals[:, ::-1], rtol=1e-3, atol=1e-3
    )


def test_stored_pictures_are_used_as_they_are_without_augmentation(case):
    sample = samples(case, augment=False)[0]
    plain = case.radiographs[0].line_integrals
    np.testing.assert_allclose(sample.images[0, 0].numpy(), (plain - plain.mean()) / plain.std(), atol=1e-4)


def test_exact_cameras_stay_exact_and_jittered_ones_move(case):
    still = Recipe(cameras=CameraMixture(jittered=0, turned=0), mirror=0)
    exact = samples(case, augment=False)[0].projections
    assert torch.equal(samples(case, recipe=still)[0].projections, exact)
    moved = samples(case, recipe=Recipe(cameras=CameraMixture(jittered=1, turned=0), mirror=0))[0].projections
    assert (moved - exact).abs().max() > 0.01


def test_a_changed_body_is_seen_changed_and_replays(case):
    from boneray.datasets.augmentation import Limits

    still = {"cameras": CameraMixture(jittered=0, turned=0), "mirror": 0, "noise": 0, "contrast": 0}
    limits = Limits(kvp=None, photons=None, blur_px=(0, 0))
    plain = samples(case, recipe=Recipe(**still))[3]
    one, again = (samples(case, recipe=Recipe(**still, body=limits))[3] for _ in range(2))
    assert torch.equal(one.images, again.images) and torch.equal(one.classes, again.classes)
    assert torch.equal(one.projections, plain.projections)  # the cameras stand still, the body does not
    moved = (one.classes > 0) ^ (plain.classes > 0)
    assert moved.sum() > 0.2 * (plain.classes > 0).sum()
    assert (one.images - plain.images).abs().mean() > 0.05
    assert Recipe.model_validate(Recipe(body=limits).model_dump()) == Recipe(body=limits)
