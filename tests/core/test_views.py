"""Views by name, against where the DICOM standard puts the detector."""

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.errors import GeometryError
from boneray.core.views import (
    orbit_from_positioner,
    pair_angles,
    positioner_from_orbit,
    same_view,
    spread_angles,
    view_angles,
)


@pytest.mark.parametrize(
    ("view", "angles"),
    [
        ("ap", (0.0, 0.0)),
        ("PA", (180.0, 0.0)),
        ("lat", (90.0, 0.0)),
        ("llat", (90.0, 0.0)),
        ("rlat", (270.0, 0.0)),
        ("75", (75.0, 0.0)),
        ("-12.5", (-12.5, 0.0)),
        ("lat+5", (95.0, 0.0)),
        ("lat-10", (80.0, 0.0)),
        ("ap+2.5", (2.5, 0.0)),
        ("apcau30", (0.0, -30.0)),
        ("lao30", (150.0, 0.0)),
        ("rao30", (210.0, 0.0)),
        ("lao30cra20", (150.0, 20.0)),
        ("rao15cau10", (195.0, -10.0)),
        ("cra20", (180.0, 20.0)),
        ("75cra10", (75.0, 10.0)),
    ],
)
def test_view_names(view: str, angles: tuple[float, float]) -> None:
    assert view_angles(view) == angles


@pytest.mark.parametrize("view", ["", "oblique", "nan", "inf", "lao", "laocra", "ap5", "lao30lat", "1e2", "lao30cra"])
def test_unknown_view_is_refused(view: str) -> None:
    with pytest.raises(GeometryError, match="is neither ap, lat, pa, rlat, nor a name"):
        view_angles(view)


@pytest.mark.parametrize("view", ["lao181", "cra91"])
def test_views_beyond_the_poles_are_refused(view: str) -> None:
    with pytest.raises(GeometryError, match="goes too far"):
        view_angles(view)


@pytest.mark.parametrize(
    ("view", "detector"),  # (right, front, up) from the isocentre, from PS3.3 C.8.7.5.1.2
    [
        ("lao0", (0, 1, 0)),  # the patient faces the detector
        ("lao90", (-1, 0, 0)),  # +90 at the patient's left hand
        ("rao90", (1, 0, 0)),  # -90 at the right
        ("lao30", (-np.sin(np.pi / 6), np.cos(np.pi / 6), 0)),
        ("rao30", (np.sin(np.pi / 6), np.cos(np.pi / 6), 0)),
        ("cra30", (0, np.cos(np.pi / 6), np.sin(np.pi / 6))),  # +90 is the cranial direction
        ("lao90cau30", (-np.cos(np.pi / 6), 0, -np.sin(np.pi / 6))),
    ],
)
def test_detector_stands_where_dicom_says(view: str, detector: tuple[float, float, float]) -> None:
    angle, cranial = view_angles(view)
    camera = orbit_camera(angle, cranial_deg=cranial, source_object_mm=1000.0, source_detector_mm=1500.0)
    np.testing.assert_allclose(camera.pixel_to_world((127.5, 127.5)), 500.0 * np.array(detector), atol=1e-9)


def test_positioner_angles_come_back() -> None:
    for primary, secondary in ((0.0, 0.0), (30.0, 20.0), (-45.0, -10.0), (90.0, 0.0), (-90.0, 5.0), (180.0, 0.0)):
        assert positioner_from_orbit(*orbit_from_positioner(primary, secondary)) == pytest.approx((primary, secondary))
    assert positioner_from_orbit(0.0, 0.0) == (180.0, 0.0)  # AP: the detector behind the patient
    assert positioner_from_orbit(-180.0, 0.0) == (0.0, 0.0)


def test_spread_angles_part_the_span() -> None:
    assert spread_angles(4) == (0.0, 45.0, 90.0, 135.0)
    # Swin-X2S with N = 20 per group: 4.5 degrees from the coronal, and the same from the sagittal
    assert spread_angles(20, 90)[:3] == (0.0, 4.5, 9.0)
    assert spread_angles(20, 90) + spread_angles(20, 90, 90) == spread_angles(40, 180)
    assert spread_angles(1, 90, 90) == (90.0,)
    with pytest.raises(GeometryError, match="at least 1"):
        spread_angles(0)
    with pytest.raises(GeometryError, match=r"0\.\.360"):
        spread_angles(3, 0.0)


def test_pairs_lie_as_far_apart_as_asked() -> None:
    assert pair_angles(60.0) == (0.0, 60.0)
    assert pair_angles(140.0, -70.0) == (-70.0, 70.0)
    with pytest.raises(GeometryError, match="between two views"):
        pair_angles(0.0)


def test_same_view_knows_full_turns() -> None:
    assert same_view(view_angles("rlat"), (-90.0, 0.0))
    assert same_view((359.9999999, 0.0), (0.0, 0.0))
    assert not same_view((0.0, 0.0), (0.0, 1.0))
    assert not same_view((0.0, 0.0), (180.0, 0.0))
