"""Cameras: where a point lands and where a pixel looks."""

import numpy as np
import pytest

from boneray.core.camera import Camera, jittered, orbit_angles, orbit_camera
from boneray.core.errors import GeometryError

CENTRE_PX = (255.0 / 2, 255.0 / 2)
PIXEL_MM = 384.0 / 256
CAMERAS = {
    "ap": orbit_camera(0.0),
    "lateral": orbit_camera(90.0),
    "oblique": orbit_camera(37.0, centre_mm=(5.0, -8.0, 12.0), detector_shape=(200, 320), detector_mm=(300.0, 400.0)),
    "parallel": orbit_camera(75.0, kind="parallel"),
    "cranial": orbit_camera(150.0, cranial_deg=20.0, roll_deg=10.0),
    "tilted": orbit_camera(-60.0, cranial_deg=-15.0, detector_tilt_deg=(12.0, -7.0), principal_offset_mm=(20.0, -30.0)),
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


def test_cranial_tilt_takes_the_detector_to_the_head_at_every_longitude() -> None:
    for angle in (0.0, 90.0, 150.0, 270.0):
        camera = orbit_camera(angle, cranial_deg=20.0)
        sine, cosine = np.sin(np.deg2rad(20.0)), np.cos(np.deg2rad(20.0))
        level = np.array((np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle)), 0.0))
        np.testing.assert_allclose(camera.source_mm, 1000 * (cosine * level - (0, 0, sine)), atol=1e-9)
        middle = camera.pixel_to_world(CENTRE_PX)
        np.testing.assert_allclose(middle, 500 * (-cosine * level + (0, 0, sine)), atol=1e-9)
        assert camera.project((0.0, 0.0, 40.0))[1] < CENTRE_PX[1]  # the head stays up
        assert camera.project((0.0, 0.0, 40.0))[0] == pytest.approx(CENTRE_PX[0])
        assert orbit_angles(camera.central_ray) == pytest.approx(((angle + 180) % 360 - 180, 20.0))


def test_roll_turns_the_detector_clockwise_as_the_source_sees_it() -> None:
    # A detector turned clockwise by 90 degrees sees what was at the top at its left edge.
    head = (0.0, 0.0, 40.0)
    column, row = orbit_camera(0.0, roll_deg=90.0).project(head)
    assert CENTRE_PX[0] - column == pytest.approx(40.0 * 1.5 / PIXEL_MM)
    assert row == pytest.approx(CENTRE_PX[1])
    column, row = orbit_camera(0.0, roll_deg=30.0).project(head)
    assert CENTRE_PX[0] - column == pytest.approx(40.0 * np.sin(np.deg2rad(30.0)))
    assert CENTRE_PX[1] - row == pytest.approx(40.0 * np.cos(np.deg2rad(30.0)))


def test_principal_offset_moves_the_detector_under_the_beam() -> None:
    camera = orbit_camera(0.0, principal_offset_mm=(30.0, -45.0))
    assert camera.project((0.0, 0.0, 0.0)) == pytest.approx((CENTRE_PX[0] - 30.0, CENTRE_PX[1] + 20.0))


@pytest.mark.parametrize("tilt", [(15.0, 0.0), (-10.0, 0.0), (0.0, 12.0), (8.0, -5.0)])
def test_tilted_detector_is_the_same_beam_on_a_leaning_plane(tilt: tuple[float, float]) -> None:
    centre = np.array((4.0, -7.0, 11.0))
    straight = orbit_camera(40.0, cranial_deg=10.0, centre_mm=centre)
    tilted = orbit_camera(40.0, cranial_deg=10.0, centre_mm=centre, detector_tilt_deg=tilt)
    np.testing.assert_allclose(tilted.source_mm, straight.source_mm, atol=1e-9)
    beam = straight.central_ray
    # the beam meets the middle of the detector, 1500 mm from the source, and leans on it as stated
    np.testing.assert_allclose(tilted.project(centre), CENTRE_PX, atol=1e-9)
    np.testing.assert_allclose(tilted.pixel_to_world(CENTRE_PX), straight.source_mm + 1500.0 * beam, atol=1e-9)
    x, y, normal = tilted.pose[:3, :3].T
    assert np.rad2deg(np.arctan2(beam @ x, beam @ normal)) == pytest.approx(tilt[0])  # towards higher columns
    assert np.rad2deg(np.arcsin(-beam @ y)) == pytest.approx(tilt[1])  # towards lower rows
    # a ray meets the plane where vector arithmetic says, without any camera matrix
    point = centre + np.array((30.0, -25.0, 50.0))
    ray = point - straight.source_mm
    plane_point = straight.source_mm + 1500.0 * beam
    hit = straight.source_mm + ray * ((plane_point - straight.source_mm) @ normal) / (ray @ normal)
    expected = np.array(CENTRE_PX) + np.array(((hit - plane_point) @ x, (hit - plane_point) @ y)) / PIXEL_MM
    np.testing.assert_allclose(tilted.project(point), expected, atol=1e-9)


def test_impossible_tilts_are_refused() -> None:
    with pytest.raises(GeometryError, match="within -90"):
        orbit_camera(0.0, detector_tilt_deg=(0.0, 90.0))
    with pytest.raises(GeometryError, match="parallel beam has no tilted detector"):
        orbit_camera(0.0, detector_tilt_deg=(5.0, 0.0), kind="parallel")


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
