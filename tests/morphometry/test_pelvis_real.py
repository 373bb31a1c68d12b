"""The pelvis on real bones: VSDFullBody z013 against its raters, public label maps, another source of meshes."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.datasets.label_maps import label_map
from boneray.evaluation.inputs import renumbered
from boneray.io.nifti import read_labels
from boneray.morphometry.measure import measure, measure_meshes
from tests.morphometry.patients import (
    PELVIS,
    RAS_FROM_LPS,
    by_name,
    dice,
    marks,
    mirrored,
    mirrored_name,
    noisy,
    raters,
    turned,
    voxelised,
    z013,
)

pytestmark = pytest.mark.data

# Our name, the raters' name, and the P95 of single points from their mean, 19 adults, left and right
# (facts/morphometry-reference.json, rater_spread_mm, all_to_mean).
GATED = {
    "anterior_superior_iliac_spine": ("{} ASIS", (7.1, 7.24)),
    "pubic_tubercle": ("{} Pubic Tubercle (PT)", (4.07, 4.69)),
    "posterior_superior_iliac_spine": ("{} PSIS", (8.42, 8.91)),
    "ischial_spine": ("{} Ischial Spine (IS)", (4.21, 3.24)),
}
PROMONTORY = ("Sacral Promontory (SP)", 2.48)
PUBLIC = {
    "0243": ("pelvis_CTPelvic1K_0243/pelvis0243_label.nii.gz", "ctpelvic1k", True),
    "0243 grid128": ("pelvis_CTPelvic1K_0243/pelvis0243_label_grid128.nii.gz", "ctpelvic1k", True),
    "0243 swinx2sbase": ("pelvis_CTPelvic1K_0243/pelvis0243_pred_swinx2sbase.nii.gz", "ctpelvic1k", True),
    "0243 unet": ("pelvis_CTPelvic1K_0243/pelvis0243_pred_unet.nii.gz", "ctpelvic1k", True),
    "s0308": ("allbones_TotalSegmentator_s0308/s0308_all_label.nii.gz", "boneray", True),
    "s0308 swinx2sbase": ("allbones_TotalSegmentator_s0308/s0308_all_pred_swinx2sbase.nii.gz", "boneray", True),
    "example": (
        "ct_raw_HU_TotalSegmentator_example/example_seg_totalsegmentator_v2_ids.nii.gz",
        "totalsegmentator",
        False,
    ),
}
# Wider than any of 19 adults by a fifth.
ADULT_MM = {
    "inter_asis_distance_mm": (164, 318),
    "inter_psis_distance_mm": (59, 126),
    "inter_ischial_spine_distance_mm": (73, 153),
    "inter_pubic_tubercle_distance_mm": (30, 74),
}


@pytest.fixture(scope="module")
def bones(test_data):
    return z013(test_data, *PELVIS)


@pytest.fixture(scope="module")
def found(bones):
    return measure_meshes(bones, "pelvis")


@pytest.fixture(scope="module")
def mask(bones):
    return voxelised(bones, 1.5)


@pytest.fixture(scope="module")
def rated(test_data):
    return raters(test_data, "Pelvis")


def errors(found, rated, *, aiis=False):
    """Distance of each landmark from the mean of the raters, with its P95."""
    out = {}
    for name, (theirs, p95) in (
        GATED | ({"anterior_inferior_iliac_spine": ("{} AIIS", (99, 99))} if aiis else {})
    ).items():
        for side, limit in zip(("left", "right"), p95, strict=True):
            centre = rated[theirs.format(side.capitalize())].mean(axis=0)
            out[f"{name}_{side}"] = (float(np.linalg.norm(marks(found)[f"{name}_{side}"] - centre)), limit)
    centre = rated[PROMONTORY[0]].mean(axis=0)
    out["sacral_promontory"] = (float(np.linalg.norm(marks(found)["sacral_promontory"] - centre)), PROMONTORY[1])
    return out


def median(found_errors):
    return float(np.median([error for error, _ in found_errors.values()]))


def test_landmarks_agree_with_the_raters(found, rated):
    ours = errors(found, rated)
    for name, (error, p95) in ours.items():
        assert error <= p95, name
    assert median(ours) <= 2.5
    assert {m.status for m in found if "aiis" not in m.name} == {"ok"}


def test_widths_and_tilt_agree_with_the_raters(found, rated):
    values = by_name(found)
    mean = {name: points.mean(axis=0) for name, points in rated.items()}
    for name, theirs, limit in (
        ("inter_asis_distance_mm", "{} ASIS", 5.0),
        ("inter_ischial_spine_distance_mm", "{} Ischial Spine (IS)", 2.0),
        ("inter_pubic_tubercle_distance_mm", "{} Pubic Tubercle (PT)", 4.0),
        ("inter_psis_distance_mm", "{} PSIS", 6.0),
    ):
        width = np.linalg.norm(mean[theirs.format("Left")] - mean[theirs.format("Right")])
        assert values[name].value == pytest.approx(width, abs=limit), name
    across = mean["Right ASIS"] - mean["Left ASIS"]
    tubercles = (mean["Left Pubic Tubercle (PT)"] + mean["Right Pubic Tubercle (PT)"]) / 2
    front = np.cross((mean["Right ASIS"] + mean["Left ASIS"]) / 2 - tubercles, across)
    assert values["pelvic_tilt_deg"].value == pytest.approx(np.degrees(np.arctan2(front[2], front[1])), abs=2.0)
    assert values["pelvic_rotation_deg"].value == pytest.approx(np.degrees(np.arctan2(across[1], across[0])), abs=1.0)
    assert values["pelvic_obliquity_deg"].value == pytest.approx(np.degrees(np.arctan2(across[2], across[0])), abs=1.0)


def test_aiis_is_experimental_and_near_the_raters(found, rated):
    """No gate; what is asked is that nobody takes the number for sure."""
    ours = errors(found, rated, aiis=True)
    assert max(ours[f"anterior_inferior_iliac_spine_{side}"][0] for side in ("left", "right")) < 6.0
    aiis = by_name(found)["inter_aiis_distance_mm"]
    assert aiis.status == "low_confidence" and aiis.reason.startswith("experimental")


@pytest.mark.parametrize(
    ("spacing_mm", "most_mm"),
    [
        (1.5, 2.5),
        (2.5, 4.5),
        pytest.param(1.0, 2.5, marks=pytest.mark.slow),
        pytest.param(2.0, 3.5, marks=pytest.mark.slow),
    ],
)
def test_masks_of_any_voxel_size(bones, rated, spacing_mm, most_mm):
    ours = errors(measure(voxelised(bones, spacing_mm), "pelvis"), rated)
    assert median(ours) <= most_mm
    assert max(ours[f"ischial_spine_{side}"][0] for side in ("left", "right")) <= 4.0
    if spacing_mm <= 1.5:
        assert all(error <= p95 for error, p95 in ours.values())


@pytest.mark.parametrize("pose", [0, 1, 2])
def test_unknown_pose_gives_the_same(bones, found, pose):
    turn = Rotation.random(random_state=pose).as_matrix()
    moved = measure_meshes({name: turned(mesh, turn, (5.0, 6.0, 7.0)) for name, mesh in bones.items()}, "pelvis")
    for name, point in marks(found).items():
        assert np.linalg.norm(marks(moved)[name] - (turn @ point + (5.0, 6.0, 7.0))) < 1e-3, name
    for name in ADULT_MM:
        assert by_name(moved)[name].value == pytest.approx(by_name(found)[name].value, abs=1e-3)
        assert by_name(moved)[name].status == "ok"


def test_the_mirrored_patient_swaps_sides(bones, found):
    image = measure_meshes(mirrored(bones), "pelvis")
    for name, point in marks(found).items():
        assert np.linalg.norm(marks(image)[mirrored_name(name)] - point * (-1.0, 1.0, 1.0)) < 0.1, name
    assert {m.status for m in image if "aiis" not in m.name} == {"ok"}


@pytest.mark.parametrize("fault", ["mirrored header", "swapped names"])
def test_a_mirrored_header_and_swapped_names_are_told(bones, found, fault):
    flip = np.array([1.0, -1.0, 1.0])
    if fault == "swapped names":
        wrong = {mirrored_name(name): mesh for name, mesh in bones.items()}
    else:
        wrong = {name: Mesh(mesh.vertices_mm * flip, mesh.faces[:, ::-1].copy()) for name, mesh in bones.items()}
    values = by_name(measure_meshes(wrong, "pelvis"))
    for name in ADULT_MM:
        assert values[name].status == "low_confidence" and "frame_implausible" in values[name].reason
        assert values[name].value == pytest.approx(by_name(found)[name].value, abs=0.1)
    tilt = values["pelvic_tilt_deg"]
    assert (tilt.status, tilt.value) == ("not_measurable", None) and "frame_implausible" in tilt.reason


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 6))])
def test_noisy_predictions(mask, rated, number):
    """Dice 0.95: the median stays below 4 mm. Dice 0.90: whatever is bad by that measure must be flagged."""
    prediction = noisy(mask, 0.95, f"pelvis {number}")
    assert np.mean([dice(mask.mask(i), prediction.mask(i)) for i in mask.ids]) == pytest.approx(0.95, abs=0.003)
    ours = errors(measure(prediction, "pelvis"), rated)
    assert median(ours) <= 4.0
    worse = [m for m in measure(noisy(mask, 0.90, f"pelvis {number}"), "pelvis") if m.name != "bone_volume_mm3"]
    assert all(m.value is not None for m in worse)
    assert median(errors(worse, rated)) <= 4.0 or all(m.status == "low_confidence" for m in worse)


def public(test_data, name):
    path, names, flipped = PUBLIC[name]
    labels = read_labels(test_data / path)
    data = np.ascontiguousarray(labels.data[:, ::-1]) if flipped else labels.data
    return renumbered(LabelMap(data, labels.grid), label_map(names))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_label_maps_are_measured(test_data, name):
    """Four further subjects at 2.6 to 3.7 mm without manual points: adults' widths, and odd ones are flagged."""
    values = by_name(measure(public(test_data, name), "pelvis"))
    for key, (low, high) in ADULT_MM.items():
        assert values[key].value is not None
        assert low <= values[key].value <= high or values[key].status == "low_confidence"
    if "unet" not in name:
        assert {values[key].status for key in ADULT_MM} == {"ok"}
        assert abs(values["pelvic_obliquity_deg"].value) < 10.0
    assert -25.0 < values["pelvic_tilt_deg"].value < 20.0


