"""Cameras: where a point lands and where a pixel looks."""

import numpy as np
import pytest

from boneray.core.camera import Camera, jittered, orbit_camera, view_angle_deg
from boneray.core.errors import GeometryError

CENTRE_PX = (255.0 / 2, 255.0 / 2)
PIXEL_MM = 384.0 / 256
CAMERAS = {
    "ap": orbit_camera(0.0),
    "lateral": orbit_camera(90.0),
    "oblique": orbit_camera(37.0, centre_mm=(5.0, -8.0, 12.0), detector_shape=(200, 320), detector_mm=(300.0, 400.0)),
    "parallel": orbit_camera(75.0, kind="parallel"),
}


@pytest.mark.parametrize(("depth_mm", "source_object_mm"), [(0.0, 1000.0), (200.0, 800.0), (-250.0, 1250.0)])
def test_magnification(depth_mm: float, source_object_mm: float) -> None:
    # A bead 30 mm above the axis, moved towards the source (anterior, +y), lands at 30 * SDD / SOD.
    column, row = orbit_camera(0.0).project((0.0, depth_mm, 30.0))
    assert column == pytest.approx(CENTRE_PX[0])
    assert (CENTRE_PX[1] - row) * PIXEL_MM == pytest.approx(30.0 * 1500.0 / source_object_mm)


def test_parallel_beam_does_not_magnify() -> None:
    camera = orbit_camera(0.0, kind="parallel")
    for depth_mm in (-200.0, 0.0, 200.0):
        column, row = camera.project((-20.0, depth_mm, 30.0))
        assert (column - CENTRE_PX[0]) * PIXEL_MM == pytest.approx(20.0)
        assert (CENTRE_PX[1] - row) * PIXEL_MM == pytest.approx(30.0)


def test_ap_picture_shows_the_left_at_the_right_and_the_head_up() -> None:
    camera = orbit_camera(0.0)
    np.testing.assert_allclose(camera.source_mm, (0.0, 1000.0, 0.0), atol=1e-9)  # anterior
    left_column, _ = camera.project((-40.0, 0.0, 0.0))
    right_column, _ = camera.project((40.0, 0.0, 0.0))
    assert left_column == pytest.approx(CENTRE_PX[0] + 40.0 * 1.5 / PIXEL_MM)
    assert right_column == pytest.approx(CENTRE_PX[0] - 40.0 * 1.5 / PIXEL_MM)
    assert camera.project((0.0, 0.0, 40.0))[1] < CENTRE_PX[1]


def test_lateral_picture_shows_the_front_at_the_right() -> None:
    camera = orbit_camera(90.0)
    np.testing.assert_allclose(camera.source_mm, (1000.0, 0.0, 0.0), atol=1e-9)  # at the patient's right
    column, row = camera.project((0.0, 40.0, 0.0))
    assert column == pytest.approx(CENTRE_PX[0] + 40.0 * 1.5 / PIXEL_MM)
    assert row == pytest.approx(CENTRE_PX[1])


@pytest.mark.parametrize("name", CAMERAS)
def test_projection_and_back_projection_agree(name: str) -> None:
    camera = CAMERAS[name]
    rng = np.random.default_rng(1)
    points = rng.uniform(-80, 80, (40, 3))
    start, direction = camera.ray(camera.project(points))
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1.0)
    off_ray = points - start - np.sum((points - start) * direction, axis=1, keepdims=True) * direction
    np.testing.assert_allclose(off_ray, 0.0, atol=1e-8)
    np.testing.assert_allclose(camera.project(camera.pixel_to_world(camera.project(points))), camera.project(points))


def test_points_behind_the_source_have_no_picture() -> None:
    camera = orbit_camera(0.0)
    assert np.isnan(camera.project((0.0, 1100.0, 0.0))).all()
    assert np.isfinite(camera.project([(0.0, 1100.0, 0.0), (0.0, 0.0, 0.0)])[1]).all()


def test_jittered_is_a_small_rigid_motion() -> None:
    centre = np.array((10.0, 20.0, 30.0))
    camera = orbit_camera(0.0, centre_mm=centre)
    moved = jittered(camera, np.random.default_rng(2), centre_mm=centre, rotation_deg=10.0, shift_mm=5.0)
    motion = moved.pose @ np.linalg.inv(camera.pose)
    np.testing.assert_allclose(motion[:3, :3].T @ motion[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(motion[:3, :3]) == pytest.approx(1.0)
    assert np.abs(motion[:3, :3] @ centre + motion[:3, 3] - centre).max() <= 5.0
    turn_deg = np.rad2deg(np.arccos((np.trace(motion[:3, :3]) - 1) / 2))
    assert 0.0 < turn_deg <= 30.0
    assert moved.detector_shape == camera.detector_shape
    assert moved != camera


def test_moving_camera_and_point_together_changes_nothing() -> None:
    camera = CAMERAS["oblique"]
    turned = jittered(camera, np.random.default_rng(3), centre_mm=(0, 0, 0), rotation_deg=40.0)
    motion = turned.pose @ np.linalg.inv(camera.pose)
    point = np.array((12.0, -30.0, 25.0))
    np.testing.assert_allclose(turned.project(motion[:3, :3] @ point + motion[:3, 3]), camera.project(point))


def test_resized_keeps_the_detector_in_place() -> None:
    camera = orbit_camera(20.0)
    small = camera.resized((64, 128))
    assert small.pixel_mm == (6.0, 3.0)
    # the outer corner of the detector lies half a pixel before pixel (0, 0)
    np.testing.assert_allclose(small.pixel_to_world((-0.5, -0.5)), camera.pixel_to_world((-0.5, -0.5)))
    np.testing.assert_allclose(small.pixel_to_world((127.5, 63.5)), camera.pixel_to_world((255.5, 255.5)))


def test_json_keeps_the_camera() -> None:
    for camera in CAMERAS.values():
        assert Camera.from_dict(camera.to_dict()) == camera


def test_missing_and_impossible_values_are_refused() -> None:
    values = orbit_camera(0.0).to_dict()
    with pytest.raises(GeometryError, match="lacks pixel_mm"):
        Camera.from_dict({key: value for key, value in values.items() if key != "pixel_mm"})
    with pytest.raises(GeometryError, match="unknown"):
        Camera.from_dict(values | {"kind": "fisheye"})
    with pytest.raises(GeometryError, match="must be positive"):
        Camera.from_dict(values | {"source_detector_mm": 0})
    with pytest.raises(GeometryError, match="mirrored or scaled"):
        Camera.from_dict(values | {"world_from_camera": np.diag([1.0, 1.0, -1.0, 1.0])})


@pytest.mark.parametrize(("view", "angle_deg"), [("ap", 0.0), ("lat", 90.0), ("75", 75.0), ("-12.5", -12.5)])
def test_view_names(view: str, angle_deg: float) -> None:
    assert view_angle_deg(view) == angle_deg


def test_unknown_view_is_refused() -> None:
    with pytest.raises(GeometryError, match="neither ap, lat nor an angle"):
        view_angle_deg("oblique")
