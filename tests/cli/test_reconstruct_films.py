"""`boneray reconstruct` on a person's own films: options, what is said, exit codes."""

import json

import numpy as np
import pytest

from boneray.io.case_folder import read_case
from boneray.reconstruction.calibrating import FEWEST_PATIENTS
from tests.reconstruction import films


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Noisy PNG films of a phantom, their cameras.json, and the case."""
    case = films.femur(4)
    return *films.png_films(tmp_path_factory.mktemp("films"), films.exposed(case)), case


def test_distances_and_views_on_the_command_line(pictures, tmp_path, boneray):
    files, cameras, case = pictures
    pitch = case.radiographs["ap"].camera.pixel_mm[0]
    common = ["--bone", case.target, "--checkpoint", films.FEMUR, "--no-confidence"]
    given = ["--sdd-mm", 1500, "--sod-mm", 1000, "--pixel-mm", pitch]
    answers = {}
    for name, arguments in {
        "camera": ["--ap", files["ap"], "--lat", files["lat"], "--camera", cameras],
        "given": ["--ap", files["ap"], "--lat", files["lat"], *given],
        "angles": ["--view", f"{files['ap']}:0", "--view", f"{files['lat']}:90", *given],
    }.items():
        done = boneray("reconstruct", *arguments, *common, "--out", tmp_path / name)
        assert done.code == 0, done.err
        if name != "camera":
            assert "assumed: " in done.err and "upright, as the source sees it" in done.err
        answers[name] = read_case(tmp_path / name).labels.data
    np.testing.assert_array_equal(answers["camera"], answers["given"])
    np.testing.assert_array_equal(answers["given"], answers["angles"])
    assert films.dice(case.labels.data, answers["camera"]) > 0.95


def test_a_refusal_is_one_line_and_can_be_overruled(pictures, tmp_path, boneray):
    files, cameras, case = pictures
    swapped = ["reconstruct", "--ap", files["ap"], "--lat", files["ap"], "--camera", cameras, "--bone", case.target,
               "--checkpoint", films.FEMUR, "--no-confidence", "--out", tmp_path / "out"]  # fmt: skip
    done = boneray(*swapped)
    assert done.code == 2 and done.out == ""
    assert done.err.strip().splitlines()[-1].startswith("boneray: refused: views ap and lat are the same picture")
    assert not (tmp_path / "out" / "labels.nii.gz").exists()
    done = boneray(*swapped, "--anyway", "--json")
    if done.code == 0:
        run = json.loads(done.out)
        assert any("same picture" in warning for warning in run["warnings"])
        assert run["checks"][0]["verdict"] == "refuse"
    else:
        assert "found no bone" in done.err


def test_the_centre_may_be_located(pictures, tmp_path, boneray):
    files, cameras, case = pictures
    given = ["--ap", files["ap"], "--lat", files["lat"], "--camera", cameras, "--bone", case.target]
    done = boneray("reconstruct", *given, "--checkpoint", films.FEMUR, "--no-confidence", "--centre-mm", "auto",
                   "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    run = json.loads(done.out)
    assert run["centre"]["from"] == "auto" and np.linalg.norm(run["centre"]["mm"]) < 20
    assert any("located automatically" in warning for warning in run["warnings"])


def test_calibrate_refuses_too_few_and_what_exists(tmp_path, boneray):
    done = boneray("calibrate", "--checkpoint", films.FEMUR, "--patients", 3, "--out", tmp_path / "c.json")
    assert done.code == 2 and f"at least {FEWEST_PATIENTS}" in done.err
    (tmp_path / "c.json").write_text("{}")
    done = boneray("calibrate", "--checkpoint", films.FEMUR, "--out", tmp_path / "c.json")
    assert done.code == 2 and "exists already" in done.err


@pytest.mark.slow
def test_calibrate_is_reproducible(tmp_path, boneray):
    for name in ("a", "b"):
        done = boneray("calibrate", "--checkpoint", films.FEMUR, "--patients", FEWEST_PATIENTS, "--out",
                       tmp_path / f"{name}.json", "--json")  # fmt: skip
        assert done.code == 0, done.err
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads(done.out)["made"]["patients"] == FEWEST_PATIENTS