def test_two_grids_of_one_patient_agree(test_data):
    """0243 at 2.6 and at 3.25 mm."""
    fine, coarse = (by_name(measure(public(test_data, name), "pelvis")) for name in ("0243", "0243 grid128"))
    for key in ADULT_MM:
        assert coarse[key].value == pytest.approx(fine[key].value, abs=2.0), key


def test_the_header_of_the_public_file_is_told_mirrored(test_data):
    path, names, _ = PUBLIC["0243"]
    raw = renumbered(read_labels(test_data / path), label_map(names))
    width = by_name(measure(raw, "pelvis"))["inter_asis_distance_mm"]
    assert width.status == "low_confidence" and width.reason.startswith("frame_implausible")


def test_a_scale_of_065_is_told_and_overridden(test_data):
    labels = public(test_data, "0243")
    grid = labels.grid
    small = LabelMap(
        labels.data, Grid(grid.shape, tuple(0.65 * s for s in grid.spacing_mm), grid.origin_mm, grid.direction)
    )
    true = by_name(measure(labels, "pelvis"))["inter_asis_distance_mm"].value
    wrong = by_name(measure(small, "pelvis"))
    for key in ADULT_MM:
        assert wrong[key].status == "low_confidence" and "scale_implausible" in wrong[key].reason
    assert wrong["inter_asis_distance_mm"].value == pytest.approx(0.65 * true, rel=0.02)
    repaired = by_name(measure(small, "pelvis", spacing_mm=grid.spacing_mm))["inter_asis_distance_mm"]
    assert (repaired.status, repaired.value) == ("ok", pytest.approx(true, abs=1e-6))


