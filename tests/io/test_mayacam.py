"""MayaCam 2.0: numbers worked out from K (R X + t), and two real calibrated rooms."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import GeometryError, InputError
from boneray.io.mayacam import read_mayacam, write_mayacam

K = np.array([[5000.0, 0, 510.0], [0, 4800.0, 400.0], [0, 0, 1]])
R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks along world +y, world z is up in the picture
T = np.array((10.0, 20.0, 900.0))


def write(path: Path, matrix: NDArray, rotation: NDArray, shift: NDArray, size: str = "1024,800") -> Path:
    rows = ["image size", size, "", "camera matrix", *(",".join(map(str, row)) for row in matrix)]
    rows += ["", "rotation", *(",".join(map(str, row)) for row in rotation), "", "translation", *map(str, shift)]
    path.write_text("\r\n".join(rows) + "\r\n")
    return path


def seen(matrix: NDArray, rotation: NDArray, shift: NDArray, point: tuple[float, float, float]) -> NDArray:
    image = matrix @ (rotation @ np.array(point) + shift)
    return image[:2] / image[2]


def test_camera_is_the_one_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "cam.txt", K, R, T)
    camera = read_mayacam(path, source_detector_mm=1200.0)
    assert camera.detector_shape == (800, 1024)  # the file says width, height
    assert camera.pixel_mm == pytest.approx((1200 / 4800, 1200 / 5000))
    np.testing.assert_allclose(camera.source_mm, (-10.0, -900.0, 20.0), atol=1e-9)  # -R^T t
    point = (30.0, 100.0, 50.0)  # R X + t = (40, -30, 1000)
    assert camera.project(point) == pytest.approx((510 + 5000 * 40 / 1000, 400 - 4800 * 30 / 1000))
    np.testing.assert_allclose(camera.image_from_world, K @ np.column_stack([R, T]), rtol=1e-12, atol=1e-9)


def test_the_distance_is_a_choice_that_changes_no_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "cam.txt", K, R, T)
    default = read_mayacam(path)
    assert default.source_detector_mm == pytest.approx(1.5 * 900.0)
    far = read_mayacam(path, source_detector_mm=3000.0)
    np.testing.assert_allclose(default.image_from_world, far.image_from_world, rtol=1e-12)


@pytest.mark.parametrize("name", ["orbit", "tilted"])
def test_written_camera_comes_back(tmp_path: Path, name: str) -> None:
    tilt = (9.0, -4.0) if name == "tilted" else (0.0, 0.0)
    camera = orbit_camera(
        33.0, cranial_deg=12.0, detector_tilt_deg=tilt, detector_shape=(300, 400), detector_mm=(290.0, 410.0)
    )
    back = read_mayacam(write_mayacam(tmp_path / "cam.txt", camera), source_detector_mm=camera.source_detector_mm)
    np.testing.assert_allclose(back.image_from_world, camera.image_from_world, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(back.pose, camera.pose, atol=1e-9)
    assert back.pixel_mm == pytest.approx(camera.pixel_mm)
    assert back.detector_shape == camera.detector_shape


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, 1), (-1, -1, 1)])
def test_negative_focal_lengths_draw_the_same_picture(tmp_path: Path, signs: tuple[int, int, int]) -> None:
    # The same projection written with camera axes that point the other way.
    flip = np.diag(signs).astype(float)
    camera = read_mayacam(write(tmp_path / "cam.txt", K @ flip, flip @ R, flip @ T))
    np.testing.assert_allclose(camera.project((30.0, 100.0, 50.0)), seen(K, R, T, (30.0, 100.0, 50.0)))
    # A camera that looks along its -z, as OpenGL has it: (-R, -t) draws the same picture.
    camera = read_mayacam(write(tmp_path / "cam.txt", K @ flip, -flip @ R, -flip @ T))
    np.testing.assert_allclose(camera.project((30.0, 100.0, 50.0)), seen(K, R, T, (30.0, 100.0, 50.0)))


def test_mirrored_calibrations_are_refused(tmp_path: Path) -> None:
    mirrored = K.copy()
    mirrored[0, 0] *= -1
    with pytest.raises(GeometryError, match="behind the source, so the picture is mirrored"):
        read_mayacam(write(tmp_path / "cam.txt", mirrored, R, T))
    with pytest.raises(GeometryError, match="behind the source"):
        read_mayacam(write(tmp_path / "cam.txt", K, np.diag([1.0, -1, 1]) @ R, T))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cam.txt"
    skewed = K.copy()
    skewed[0, 1] = 3.0
    with pytest.raises(GeometryError, match="skew 3 px"):
        read_mayacam(write(path, skewed, R, T))
    with pytest.raises(GeometryError, match="not a rotation"):
        read_mayacam(write(path, K, 1.1 * R, T))
    with pytest.raises(InputError, match="section 'translation' has 2 numbers; 3 are needed"):
        read_mayacam(write(path, K, R, T[:2]))
    path.write_text("-737.5,-514.9,94.3\n89.7,-2.0,-55.2\n")  # MayaCam 1
    with pytest.raises(InputError, match=r"line 1: '-737.5,-514.9,94.3' is no part of a MayaCam 2\.0 file"):
        read_mayacam(path)
    with pytest.raises(GeometryError, match="point sources only"):
        write_mayacam(path, orbit_camera(0.0, kind="parallel"))


def room(test_data: Path, name: str) -> list[Camera]:
    folder = test_data / f"xray_biplane_{name}"
    return [read_mayacam(folder / f"xr_calib_{name}_cam0{i}.txt") for i in (1, 2)]


def miss_mm(first: Camera, second: Camera, a: NDArray, b: NDArray) -> float:
    """Shortest distance between the rays of two pixels."""
    (start, direction), (other_start, other_direction) = first.ray(a), second.ray(b)
    normal = np.cross(direction, other_direction)
    return float(abs((other_start - start) @ normal) / np.linalg.norm(normal))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "between_deg", "distances_mm"), [("wrist", 110.0, (905, 1164)), ("left_knee", 51.9, (1376, 1482))]
)
def test_real_rooms_are_plausible(
    test_data: Path, name: str, between_deg: float, distances_mm: tuple[int, int]
) -> None:
    first, second = room(test_data, name)
    turn = np.rad2deg(np.arccos(first.central_ray @ second.central_ray))
    assert turn == pytest.approx(between_deg, abs=0.1)
    # both central rays pass each other within a centimetre, as two C-arms set up for one joint do
    assert miss_mm(first, second, *(np.array(c.principal_point_px[::-1]) for c in (first, second))) < 10.0
    for camera, distance in zip((first, second), distances_mm, strict=True):
        assert np.linalg.norm(camera.source_mm) == pytest.approx(distance, abs=1.0)
        column, row = camera.project((0.0, 0.0, 0.0))  # the calibration object is in the picture
        assert 0 < column < 1760
        assert 0 < row < 1760


@pytest.mark.data
@pytest.mark.parametrize("name", ["wrist", "left_knee"])
def test_real_calibrations_come_back(test_data: Path, tmp_path: Path, name: str) -> None:
    for camera in room(test_data, name):
        back = read_mayacam(write_mayacam(tmp_path / "cam.txt", camera))
        np.testing.assert_allclose(back.image_from_world, camera.image_from_world, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(back.pose, camera.pose, atol=1e-6)


# The six tantalum beads in the radius, to the nearest pixels (column, row) in both real pictures.
BEADS = {
    1: [(868, 1350), (855, 1373), (839, 1322), (837, 1347), (882, 1320), (860, 1294)],
    2: [(802, 1368), (800, 1394), (800, 1339), (781, 1363), (787, 1396), (793, 1420)],
}


@pytest.mark.data
def test_beads_of_a_real_wrist_are_triangulated(test_data: Path) -> None:
    cameras = room(test_data, "wrist")
    spots = []
    for number in (1, 2):
        with Image.open(test_data / "xray_biplane_wrist" / f"xr_rad_uln_cam0{number}_UND.0002.tif") as picture:
            grey = np.asarray(picture.convert("F"))
        dark = ndimage.black_tophat(ndimage.gaussian_filter(grey, 1.0), size=(15, 15))
        spots.append(np.array([centroid(dark, column, row) for column, row in BEADS[number]]))

    assert worst_miss_mm(cameras, *spots) < 0.3
    upwards = [np.column_stack([spot[:, 0], 1759 - spot[:, 1]]) for spot in spots]  # rows counted from the bottom
    assert worst_miss_mm(cameras, *upwards) > 5.0


def worst_miss_mm(cameras: list[Camera], first: NDArray, second: NDArray) -> float:
    """Largest distance between the rays of two pictures' beads, matched as well as can be."""
    misses = np.array([[miss_mm(cameras[0], cameras[1], a, b) for b in second] for a in first])
    return float(misses[linear_sum_assignment(misses)].max())


def centroid(picture: NDArray, column: int, row: int, reach: int = 6) -> tuple[float, float]:
    """(column, row) of what stands out in a window, weighted above half its peak."""
    rows, columns = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1]
    weight = np.maximum(picture[rows, columns] - picture[rows, columns].max() / 2, 0.0)
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())
