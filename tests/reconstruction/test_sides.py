"""Left and right are mirror images: of pictures, cameras, labels and answers."""

from dataclasses import replace

import numpy as np
import pytest

from boneray.core.bones import bone
from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume
from boneray.projection.joseph import line_integrals
from boneray.projection.render import render
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.reconstruction.sides import (
    mirrored_camera,
    mirrored_labels,
    mirrored_radiograph,
    other_side,
    side_of,
)
from tests.reconstruction import films


def test_a_mirrored_patient_seen_by_the_mirrored_camera_gives_the_mirrored_picture():
    grid = Grid((12, 14, 16), (3.0, 3.0, 3.0), (-10.0, -25.0, -20.0))
    body = np.random.default_rng(3).random(grid.shape).astype(np.float32)
    camera = orbit_camera(35.0, cranial_deg=12.0, roll_deg=8.0, principal_offset_mm=(4.0, -9.0),
                          detector_shape=(40, 50), detector_mm=(160.0, 200.0))  # fmt: skip
    seen = Radiograph(line_integrals(body, grid, camera), camera)
    x_mm = 7.5
    reflected = Volume(np.ascontiguousarray(body[::-1]), replace(grid, origin_mm=(2 * x_mm - 23.0, -25.0, -20.0)))
    again = mirrored_radiograph(seen, x_mm)
    found = line_integrals(reflected.data, reflected.grid, again.camera)
    np.testing.assert_allclose(found, again.line_integrals, atol=2e-3)
    twice = mirrored_camera(mirrored_camera(camera, x_mm), x_mm)
    np.testing.assert_allclose(twice.image_from_world, camera.image_from_world, atol=1e-9)
    point = np.array([5.0, -3.0, 8.0])
    column, row = camera.project(point)
    np.testing.assert_allclose(again.camera.project((2 * x_mm - 5.0, -3.0, 8.0)), (49 - column, row), atol=1e-9)


def test_labels_change_side_and_name():
    grid = Grid.cube(8, 80.0, (100.0, 0.0, 0.0))
    data = np.zeros((8, 8, 8), np.uint8)
    data[0, 1, 2], data[3, 3, 3] = bone("hip_left").bone_id, bone("sacrum").bone_id
    other = mirrored_labels(LabelMap(data, grid), 100.0)
    assert other.grid.matches(grid)
    assert other.data[7, 1, 2] == bone("hip_right").bone_id and other.data[4, 3, 3] == bone("sacrum").bone_id
    assert (other_side("rib_left_3"), other_side("L3"), other_side("")) == ("rib_right_3", "L3", "")


def test_films_from_the_opposite_side_give_nearly_the_same_bone():
    """PA instead of AP, the right lateral instead of the left one: the network has learnt neither."""
    case = films.femur(1)
    views = {}
    for view, angle in (("pa", 180.0), ("rlat", 270.0)):
        camera = orbit_camera(angle, detector_shape=(128, 128), detector_mm=(237.6, 237.6))
        views[view] = render(case.ct, camera)
    found = films.reconstructor().labels(views, target=case.target)
    assert films.dice(case.labels.data, found.data) > 0.93


def test_a_checkpoint_of_one_side_answers_for_both_alike():
    """The left phantom is the reflection of a right one, so the answers must be reflections of each other."""
    shared = films.reconstructor()
    assert side_of(shared.card) == ""
    assert films.reconstructor().must_mirror("femur_left") is False
    right_only = Reconstructor(shared.network, replace(shared.card, training={**shared.card.training, "side": "right"}))
    case = next(films.femur(n) for n in range(5) if films.femur(n).target == "femur_right")
    x_mm = 3.0
    left = {view: mirrored_radiograph(r, x_mm) for view, r in case.radiographs.items()}
    answer_right = right_only(case.radiographs, target="femur_right")
    answer_left = right_only(left, target="femur_left")
    assert answer_right.labels.ids == (54,) and answer_left.labels.ids == (53,)
    back = mirrored_labels(answer_left.labels, x_mm)
    assert back.grid.matches(answer_right.labels.grid)
    np.testing.assert_array_equal(back.data, answer_right.labels.data)
    assert films.dice(case.labels.data, answer_right.labels.data) > 0.95
    mesh = answer_left.meshes["femur_left"]
    assert (
        mesh.volume_mm3 == pytest.approx(answer_right.meshes["femur_right"].volume_mm3, rel=1e-6)
        and mesh.volume_mm3 > 0
    )
    middle = answer_right.meshes["femur_right"].vertices_mm.mean(0)
    np.testing.assert_allclose(mesh.vertices_mm.mean(0), (2 * x_mm - middle[0], *middle[1:]), atol=1e-6)
    # a left patient taken as all are, from the front and from the patient's right
    patient = next(films.femur(n) for n in range(5) if films.femur(n).target == "femur_left")
    assert right_only.must_mirror("femur_left")
    usual = right_only.labels(patient.radiographs, target="femur_left")
    assert usual.ids == (53,) and films.dice(patient.labels.data, usual.data) > 0.95
    np.testing.assert_array_equal(right_only.labels(left, target="femur_left").data, answer_left.labels.data)
