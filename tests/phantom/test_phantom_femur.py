"""The femur phantom against geometry: sphere, angle, offset, side, cut."""

from dataclasses import replace

import numpy as np
import pytest

from boneray.core.grid import Grid
from boneray.phantom.femur import femur_scene
from boneray.phantom.femur_shape import drawn_femur
from boneray.phantom.patient import make_patient
from boneray.phantom.raster import rasterise

NUMBERS = (0, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def cases():
    return [make_patient("femur", seed=5, number=i, voxels=96) for i in NUMBERS]


def points(case):
    return {mark.name: np.array(mark.point_mm) for mark in case.landmarks}


def values(case):
    return {m.name: m.value for m in case.truth}


def voxel_centres(case):
    return case.labels.grid.to_world(np.argwhere(case.labels.data > 0))


def test_neck_direction_of_a_hand_made_femur():
    shape = replace(drawn_femur(np.random.default_rng(0)), neck_shaft_angle_deg=120.0, anteversion_deg=0.0)
    assert np.allclose(shape.neck_direction, (-np.sqrt(3) / 2, 0.0, 0.5))


def test_head_sphere_is_bone_and_nothing_lies_beyond_it(cases):
    for case in cases:
        centre, radius = points(case)["femoral_head_centre"], values(case)["femoral_head_radius_mm"]
        grid = case.labels.grid
        everywhere = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
        distance = np.linalg.norm(everywhere - centre, axis=-1)
        assert np.all(case.labels.data[distance < radius - 1.0] > 0)
        # Away from the neck the surface of the bone is that of the sphere.
        away = (centre - points(case)["neck_centre"]) / np.linalg.norm(centre - points(case)["neck_centre"])
        cap = (everywhere - centre) @ away > 0.2 * radius
        volume = (case.labels.data[cap] > 0).sum() * grid.voxel_volume_mm3
        height = 0.8 * radius
        assert np.isclose(volume, np.pi * height**2 * (3 * radius - height) / 3, rtol=0.01)


def test_neck_shaft_angle_and_offset_from_recovered_axes(cases):
    for case in cases:
        mark, truth = points(case), values(case)
        voxels = voxel_centres(case)
        down = mark["shaft_distal"] - mark["shaft_proximal"]
        length = np.linalg.norm(down)
        down = down / length
        along = (voxels - mark["shaft_proximal"]) @ down
        middles = [voxels[(along > a) & (along < a + 3)].mean(axis=0) for a in np.arange(4.0, length - 6.0, 1.0)]
        assert len(middles) >= 3
        off_axis = [np.linalg.norm(np.cross(m - mark["shaft_proximal"], down)) for m in middles]
        assert max(off_axis) < 1.2
        neck = mark["neck_centre"] - mark["femoral_head_centre"]
        angle = 180 - np.rad2deg(np.arccos(neck @ down / np.linalg.norm(neck)))
        assert np.isclose(angle, truth["neck_shaft_angle_deg"], atol=1e-6)
        reach = np.linalg.norm(np.cross(mark["femoral_head_centre"] - mark["shaft_distal"], down))
        assert np.isclose(reach, truth["femoral_offset_mm"], atol=1e-6)


def test_neck_section_is_centred_on_the_neck_axis(cases):
    for case in cases:
        mark, radius = points(case), values(case)["femoral_head_radius_mm"]
        axis = mark["neck_centre"] - mark["femoral_head_centre"]
        axis /= np.linalg.norm(axis)
        voxels = voxel_centres(case) - mark["neck_centre"]
        flat = np.abs(voxels @ axis) < 1.5
        aside = np.linalg.norm(voxels - np.outer(voxels @ axis, axis), axis=1)
        assert np.linalg.norm(voxels[flat & (aside < 0.95 * radius)].mean(axis=0)) < 1.5


def test_bone_is_cut_by_the_lower_face_only_and_the_shaft_is_in_view(cases):
    for case in cases:
        mask = case.labels.data > 0
        assert mask[:, :, 0].any()
        assert not any(face.any() for face in (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, -1]))
        assert points(case)["femoral_head_centre"][2] + 64.0 >= 85.0


def test_head_is_medial_of_the_shaft_on_the_named_side(cases):
    assert {case.target for case in cases} == {"femur_left", "femur_right"}
    for case in cases:
        mark = points(case)
        medial = mark["femoral_head_centre"][0] - mark["shaft_proximal"][0]
        # RAS+: the patient's right is +x, so the middle of the body is at -x of a right femur.
        assert medial < 0 if case.target == "femur_right" else medial > 0
        assert all(m.side == case.target.split("_")[1] for m in case.truth)


def test_left_is_the_exact_mirror_image_of_right():
    scene = replace(femur_scene(np.random.default_rng(3), "none"), mirrored=False)
    grid = Grid.cube(40, 160.0)
    right, left = rasterise(scene, grid), rasterise(replace(scene, mirrored=True), grid)
    assert np.array_equal(right[0], left[0][::-1])
    assert np.array_equal(right[1], left[1][::-1])


def test_deformities_change_the_angle_and_an_implant_is_metal_over_the_same_bone():
    def patient(deformity):
        return make_patient("femur", seed=5, number=1, deformity=deformity)

    plain, implant = patient("none"), patient("implant")
    assert values(patient("coxa_vara"))["neck_shaft_angle_deg"] < 115 < values(plain)["neck_shaft_angle_deg"]
    assert values(patient("coxa_valga"))["neck_shaft_angle_deg"] > 140
    assert np.array_equal(plain.labels.data, implant.labels.data)
    assert plain.ct.data.max() < 2000 < implant.ct.data.max()
