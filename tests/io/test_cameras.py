"""cameras.json: the views of case.json in a file of their own."""

import json
from pathlib import Path

import pytest

from boneray.core.camera import orbit_camera
from boneray.core.errors import GeometryError, InputError
from boneray.io.cameras import read_cameras, write_cameras


def test_cameras_come_back_exactly(tmp_path: Path) -> None:
    cameras = {
        "ap": orbit_camera(0.0),
        "lao30cra20": orbit_camera(150.0, cranial_deg=20.0, detector_tilt_deg=(3.0, 1.0), roll_deg=1 / 3),
        "75": orbit_camera(75.0, kind="parallel"),
    }
    path = tmp_path / "cameras.json"
    written = write_cameras(path, cameras, files={"75": "75.dcm"}, line_integral_per_grey={"ap": 1.25e-4})
    assert json.loads(path.read_text()) == written
    assert read_cameras(path) == cameras
    views = json.loads(path.read_text())["views"]
    assert [set(view) for view in views] == [{"name", "file", "line_integral_per_grey", "camera"}] * 3
    assert [view["file"] for view in views] == ["ap.png", "lao30cra20.png", "75.dcm"]
    assert [view["line_integral_per_grey"] for view in views] == [1.25e-4, None, None]


def test_bad_camera_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    path.write_text("{}")
    with pytest.raises(InputError, match='no "views" list'):
        read_cameras(path)
    path.write_text('{"views": [{"name": "ap"}]}')
    with pytest.raises(InputError, match='"name" and a "camera"'):
        read_cameras(path)
    path.write_text('{"views": [{"name": "ap", "camera": {"kind": "perspective"}}]}')
    with pytest.raises(GeometryError, match="view ap: camera lacks detector_shape"):
        read_cameras(path)
    with pytest.raises(InputError, match="view lat has a file or a scale but no camera"):
        write_cameras(path, {"ap": orbit_camera(0.0)}, files={"lat": "lat.png"})
