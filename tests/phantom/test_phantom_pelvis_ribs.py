"""Pelvis and rib phantoms: sides, places, landmarks on the surface, arc lengths."""

import numpy as np
import pytest

from boneray.core.bones import BONES, VERTEBRAE
from boneray.phantom.patient import make_patient
from boneray.phantom.ribs import ChestShape, rib_curve_mm


@pytest.fixture(scope="module")
def pelvis():
    return make_patient("pelvis", seed=5, number=1, voxels=160)


@pytest.fixture(scope="module")
def ribs():
    return make_patient("ribs", seed=5, number=1, voxels=128)


def centre_mm(case, bone):
    return voxels_mm(case, bone).mean(axis=0)


def voxels_mm(case, bone):
    return case.labels.grid.to_world(np.argwhere(case.labels.mask(BONES[bone].bone_id)))


def test_hips_lie_on_their_sides_and_the_sacrum_behind(pelvis):
    left, right, sacrum = (centre_mm(pelvis, bone) for bone in ("hip_left", "hip_right", "sacrum"))
    assert left[0] < sacrum[0] < right[0]
    assert sacrum[1] < min(left[1], right[1])


def test_pelvic_landmarks_lie_on_the_surface_of_their_bone(pelvis):
    voxel = pelvis.labels.grid.spacing_mm[0]
    for mark in pelvis.landmarks:
        side = mark.name.rsplit("_", 1)[1]
        bone = "sacrum" if mark.name == "sacral_promontory" else f"hip_{side}"
        index = tuple(np.rint(pelvis.labels.grid.to_index(mark.point_mm)).astype(int))
        around = pelvis.labels.data[tuple(slice(i - 2, i + 3) for i in index)]
        distance = np.linalg.norm(voxels_mm(pelvis, bone) - mark.point_mm, axis=1).min()
        assert distance < 1.2 * voxel, mark.name
        assert (around == 0).sum() > 40, f"{mark.name} is buried"


def test_anterior_spines_are_in_front_above_and_as_far_apart_as_said(pelvis):
    mark = {m.name: np.array(m.point_mm) for m in pelvis.landmarks}
    left, right = mark["anterior_superior_iliac_spine_left"], mark["anterior_superior_iliac_spine_right"]
    assert left[0] < -80 < 80 < right[0]
    assert left[1] > mark["posterior_superior_iliac_spine_left"][1] + 80
    assert left[2] > mark["pubic_tubercle_left"][2] + 50
    truth = {m.name: m.value for m in pelvis.truth}
    assert truth["inter_asis_distance_mm"] == pytest.approx(np.linalg.norm(left - right))
    assert 190 < truth["inter_asis_distance_mm"] < 275


def test_each_hip_bone_is_one_piece_and_the_whole_pelvis_is_in_the_cube(pelvis):
    from scipy.ndimage import label

    for bone in ("hip_left", "hip_right", "sacrum"):
        assert label(pelvis.labels.mask(BONES[bone].bone_id))[1] == 1
    filled = np.argwhere(pelvis.labels.data > 0)
    assert filled.min() > 0
    assert filled.max() < 159


def test_ribs_lie_on_their_sides_from_top_to_bottom(ribs):
    backs = {"left": [], "right": []}
    for number in range(1, 13):
        pair = {side: voxels_mm(ribs, f"rib_{side}_{number}") for side in backs}
        assert pair["left"][:, 0].max() < pair["right"][:, 0].min()
        for side, voxels in pair.items():
            backs[side].append(voxels[np.argsort(voxels[:, 1])[:30], 2].mean())
    assert np.all(np.diff(backs["left"]) < -10)
    assert np.all(np.diff(backs["right"]) < -10)


def test_arc_lengths_are_plausible_and_fit_the_volume_of_the_tubes(ribs):
    radius = ribs.provenance["parameters"]["radius_mm"] * ribs.provenance["parameters"]["scale"]
    truth = {m.bone: m.value for m in ribs.truth}
    assert len(truth) == 24
    for number in (3, 6, 11):
        bone = f"rib_right_{number}"
        volume = len(voxels_mm(ribs, bone)) * ribs.labels.grid.voxel_volume_mm3
        tube = np.pi * radius**2 * truth[bone] + 4 / 3 * np.pi * radius**3
        assert volume == pytest.approx(tube, rel=0.05)
    assert truth["rib_right_7"] > 2 * truth["rib_right_1"]


def test_rib_curves_are_mirror_images_in_a_symmetric_chest():
    chest = ChestShape(1.0, 1.0, 1.0, 23.0, 5.5, 0.0)
    assert np.allclose(rib_curve_mm(chest, 4, 1.0), rib_curve_mm(chest, 4, -1.0) * (-1, 1, 1))


def test_clutter_is_in_the_ct_but_not_in_the_labels(ribs):
    assert not {BONES[name].bone_id for name in VERTEBRAE} & set(ribs.labels.ids)
    margin = (ribs.ct.grid.shape[0] - ribs.labels.grid.shape[0]) // 2
    hu = ribs.ct.data[(slice(margin, -margin),) * 3]
    assert (hu[ribs.labels.data == 0] > 700).sum() > 500
