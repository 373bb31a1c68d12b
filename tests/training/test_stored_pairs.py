"""Pictures and labels move alike: a ball goes where the closed form says, in the volume and in every picture."""

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.models.registry import MODELS, StoredPairs
from boneray.training.stored_pairs import Motion, drawn_motion, moved_alike, moved_labels, moved_picture

GRID = Grid((48, 40, 56), (2.0, 2.0, 2.0), (-30.0, 12.0, 5.0))
NOTHING = np.zeros(3)


def ball(at_mm):
    index = np.moveaxis(np.indices(GRID.shape), 0, -1)
    return (np.linalg.norm(GRID.to_world(index) - at_mm, axis=-1) < 7.0).astype(np.uint8)


def picture_of(at_mm, angle):
    """A spot where a parallel beam sees the point."""
    camera = orbit_camera(
        angle, centre_mm=GRID.centre_mm, detector_shape=(90, 100), detector_mm=(180.0, 200.0), kind="parallel"
    )
    column, row = camera.project(at_mm)
    rows, columns = np.mgrid[0:90, 0:100]
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8.0)
    return Radiograph(spot.astype(np.float32), camera)


def centre_of(values):
    total = values.sum()
    return np.array([(i * values).sum() / total for i in np.indices(values.shape)])


MOTIONS = {
    "zoom": Motion(1.3, NOTHING, False, NOTHING),
    "shift": Motion(1.0, NOTHING, False, np.array([8.0, -6.0, 12.0])),
    "half turn": Motion(1.0, NOTHING, True, NOTHING),
    "turn about the first ray": Motion(1.0, np.array([0.0, -0.3, 0.0]), False, NOTHING),
    "half turn, zoom, shift": Motion(0.8, NOTHING, True, np.array([5.0, 4.0, -8.0])),
}


@pytest.mark.parametrize("name", list(MOTIONS))
def test_a_ball_is_seen_where_it_has_gone(name):
    motion, middle = MOTIONS[name], np.asarray(GRID.centre_mm)
    start = middle + np.array([14.0, -10.0, 17.0])
    goal = middle + motion.matrix @ (start - middle) + motion.shift_mm
    got = GRID.to_world(centre_of(moved_labels(ball(start), GRID, motion)))
    np.testing.assert_allclose(got, goal, atol=1.0)  # half a voxel: labels go to the nearest one
    angles = (0.0,) if name.startswith("turn") else (0.0, 90.0, 35.0)  # a turn leaves the plane of the others
    for angle in angles:
        before = picture_of(start, angle)
        row, column = centre_of(moved_picture(before, GRID, motion).line_integrals)
        np.testing.assert_allclose([column, row], before.camera.project(goal), atol=0.1)


def test_a_half_turn_and_a_turn_are_what_they_are_called():
    assert np.allclose(MOTIONS["half turn"].matrix @ [1, 2, 3], [-1, -2, 3])
    assert MOTIONS["turn about the first ray"].matrix[0, 0] == pytest.approx(np.cos(0.3))


def test_a_tilt_turns_both_pictures_by_the_same_angle():
    pair = [picture_of(np.asarray(GRID.centre_mm), a) for a in (0.0, 90.0)]
    motion = drawn_motion(StoredPairs(tilt_deg=5.0), GRID, pair, seed=1, case_id="a", number=0)
    first, second = (motion.turn @ r.camera.central_ray for r in pair)
    assert first == pytest.approx(second) and 0 < abs(np.rad2deg(first)) < 25


def test_draws_replay_and_have_the_stated_spread():
    pair = [picture_of(np.asarray(GRID.centre_mm), a) for a in (0.0, 90.0)]
    change = StoredPairs(zoom=0.5, tilt_deg=5.0, shift=(0.05, 0.05, 0.02), half_turn=0.5)

    def draw(number, **other):
        return drawn_motion(change.model_copy(update=other), GRID, pair, seed=1, case_id="a", number=number)

    many = [draw(n) for n in range(400)]
    zoom = np.array([m.zoom for m in many])
    assert 0.5 <= zoom.min() < 0.55 and 1.45 < zoom.max() <= 1.5 and zoom.mean() == pytest.approx(1.0, abs=0.05)
    shift = np.array([m.shift_mm for m in many])
    np.testing.assert_allclose(shift.std(axis=0), np.multiply(GRID.size_mm, (0.05, 0.05, 0.02)), rtol=0.15)
    assert np.mean([m.half for m in many]) == pytest.approx(0.5, abs=0.08)
    assert draw(7).zoom == many[7].zoom and np.array_equal(draw(7).shift_mm, many[7].shift_mm)
    copies = {draw(n, copies=2).zoom for n in range(60)}
    assert len(copies) == 3 and 1.0 in copies  # the case itself and its two copies


def test_samples_of_the_published_recipe_are_changed_and_nothing_else_is():
    from boneray.datasets.phantom import phantom_case
    from boneray.training.samples import Samples, TrainingCase, class_map

    made = phantom_case("femur", seed=0, number=0, voxels=24, pixels=48)
    case = TrainingCase("a", made.labels.grid, class_map(made, ("target",)), None, tuple(made.radiographs.values()))
    paper = MODELS.get("swin_x2s_tiny").value.recipes["paper"].recipe
    plain = MODELS.get("swin_x2s_tiny").value.recipes["without_augmentation"].recipe

    def volume(recipe, n):
        samples = Samples([case], count=9, image_shape=(48, 48), class_names=("target",), recipe=recipe, seed=0,
                          augment=True)  # fmt: skip
        return samples[n].classes.numpy()

    assert all(np.array_equal(volume(plain, n), case.classes) for n in range(4))
    changed = [volume(paper, n) for n in range(4)]
    assert all(not np.array_equal(v, case.classes) for v in changed) and np.array_equal(changed[2], volume(paper, 2))
    still = moved_alike(case.classes, case.grid, list(case.radiographs), StoredPairs(), seed=0, case_id="a", number=1)
    assert still[0] is case.classes
