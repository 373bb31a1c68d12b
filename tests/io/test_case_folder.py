"""The case folder: what is written is read, and what contradicts itself is refused."""

import json

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.case import Case
from boneray.core.errors import BonerayError, DataError, InputError
from boneray.core.grid import Grid
from boneray.core.measurement import Landmark, Measurement
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume
from boneray.io.cameras import read_cameras
from boneray.io.case_folder import case_folders, read_case, write_case


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    grid = Grid.cube(8, 16.0, (1.0, 2.0, 3.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 2:5, 2:5] = 53
    camera = orbit_camera(30.0, detector_shape=(12, 10))
    return Case(
        "c1",
        "p1",
        "femur",
        "femur_left",
        LabelMap(labels, grid),
        Volume(rng.integers(-1000, 2000, grid.shape).astype(np.int16), grid),
        {"ap": Radiograph(rng.random((12, 10), np.float32) * 5, camera)},
        {"source": "test"},
        "CC0-1.0",
        (
            Measurement(
                "neck_shaft_angle_deg", "femur_left", "left", 125.0, "deg", landmarks=(Landmark("a", (1, 2, 3)),)
            ),
        ),
        (Landmark("femoral_head_centre", (1.5, 2.5, 3.5)),),
    )


def test_a_case_comes_back_as_it_was(tmp_path, case):
    write_case(tmp_path / "c1", case)
    back = read_case(tmp_path / "c1")
    assert np.array_equal(back.labels.data, case.labels.data) and back.labels.grid.matches(case.labels.grid)
    assert np.array_equal(back.ct.data, case.ct.data)
    half_a_level = case.radiographs["ap"].line_integrals.max() / 65535 / 2
    np.testing.assert_allclose(
        back.radiographs["ap"].line_integrals, case.radiographs["ap"].line_integrals, atol=1.01 * half_a_level
    )
    assert back.radiographs["ap"].camera == case.radiographs["ap"].camera
    assert (back.truth, back.landmarks, back.target, back.licence) == (
        case.truth,
        case.landmarks,
        "femur_left",
        "CC0-1.0",
    )


def test_the_same_case_gives_the_same_bytes(tmp_path, case):
    for name in ("a", "b"):
        write_case(tmp_path / name, case)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_json_names_the_bones(tmp_path, case):
    write_case(tmp_path, case)
    assert json.loads((tmp_path / "case.json").read_text())["bones"] == {"53": "femur_left"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"schema": "boneray/case/99"}, DataError),
        ({"views": [{"name": "ap"}]}, DataError),
        ({"views": [{"name": "ap", "file": "../x.png", "line_integral_per_grey": 1, "camera": {}}]}, InputError),
        ({"target": None, "has_labels": 1, "views": 3}, DataError),
    ],
)
def test_a_spoilt_description_is_one_clear_line(tmp_path, case, change, error):
    write_case(tmp_path, case)
    values = json.loads((tmp_path / "case.json").read_text())
    (tmp_path / "case.json").write_text(json.dumps(values | change))
    with pytest.raises(error) as caught:
        read_case(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_part_is_named(tmp_path, case):
    write_case(tmp_path, case)
    (tmp_path / "ap.png").unlink()
    with pytest.raises(BonerayError, match=r"ap\.png"):
        read_case(tmp_path)


def test_folders_are_found_in_order_and_an_empty_one_says_so(tmp_path, case):
    for name in ("b", "a"):
        write_case(tmp_path / "data" / name, case)
    assert [f.name for f in case_folders(tmp_path / "data")] == ["a", "b"]
    assert case_folders(tmp_path / "data" / "a") == [tmp_path / "data" / "a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no case"):
        case_folders(tmp_path / "empty")


def test_cameras_are_read_from_a_case_and_from_a_camera_file(tmp_path, case):
    write_case(tmp_path, case)
    cameras = read_cameras(tmp_path / "case.json")
    assert cameras == {"ap": case.radiographs["ap"].camera}
    (tmp_path / "cameras.json").write_text(json.dumps({"views": [{"name": "ap", "camera": cameras["ap"].to_dict()}]}))
    assert read_cameras(tmp_path / "cameras.json") == cameras
    (tmp_path / "bad.json").write_text(json.dumps({"views": []}))
    with pytest.raises(InputError, match="views"):
        read_cameras(tmp_path / "bad.json")
