"""`boneray submit-check`: every fault of a submission has its sentence, and a sound one its scores."""

import json

import nibabel
import numpy as np
import pytest

from boneray.benchmark.submission import FAULTS, cases_of
from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import write_phantoms
from boneray.io.nifti import read_labels, write_labels

CASES = 7
SWAPPED = {"hip_left": "hip_right", "hip_right": "hip_left"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Seven small pelves (one would do for most faults)."""
    out = tmp_path_factory.mktemp("pelves") / "data"
    write_phantoms("pelvis", cases=CASES, seed=5, out=out, voxels=24, pixels=16)
    return out


@pytest.fixture
def submission(cases, tmp_path):
    """A perfect submission: folder, and the label map of each case."""
    folder = tmp_path / "theirs"
    maps = {path.name: read_labels(path / "labels.nii.gz") for path in cases_of(cases)}
    for name, labels in maps.items():
        write_labels(folder / f"{name}.nii.gz", labels)
    return folder, maps


def told(boneray, submission, cases):
    done = boneray("submit-check", submission, "--benchmark", cases, "--json")
    return done.code, json.loads(done.out)


def test_a_sound_submission_has_no_fault_and_full_marks(boneray, submission, cases, tmp_path):
    code, values = told(boneray, submission[0], cases)
    assert (code, values["faults"]) == (0, [])
    done = boneray("submit-check", submission[0], "--benchmark", cases, "--out", tmp_path / "scores")
    assert done.code == 0 and "nothing wrong" in done.out + done.err
    assert (tmp_path / "scores" / "summary.json").is_file()


def test_every_fault_has_its_sentence(boneray, submission, cases):
    folder, maps = submission
    names = sorted(maps)
    (folder / f"{names[0]}.nii.gz").unlink()
    write_labels(folder / "somebody.nii.gz", maps[names[0]])

    odd = maps[names[1]]
    half = Grid((*odd.grid.shape[:2], odd.grid.shape[2] - 2), odd.grid.spacing_mm, odd.grid.origin_mm)
    write_labels(folder / f"{names[1]}.nii.gz", LabelMap(odd.data[:, :, :-2].copy(), half))

    numbered = maps[names[2]]
    write_labels(folder / f"{names[2]}.nii.gz", LabelMap((numbered.data > 0).astype(np.uint8), numbered.grid))

    sides = maps[names[3]]
    data = sides.data.copy()
    for one, other in SWAPPED.items():
        data[sides.data == BONES[one].bone_id] = BONES[other].bone_id
    write_labels(folder / f"{names[3]}.nii.gz", LabelMap(data, sides.grid))

    scaled = maps[names[4]]
    write_labels(folder / f"{names[4]}.nii.gz", LabelMap(scaled.data, Grid(scaled.grid.shape, (1.0,) * 3, (0.0,) * 3)))

    soft = maps[names[5]]
    image = nibabel.load(folder / f"{names[5]}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(soft.data.astype(np.float32) * 0.9, image.affine), folder / f"{names[5]}.nii.gz")

    write_labels(folder / f"{names[6]}.nii.gz", LabelMap(np.zeros_like(soft.data), maps[names[6]].grid))
    code, values = told(boneray, folder, cases)
    found = {(fault["case"], fault["fault"]): fault["sentence"] for fault in values["faults"]}
    assert code == 1
    assert set(found) == {
        (names[0], "missing_case"),
        (names[1], "wrong_grid"),
        (names[2], "wrong_ids"),
        (names[3], "left_right_swapped"),
        (names[4], "scaled_by_spacing"),
        (names[5], "float_labels"),
        (names[6], "empty"),
        ("somebody", "unknown_case"),
    }
    assert "missed" in found[names[0], "missing_case"]
    assert "ids of left and right bones are exchanged" in found[names[3], "left_right_swapped"]
    assert "true length" in found[names[4], "scaled_by_spacing"]
    assert "fractions" in found[names[5], "float_labels"]
    assert {kind for _, kind in found} <= set(FAULTS)


def test_a_mirrored_array_is_told_from_a_bad_prediction(boneray, submission, cases):
    folder, maps = submission
    names = sorted(maps)
    mirrored = maps[names[0]]
    write_labels(folder / f"{names[0]}.nii.gz", LabelMap(np.ascontiguousarray(mirrored.data[::-1]), mirrored.grid))
    rng = np.random.default_rng(0)
    noise = np.where(rng.random(mirrored.data.shape) < 0.7, 0, maps[names[1]].data).astype(np.uint8)
    write_labels(folder / f"{names[1]}.nii.gz", LabelMap(noise, mirrored.grid))
    _, values = told(boneray, folder, cases)
    assert [(fault["case"], fault["fault"]) for fault in values["faults"]] == [(names[0], "left_right_swapped")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "--benchmark", "{cases}"), "is not a folder"),
        (("{cases}", "--benchmark", "nowhere"), "neither a study's YAML"),
        (("{cases}", "--benchmark", "{yaml}"), "--work"),
    ],
)
def test_bad_input_is_one_line(boneray, cases, tmp_path, arguments, message):
    yaml = tmp_path / "study.yaml"
    yaml.write_text("name: s\ndata: [{name: f, phantom: {anatomy: femur, cases: 3}}]\n")
    done = boneray("submit-check", *(a.format(cases=cases, yaml=yaml) for a in arguments))
    assert done.code == 2 and message in done.err and len(done.err.strip().splitlines()) == 1
