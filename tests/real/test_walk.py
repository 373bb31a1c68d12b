"""The whole walk on real CTs: prepare, train, reconstruct, evaluate, measure, report."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from boneray.core.bones import bone
from boneray.core.volume import LabelMap
from boneray.io.case_folder import read_case
from boneray.projection.outline import projected_outline

pytestmark = pytest.mark.data
PELVIS = {"sacrum", "hip_left", "hip_right"}


@dataclass(frozen=True)
class Real:
    """A real CT with its labels and what is known of the files."""

    ct: str
    labels: str
    label_map: str
    hu: bool
    mirrored: bool


CASES = {
    "0243": Real(
        "pelvis_CTPelvic1K_0243/pelvis0243_ct.nii.gz",
        "pelvis_CTPelvic1K_0243/pelvis0243_label.nii.gz",
        "ctpelvic1k",
        hu=False,
        mirrored=True,
    ),
    "s0308": Real(
        "allbones_TotalSegmentator_s0308/s0308_all_ct.nii.gz",
        "allbones_TotalSegmentator_s0308/s0308_all_label.nii.gz",
        "boneray",
        hu=False,
        mirrored=True,
    ),
    "example": Real(
        "ct_raw_HU_TotalSegmentator_example/example_ct.nii.gz",
        "ct_raw_HU_TotalSegmentator_example/example_seg_totalsegmentator_v2_ids.nii.gz",
        "totalsegmentator",
        hu=True,
        mirrored=False,
    ),
}


def prepare(boneray, data, name, out, *extra):
    real = CASES[name]
    intensity = () if real.hu else ("--intensity-zero", 0)
    return boneray(
        "prepare", "pairs", "--ct", data / real.ct, "--labels", data / real.labels, "--label-map", real.label_map,
        "--anatomy", "pelvis", "--case", name, "--out", out, *intensity, *extra,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_from_ct_to_report(boneray, test_data, tmp_path, name):
    made = prepare(boneray, test_data, name, tmp_path / "data", "--voxels", 32, "--pixels", 64)
    assert made.code == 0, made.err
    assert ("mirrored header" in made.err) == CASES[name].mirrored
    case = tmp_path / "data" / name
    assert set(json.loads((case / "case.json").read_text())["bones"].values()) == PELVIS

    steps = ("--set", "overfit=true", "--set", "recipe.steps=60", "--set", "recipe.validations=2")
    still = ("--set", "recipe.cameras={jittered: 0, turned: 0}", "--set", "recipe.mirror=0")
    trained = boneray("train", "raylift_tiny", "--data", tmp_path / "data", "--out", tmp_path / "run", *steps, *still)
    assert trained.code == 0, trained.err
    done = boneray("reconstruct", case, "--checkpoint", tmp_path / "run", "--out", tmp_path / "out")
    assert done.code == 0, done.err

    scored = boneray("evaluate", "--reference", case, "--prediction", tmp_path / "out", "--json")
    (entry,) = json.loads(scored.out)["cases"]
    assert set(entry["bones"]) >= PELVIS and entry["mean"]["n_missed"] == 0
    assert entry["mean"]["dice"] > 0.5  # a minute's training; the proof of capacity is test_overfit

    measured = boneray("measure", tmp_path / "out" / "labels.nii.gz", "--anatomy", "pelvis", "--json")
    assert {row["bone"] for row in json.loads(measured.out)["measurements"]} == PELVIS
    assert boneray("report", tmp_path / "out", "--reference", case).code == 0


@pytest.mark.parametrize("name", CASES)
def test_projected_label_edges_lie_on_the_edges_of_the_picture(boneray, test_data, tmp_path, name):
    """Across the outline of the reference bones the picture gets brighter inwards, most of all at the outline."""
    assert prepare(boneray, test_data, name, tmp_path).code == 0
    case = read_case(tmp_path / name, with_ct=False)
    for view, radiograph in case.radiographs.items():
        offset, contrast = strongest_edge(case.labels, radiograph)
        assert contrast > 0, view
        assert abs(offset) <= 2.0, (view, offset)
    flipped = LabelMap(case.labels.data[:, ::-1], case.labels.grid)
    wrong = edge_profile(flipped, case.radiographs["lat"])
    assert wrong.max() < 0.6 * edge_profile(case.labels, case.radiographs["lat"]).max()


OFFSETS = np.arange(-10.0, 11.0)


def edge_profile(labels, radiograph):
    """Mean brightening towards the bone across all hip outlines, by offset from the outline in pixels."""
    picture = radiograph.line_integrals
    smooth = ndimage.gaussian_filter(picture, 1.0) - ndimage.gaussian_filter(picture, 6.0)  # no soft-tissue slopes
    gradient = np.stack(np.gradient(smooth))
    total, count = np.zeros(len(OFFSETS)), 0
    for name in ("hip_left", "hip_right"):
        for line in projected_outline(labels, bone(name).bone_id, radiograph.camera):
            along = np.gradient(line, axis=0)
            inward = np.stack([-along[:, 1], along[:, 0]], axis=1)
            inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-9)
            for n, offset in enumerate(OFFSETS):
                place = (line + offset * inward).T[::-1]
                slope = [ndimage.map_coordinates(g, place, order=1, mode="nearest") for g in gradient]
                total[n] += np.sum(slope[0] * inward[:, 1] + slope[1] * inward[:, 0])
            count += len(line)
    return total / count


def strongest_edge(labels, radiograph):
    profile = edge_profile(labels, radiograph)
    return OFFSETS[np.abs(profile).argmax()], np.abs(profile).max()