def test_meshes_of_another_source_are_measured(test_data):
    """One pelvis of the Melbourne collection in LPS, three parts of 8000 faces: right, left, sacrum."""
    text = (test_data / "mesh_pelvis_gias2" / "2007_5028_pelvis_sacrum.wrl").read_text()
    meshes = {}
    blocks = zip(
        re.findall(r"point \[(.*?)\]", text, re.S), re.findall(r"coordIndex \[(.*?)\]", text, re.S), strict=True
    )
    for name, (points, faces) in zip(("hip_right", "hip_left", "sacrum"), blocks, strict=True):
        vertices = np.array(re.findall(r"[-+.\deE]+", points), dtype=float).reshape(-1, 3) * RAS_FROM_LPS
        index = np.array(re.findall(r"-?\d+", faces), dtype=np.int64).reshape(-1, 4)[:, :3]
        meshes[name] = Mesh(vertices, index)
    found = measure_meshes(meshes, "pelvis")
    values = by_name(found)
    for key, (low, high) in ADULT_MM.items():
        assert values[key].status == "ok" and low <= values[key].value <= high
    turn = Rotation.random(random_state=8).as_matrix()
    moved = marks(measure_meshes({n: turned(m, turn) for n, m in meshes.items()}, "pelvis"))
    for name, point in marks(found).items():
        assert np.linalg.norm(moved[name] - turn @ point) < 1e-3, name
