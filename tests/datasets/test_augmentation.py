"""Augmented patients: replayable, the pictures belong to the changed body, cameras are stored as they stand."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from boneray.core.bones import bone
from boneray.core.camera import orbit_camera
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.augmentation import (
    Limits,
    changed,
    changed_body,
    copies,
    copies_in,
    drawn,
    wider,
    with_copies,
)
from boneray.datasets.phantom import phantom_case
from boneray.geometry.warp import similarity, warped_labels, warped_volume
from boneray.io.case_folder import read_case, read_description, write_case
from boneray.projection.joseph import line_integrals
from boneray.projection.render import render

STILL = Limits(
    rotation_deg=0, shift_mm=0, scale=0, bend_mm=0, view_deg=0, view_shift_mm=0, kvp=None, photons=None,
    blur_px=(0, 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    return phantom_case("pelvis", seed=0, number=0, voxels=48, pixels=48)


@pytest.fixture(scope="module")
def fine():
    return phantom_case("pelvis", seed=0, number=0, voxels=96, pixels=48)


def same_bytes(a, b):
    return (
        np.array_equal(a.labels.data, b.labels.data)
        and np.array_equal(a.ct.data, b.ct.data)
        and all(np.array_equal(a.radiographs[v].line_integrals, b.radiographs[v].line_integrals) for v in a.radiographs)
        and all(a.radiographs[v].camera == b.radiographs[v].camera for v in a.radiographs)
    )


def test_copies_are_the_same_for_the_same_seed_and_others_for_another(case):
    first, again, other = (list(copies(case, 2, seed=seed)) for seed in (4, 4, 5))
    assert [c.case_id for c in first] == ["pelvis-0-0000-copy1", "pelvis-0-0000-copy2"]
    assert {c.patient_id for c in first} == {case.patient_id}
    assert all(same_bytes(a, b) for a, b in zip(first, again, strict=True))
    assert not same_bytes(first[0], other[0]) and not same_bytes(first[0], first[1])
    assert not same_bytes(first[0], next(copies(replace(case, case_id="x"), 1, seed=4)))


def test_a_copy_can_be_made_again_from_its_case_file(case, tmp_path):
    made = next(copies(case, 1, seed=9))
    write_case(tmp_path / made.case_id, made)
    how = read_case(tmp_path / made.case_id).provenance["augmented"]
    change = drawn(
        Limits(**how["limits"]), case.labels.grid, seed=how["seed"], case_id=how["case"], number=how["number"]
    )
    assert same_bytes(changed(case, change), made)


def test_without_limits_nothing_changes(case):
    made = next(copies(case, 1, seed=0, limits=STILL))
    assert same_bytes(made, case)


def test_moving_the_body_is_moving_the_camera_the_other_way(case, fine):
    """Taking the picture of the moved body is taking that of the body at rest with the moved camera."""
    rotation = Rotation.from_euler("xyz", (4, -6, 8), degrees=True).as_matrix()
    centre, shift = case.labels.grid.centre_mm, np.array([5.0, -4.0, 3.0])
    x, y, z = np.moveaxis(fine.ct.grid.to_world(np.moveaxis(np.indices(fine.ct.grid.shape), 0, -1)), -1, 0)
    ends_inside = x**2 + y**2 + z**2 < 150**2  # of the grid, so that no face of the CT is seen
    ct = Volume(np.where(ends_inside, fine.ct.data, -1000).astype(np.int16), fine.ct.grid)
    moved = warped_volume(ct, similarity(rotation, shift_mm=shift, centre_mm=centre))
    motion = np.eye(4)
    motion[:3, :3] = rotation.T
    motion[:3, 3] = centre - rotation.T @ (centre + shift)
    for radiograph in fine.radiographs.values():
        a = render(moved, radiograph.camera).line_integrals
        b = render(ct, radiograph.camera.moved(motion)).line_integrals
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9995
        unmoved = np.corrcoef(a.ravel(), render(ct, radiograph.camera).line_integrals.ravel())[0, 1]
        assert unmoved < 0.995  # a picture that was not taken anew would be noticed


def test_the_pictures_show_the_changed_labels(fine):
    """Bone alone in the CT: the picture is the chord of the changed labels, through the stored camera."""
    bones = np.isin(fine.labels.data, fine.labels.ids)
    ct = Volume(np.where(bones, 1000, -1000).astype(np.int16), fine.labels.grid)
    limits = Limits(kvp=None, photons=None, blur_px=(0, 0))
    for made in copies(replace(fine, ct=ct), 3, seed=1, limits=limits):
        for view, radiograph in made.radiographs.items():
            assert radiograph.camera != fine.radiographs[view].camera
            chord = line_integrals((made.labels.data > 0).astype(np.float32), made.labels.grid, radiograph.camera)
            assert np.corrcoef(chord.ravel(), radiograph.line_integrals.ravel())[0, 1] > 0.99
            stale = line_integrals((fine.labels.data > 0).astype(np.float32), fine.labels.grid, radiograph.camera)
            assert np.corrcoef(stale.ravel(), radiograph.line_integrals.ravel())[0, 1] < 0.95


def test_landmarks_go_with_the_bone_and_true_measurements_stay_behind(case):
    assert case.truth and case.landmarks
    made = next(copies(case, 1, seed=2))
    change = drawn(Limits(), case.labels.grid, seed=2, case_id=case.case_id, number=1)
    for before, after in zip(case.landmarks, made.landmarks, strict=True):
        assert before.name == after.name
        np.testing.assert_allclose(change.warp.old_from_new(after.point_mm), before.point_mm, atol=1e-6)
    assert made.truth == () and made.provenance["augmented"]["left_out"] == ["truth"]


def test_every_bone_is_still_there_and_its_volume_follows_the_scale(fine):
    limits = Limits(bend_mm=0, shift_mm=0, rotation_deg=0, kvp=None, photons=None)
    for made in copies(fine, 3, seed=3, limits=limits):
        scale = made.provenance["augmented"]["scale"]
        number = bone("sacrum").bone_id
        before, after = (int((labels.data == number).sum()) for labels in (fine.labels, made.labels))
        assert after == pytest.approx(before * scale**3, rel=0.03)


def test_beam_and_noise_are_drawn_within_their_limits(case):
    limits = Limits(kvp=(80, 90), photons=(1e4, 1e5))
    found = [drawn(limits, case.labels.grid, seed=0, case_id="a", number=n) for n in range(40)]
    assert all(80 <= c.beam.kvp <= 90 and 1e4 <= c.photons <= 1e5 for c in found)
    assert np.ptp([c.beam.kvp for c in found]) > 5 and np.ptp(np.log10([c.photons for c in found])) > 0.5
    noisy, clean = (
        next(copies(case, 1, seed=0, limits=STILL.model_copy(update={"photons": p}))) for p in ((1e4, 1e4), None)
    )
    for view in case.radiographs:
        difference = noisy.radiographs[view].line_integrals - clean.radiographs[view].line_integrals
        transmitted = np.exp(-clean.radiographs[view].line_integrals)
        bright = transmitted > 0.05  # SD of -ln of n / 1e4 counts is 1 / sqrt(1e4 transmitted)
        assert np.std(difference[bright] * np.sqrt(1e4 * transmitted[bright])) == pytest.approx(1.0, abs=0.1)


def test_a_wider_grid_holds_everything_a_change_can_bring_in():
    grid, limits = Grid.cube(32, 128.0, (5, 6, 7)), Limits(rotation_deg=20, shift_mm=10, scale=0.2, bend_mm=5)
    wide = wider(grid, limits)
    corners = grid.to_world(np.array(np.meshgrid(*[(0, 31)] * 3)).reshape(3, -1).T)
    for number in range(200):
        warp = drawn(limits, grid, seed=0, case_id="a", number=number).warp
        index = wide.to_index(warp.old_from_new(corners))
        assert index.min() >= 0 and (index <= np.array(wide.shape) - 1).all()
    np.testing.assert_allclose(wide.to_index(grid.origin_mm) % 1, 0, atol=1e-9)


def test_what_enters_at_a_face_comes_from_the_wider_labels():
    """A ball beside the grid rolls in when its surroundings are known."""
    grid = Grid.cube(20, 20.0)
    wide = Grid.cube(40, 40.0)
    x, y, z = np.moveaxis(wide.to_world(np.stack(np.meshgrid(*(np.arange(40),) * 3, indexing="ij"), -1)), -1, 0)
    ball = LabelMap((((x - 14) ** 2 + y**2 + z**2) < 3.5**2).astype(np.uint8), wide)
    hu = Volume(np.where(ball.data, 500, -1000).astype(np.int16), wide)
    camera = orbit_camera(0.0, detector_shape=(8, 8))
    base = phantom_case("pelvis", seed=0, number=0, voxels=16, pixels=16)
    case = replace(
        base, labels=LabelMap(ball.data[10:30, 10:30, 10:30].copy(), grid), ct=hu, landmarks=(),
        radiographs={"ap": render(hu, camera)},
    )  # fmt: skip
    limits = STILL.model_copy(update={"shift_mm": 8.0})
    # a number whose shift brings the ball to the left
    number = next(n for n in range(1, 99) if drawn(limits, grid, seed=0, case_id="c", number=n).warp.shift_mm[0] > 7.5)
    change = drawn(limits, grid, seed=0, case_id="c", number=number)
    assert case.labels.data.sum() == 0
    assert changed(case, change).labels.data.sum() == 0
    rolled_in = changed(case, change, around=ball).labels.data
    assert rolled_in.sum() > 0.8 * ball.data.sum()
    assert np.array_equal(rolled_in, warped_labels(ball, change.warp).data[10:30, 10:30, 10:30])


def test_a_class_map_goes_the_same_way_as_the_labels(case):
    change = drawn(Limits(), case.labels.grid, seed=0, case_id="a", number=0)
    classes, ct = changed_body(case.labels.data, case.labels.grid, case.ct, change)
    made = changed(case, change)
    assert np.array_equal(classes, made.labels.data) and np.array_equal(ct.data, made.ct.data)


def test_held_out_parts_hold_no_copies(case, tmp_path):
    for made in copies(case, 2, seed=0):
        write_case(tmp_path / made.case_id, made)
    found = copies_in(read_description(f) for f in sorted(tmp_path.iterdir()))
    assert found == {f"{case.case_id}-copy{n}": case.case_id for n in (1, 2)}
    parts = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    kept = with_copies(parts, {"a-copy1": "a", "b-copy1": "b", "a-copy2": "a"})
    assert kept == {"train": ["a", "a-copy1", "a-copy2"], "validation": ["b"], "test": ["c"]}
    mixed = {"train": ["a", "b-copy1"], "validation": ["b", "a-copy1"], "test": []}
    assert with_copies(mixed, {"a-copy1": "a", "b-copy1": "b"}) == {
        "train": ["a", "a-copy1"], "validation": ["b"], "test": [],
    }  # fmt: skip


def test_what_cannot_be_changed_is_said(case):
    with pytest.raises(DataError, match="no CT or no labels"):
        next(copies(replace(case, ct=None), 1, seed=0))
    with pytest.raises(InputError, match="-1 copies"):
        next(copies(case, -1, seed=0))
    with pytest.raises(ValidationError, match="may fold the body"):
        Limits(bend_mm=20, knot_mm=40)
    with pytest.raises(ValidationError, match="from the lower to the higher"):
        Limits(kvp=(100, 80))
