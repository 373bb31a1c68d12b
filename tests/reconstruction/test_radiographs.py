"""A person's own films: what is read, what is assumed and said, what is refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from boneray.core.camera import orbit_camera
from boneray.core.errors import BonerayError, GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.io.cameras import write_cameras
from boneray.io.files import write_json
from boneray.io.mayacam import write_mayacam
from boneray.reconstruction.radiographs import load_radiographs
from tests.reconstruction import films

SHAPE = (60, 80)
GREY = (3000 + 20000 * generator(1, "grey").random(SHAPE)).astype(np.uint16)
PLACED = {"sdd_mm": 1500.0, "sod_mm": 1000.0, "pixel_mm": 2.0}


def camera(angle=0.0, shape=SHAPE):
    return orbit_camera(angle, detector_shape=shape, detector_mm=(120.0, 160.0))


def picture(path: Path, grey=GREY, **options) -> Path:
    Image.fromarray(grey).save(path, **options)
    return path


def test_dicom_of_our_own_comes_back_with_its_camera(tmp_path):
    taken = {"ap": Radiograph(GREY / 1e4, camera(3.0)), "lat": Radiograph(GREY / 1e4, camera(88.0))}
    files = films.dicom_films(
        tmp_path, {v: Radiograph(np.float32(r.line_integrals), r.camera) for v, r in taken.items()}
    )
    loaded = load_radiographs(files)
    assert loaded.notes == ()
    for view, r in taken.items():
        back = loaded.views[view]
        assert back.radiograph.camera == r.camera and back.values == "line integrals"
        np.testing.assert_allclose(back.radiograph.line_integrals, r.line_integrals, atol=4e-5)
    assert len({view.patient_key for view in loaded.views.values()}) == 1
    assert "P1" not in str(loaded.to_dict())


@pytest.mark.parametrize(("name", "grey"), [("x.png", GREY), ("x.tif", GREY), ("x.png", np.uint8(GREY >> 8))])
def test_a_picture_with_distances_gets_the_camera_of_its_view(tmp_path, name, grey):
    view = load_radiographs({"lat": picture(tmp_path / name, grey)}, **PLACED).views["lat"]
    np.testing.assert_array_equal(view.radiograph.line_integrals, grey)
    np.testing.assert_allclose(view.radiograph.camera.image_from_world, camera(90.0).image_from_world, atol=1e-9)
    assert any("taken as lat, upright" in note for note in view.notes)
    assert any("bone is taken to be bright" in note for note in view.notes)


def test_jpeg_is_read_nearly_and_colour_refused(tmp_path):
    smooth = np.uint8(60 + 40 * np.sin(np.arange(80) / 9)[None] + np.arange(60)[:, None])
    view = load_radiographs({"ap": picture(tmp_path / "x.jpg", smooth, quality=95)}, **PLACED).views["ap"]
    np.testing.assert_allclose(view.radiograph.line_integrals, smooth, atol=4)
    grey = np.repeat(smooth[..., None], 3, axis=2)
    scanned = load_radiographs({"ap": picture(tmp_path / "g.png", grey)}, **PLACED).views["ap"]
    np.testing.assert_allclose(scanned.radiograph.line_integrals, smooth, atol=1)
    photograph = grey.copy()
    photograph[..., 2] //= 3
    with pytest.raises(InputError, match="in colour: a photograph"):
        load_radiographs({"ap": picture(tmp_path / "c.png", photograph)}, **PLACED)


def test_values_may_be_dark_or_counts(tmp_path):
    file = picture(tmp_path / "x.png")
    dark = load_radiographs({"ap": file}, values="dark", **PLACED).radiographs["ap"]
    np.testing.assert_array_equal(dark.line_integrals, GREY.max() - GREY.astype(float))
    true = np.tile(np.clip(np.linspace(-0.5, 4.0, 80), 0, None), (60, 1))
    file = picture(tmp_path / "c.png", np.uint16(np.round(60000 * np.exp(-true))))
    view = load_radiographs({"ap": file}, values="counts", whole=True, **PLACED).views["ap"]
    assert view.radiograph.scaled and view.values == "counts"
    np.testing.assert_allclose(view.radiograph.line_integrals, true, atol=1e-3)
    with pytest.raises(InputError, match="did you mean"):
        load_radiographs({"ap": file}, values="drak", **PLACED)


def test_what_is_missing_must_be_given_or_is_assumed_and_said(tmp_path):
    file = picture(tmp_path / "x.png")
    with pytest.raises(InputError, match="give --sdd-mm and --pixel-mm"):
        load_radiographs({"ap": file})
    loaded = load_radiographs({"ap": file}, sdd_mm=1150.0, pixel_mm=2.0)
    np.testing.assert_allclose(loaded.radiographs["ap"].camera.source_mm, (0, 1000, 0), atol=1e-9)
    assert any("150 mm in front of the detector, 1000 mm" in note and "1.0 %" in note for note in loaded.notes)
    both = load_radiographs({"ap": file, "lat": file}, **PLACED)
    assert "meet in one point" in both.notes[-1]
    with pytest.raises(GeometryError, match="not in front of the detector"):
        load_radiographs({"ap": file}, sdd_mm=1000.0, sod_mm=1100.0, pixel_mm=2.0)
    for wrong in ({"sdd_mm": -1.0}, {"sdd_mm": float("nan")}, {"pixel_mm": 0.0}):
        with pytest.raises(InputError, match="must be a positive number"):
            load_radiographs({"ap": file}, **{**PLACED, **wrong})


def test_cameras_come_from_one_file_or_one_each(tmp_path):
    files = {"ap": picture(tmp_path / "a.png"), "75": picture(tmp_path / "b.tif")}
    cameras = {"ap": camera(0.0), "75": camera(75.0)}
    together = tmp_path / "cameras.json"
    write_cameras(together, cameras)
    single = [tmp_path / "one.json", tmp_path / "two.txt"]
    write_json(single[0], cameras["ap"].to_dict())
    write_mayacam(single[1], cameras["75"])
    for given in ([together], single):
        loaded = load_radiographs(files, cameras=given)
        for view, known in cameras.items():
            found = loaded.radiographs[view].camera
            np.testing.assert_allclose(found.image_from_world, known.image_from_world, rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="has no view lat"):
        load_radiographs({"lat": files["ap"], "ap": files["75"]}, cameras=[together])
    with pytest.raises(InputError, match="3 camera files for 2 views"):
        load_radiographs(files, cameras=[*single, together])
    halved = load_radiographs(
        {"ap": picture(tmp_path / "s.png", GREY[::2, ::2]), "75": files["75"]}, cameras=[together]
    )
    assert halved.radiographs["ap"].camera.pixel_mm == pytest.approx((4.0, 4.0))
    with pytest.raises(GeometryError, match="must show the same field"):
        load_radiographs({"ap": picture(tmp_path / "t.png", GREY[:30]), "75": files["75"]}, cameras=[together])


def test_a_lateral_film_given_as_ap_is_refused(tmp_path):
    files = films.dicom_films(tmp_path, {"lat": Radiograph(np.float32(GREY / 1e4), camera(90.0))})
    with pytest.raises(GeometryError, match="are AP and LAT swapped"):
        load_radiographs({"ap": files["lat"]})
    dataset = pydicom.dcmread(files["lat"])
    dataset.remove_private_tags()
    dataset.save_as(files["lat"])
    with pytest.raises(GeometryError, match="90 degrees away"):
        load_radiographs({"ap": files["lat"]})
    assert load_radiographs({"lat": files["lat"]}).views["lat"].facts.states_angle


def test_a_film_that_says_nothing_of_its_view_is_taken_as_given(tmp_path):
    path = films.dicom_films(tmp_path, {"ap": Radiograph(np.float32(GREY / 1e4), camera())})["ap"]
    dataset = pydicom.dcmread(path)
    dataset.remove_private_tags()
    for keyword in ("ViewPosition", "PositionerPrimaryAngle", "PositionerSecondaryAngle", "DistanceSourceToPatient",
                    "EstimatedRadiographicMagnificationFactor"):  # fmt: skip
        delattr(dataset, keyword)
    dataset.ImageLaterality, dataset.BodyPartExamined = "L", "HIP"
    dataset.save_as(path)
    loaded = load_radiographs({"ap": path})
    assert loaded.views["ap"].facts.laterality == "left" and loaded.views["ap"].facts.body_part == "HIP"
    assert loaded.radiographs["ap"].camera.source_mm[1] == pytest.approx(1350.0)  # 1500 - 150 in front
    text = " ".join(loaded.notes)
    assert "it is taken as ap" in text and "1350 mm from the source" in text


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "calibration", "films_of", "between_deg"),
    [
        ("xray_biplane_wrist", "xr_calib_wrist_cam0{}.txt", "xr_rad_uln_cam0{}_UND.0002.tif", 110.0),
        ("xray_biplane_left_knee", "xr_calib_left_knee_cam0{}.txt", "L_Hop_Cam{}_001_UND.0138.tif", 51.9),
    ],
)
def test_calibrated_pairs_are_read_rightly(test_data, folder, calibration, films_of, between_deg):
    root = test_data / folder
    files = {f"cam{n}": root / films_of.format(n) for n in (1, 2)}
    loaded = load_radiographs(files, cameras=[root / calibration.format(n) for n in (1, 2)], whole=True)
    first, second = (r.camera for r in loaded.radiographs.values())
    cosine = float(first.central_ray @ second.central_ray)
    assert np.rad2deg(np.arccos(cosine)) == pytest.approx(between_deg, abs=0.1)
    assert all(r.line_integrals.shape == (1760, 1760) for r in loaded.radiographs.values())


def test_errors_are_of_one_family(tmp_path):
    for file in (tmp_path / "none.png", tmp_path):
        with pytest.raises(BonerayError):
            load_radiographs({"ap": file}, **PLACED)
    with pytest.raises(InputError, match="nothing to reconstruct"):
        load_radiographs({})
