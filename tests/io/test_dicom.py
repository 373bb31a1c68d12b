"""Radiographs in DICOM: what is written comes back, and what a file means is what the standard says."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage, JPEG2000Lossless

from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.views import view_angles
from boneray.io.dicom import Given, read_dicom, read_dicom_camera
from boneray.io.dicom_writing import write_dicom

SHAPE = (40, 56)
CAMERAS = {
    "ap": orbit_camera(0.0, detector_shape=SHAPE, detector_mm=(200.0, 280.0)),
    "lat": orbit_camera(90.0, detector_shape=SHAPE, detector_mm=(200.0, 280.0)),
    "lao30cra20": orbit_camera(150.0, cranial_deg=20.0, detector_shape=SHAPE, detector_mm=(200.0, 340.0)),
    "tilted": orbit_camera(200.0, cranial_deg=-9.0, detector_tilt_deg=(7.0, -4.0), detector_shape=SHAPE),
    "rolled": orbit_camera(20.0, roll_deg=15.0, principal_offset_mm=(11.0, -5.0), detector_shape=SHAPE),
    "parallel": orbit_camera(75.0, kind="parallel", detector_shape=SHAPE),
}


def radiograph(camera: Camera, *, scaled: bool = True) -> Radiograph:
    values = generator(1, "dicom test").uniform(0.0, 6.5, camera.detector_shape)
    return Radiograph(values.astype(np.float32), camera, scaled)


def written(path: Path, camera: Camera, **more: object) -> Path:
    return write_dicom(path, radiograph(camera), patient_id="P-7", patient_name="Phantom^Seven", **more)


def foreign(path: Path, view: str = "ap", picture: NDArray | None = None, **changes: object) -> Path:
    """A file as another program might write it: no private camera, no scale, tags set or deleted (None)."""
    written(path, CAMERAS[view])
    dataset = pydicom.dcmread(path)
    dataset.remove_private_tags()
    del dataset.RealWorldValueMappingSequence
    if picture is not None:
        dataset.Rows, dataset.Columns = picture.shape
        dataset.PixelData = np.ascontiguousarray(picture, dtype="<u2").tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("name", CAMERAS)
def test_written_radiograph_comes_back(tmp_path: Path, name: str) -> None:
    source = radiograph(CAMERAS[name])
    back = read_dicom(written(tmp_path / "x.dcm", CAMERAS[name]))
    assert back.radiograph.camera == source.camera
    assert back.radiograph.scaled
    assert (back.patient_id, back.patient_name, back.notes) == ("P-7", "Phantom^Seven", ())
    half_a_level = source.line_integrals.max() / 65535 / 2
    np.testing.assert_allclose(back.radiograph.line_integrals, source.line_integrals, atol=1.01 * half_a_level)


@pytest.mark.parametrize("name", ["ap", "lat", "lao30cra20", "tilted"])
def test_public_tags_alone_give_the_same_camera(tmp_path: Path, name: str) -> None:
    centre = (12.0, -8.0, 30.0)
    motion = np.eye(4)
    motion[:3, 3] = centre
    camera = CAMERAS[name].moved(motion)
    path = written(tmp_path / "x.dcm", camera, centre_mm=centre)
    read, notes = read_dicom_camera(path, Given(centre_mm=centre))
    assert notes == ()
    np.testing.assert_allclose(read.image_from_world, camera.image_from_world, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(read.pose, camera.pose, atol=1e-9)
    assert read.pixel_mm == pytest.approx(camera.pixel_mm)


def test_written_tags_are_the_standards(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(tmp_path / "x.dcm", CAMERAS["lao30cra20"]))
    assert dataset.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert dataset.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
    assert (dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient) == (1500, 1000)
    assert dataset.EstimatedRadiographicMagnificationFactor == 1.5
    assert dataset.ImagerPixelSpacing == [200 / 40, pytest.approx(340 / 56)]
    assert (dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle) == (pytest.approx(30), pytest.approx(20))
    assert dataset.SyntheticData == "YES"
    assert "synthetic" in dataset.DerivationDescription
    assert dataset.ImageType == ["DERIVED", "PRIMARY", ""]
    # denser is higher: the logarithm of the beam's intensity, downwards
    assert (dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign) == ("LOG", -1)
    assert (dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType) == (1, 0, "US")
    mapping = dataset.RealWorldValueMappingSequence[0]
    values = dataset.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    np.testing.assert_allclose(values, radiograph(CAMERAS["lao30cra20"]).line_integrals, atol=1e-4)
    assert pydicom.dcmread(written(tmp_path / "ap.dcm", CAMERAS["ap"])).ViewPosition == "AP"
    assert pydicom.dcmread(tmp_path / "ap.dcm").PatientOrientation == ["L", "F"]
    assert pydicom.dcmread(written(tmp_path / "lat.dcm", CAMERAS["lat"])).PatientOrientation == ["A", "F"]
    assert "DistanceSourceToDetector" not in pydicom.dcmread(written(tmp_path / "p.dcm", CAMERAS["parallel"]))


def test_same_content_same_bytes_other_content_other_uid(tmp_path: Path) -> None:
    first = written(tmp_path / "a.dcm", CAMERAS["ap"], study="s")
    again = written(tmp_path / "b.dcm", CAMERAS["ap"], study="s")
    assert first.read_bytes() == again.read_bytes()
    other = pydicom.dcmread(written(tmp_path / "c.dcm", CAMERAS["lat"], study="s", number=2))
    dataset = pydicom.dcmread(first)
    assert dataset.StudyInstanceUID == other.StudyInstanceUID
    assert dataset.SeriesInstanceUID == other.SeriesInstanceUID
    assert dataset.SOPInstanceUID != other.SOPInstanceUID
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    for uid in (dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID):
        assert uid.is_valid
        assert uid.startswith("2.25.")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", CAMERAS["tilted"], study="phantom")
    report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
    assert "DXImageForPresentation" in report
    errors = [line for line in report.splitlines() if line.startswith("Error") and "0x0008,0x001c" not in line]
    assert errors == []  # (0008,001C) Synthetic Data is younger than some releases of the checker


def test_scale_is_left_out_where_it_is_unknown(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", radiograph(CAMERAS["ap"], scaled=False), patient_id="1", patient_name="A")
    assert "RealWorldValueMappingSequence" not in pydicom.dcmread(path)
    assert not read_dicom(path).radiograph.scaled


# ---- what files of others mean ---------------------------------------------------------------------------

PICTURE = np.arange(40 * 56, dtype=np.uint16).reshape(SHAPE)  # as the source sees it: left at the right, head up
LAYOUTS = {
    "L/F": PICTURE,
    "R/F": PICTURE[:, ::-1],
    "L/H": PICTURE[::-1],
    "R/H": PICTURE[::-1, ::-1],
    "F/L": PICTURE.T,
    "F/R": PICTURE[:, ::-1].T,
    "H/L": PICTURE[::-1].T,
    "H/R": PICTURE[::-1, ::-1].T,
}


@pytest.mark.parametrize("orientation", LAYOUTS)
def test_picture_is_laid_out_as_the_source_sees_it(tmp_path: Path, orientation: str) -> None:
    stored = LAYOUTS[orientation]
    spacing = [5.0, 5.5] if stored.shape == SHAPE else [5.5, 5.0]
    path = foreign(
        tmp_path / "x.dcm", picture=stored, PatientOrientation=orientation.split("/"), ImagerPixelSpacing=spacing
    )
    back = read_dicom(path)
    np.testing.assert_array_equal(back.radiograph.line_integrals, PICTURE)
    assert back.radiograph.camera.pixel_mm == (5.0, 5.5)
    assert not back.radiograph.scaled
    assert back.notes == ()


def test_pa_as_hung_on_the_wall_is_mirrored_back(tmp_path: Path) -> None:
    # Left at the right of a PA picture is the viewer who faces the patient; the source is behind.
    path = foreign(
        tmp_path / "x.dcm",
        picture=PICTURE,
        ViewPosition="PA",
        PositionerType="NONE",
        PositionerPrimaryAngle=None,
        PositionerSecondaryAngle=None,
        PatientOrientation=["L", "F"],
    )
    back = read_dicom(path)
    np.testing.assert_array_equal(back.radiograph.line_integrals, PICTURE[:, ::-1])
    np.testing.assert_allclose(back.radiograph.camera.source_mm, (0, -1000, 0), atol=1e-9)
    # a mark at the left edge of the stored picture belongs to the patient's right
    assert back.radiograph.camera.pixel_to_world((55.0, 0.0))[0] > 0
    assert back.radiograph.line_integrals[0, 55] == PICTURE[0, 0]


def test_missing_orientation_is_assumed_and_said(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.dcm", picture=PICTURE, PatientOrientation=None)
    back = read_dicom(path)
    np.testing.assert_array_equal(back.radiograph.line_integrals, PICTURE)
    assert back.notes == (
        "Patient Orientation (0020,0020) is missing",
        "the picture is taken as upright and seen from the source's side",
    )
    path = foreign(tmp_path / "x.dcm", picture=PICTURE, PatientOrientation=None, Modality="XA")
    np.testing.assert_array_equal(read_dicom(path).radiograph.line_integrals, PICTURE[:, ::-1])
    path = foreign(tmp_path / "x.dcm", picture=PICTURE, PatientOrientation=["A", "F"])
    assert "A/F does not fit the view" in read_dicom(path).notes[0]


@pytest.mark.parametrize(
    ("changes", "inverted"),
    [
        ({}, False),  # sign -1: higher is denser
        ({"PixelIntensityRelationshipSign": 1}, True),
        ({"PixelIntensityRelationshipSign": -1, "PhotometricInterpretation": "MONOCHROME1"}, False),
        ({"PixelIntensityRelationshipSign": None, "PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PixelIntensityRelationshipSign": None, "PhotometricInterpretation": "MONOCHROME2"}, False),
        ({"PixelIntensityRelationshipSign": None, "Modality": "XA"}, True),
    ],
)
def test_bone_is_bright(tmp_path: Path, changes: dict[str, object], inverted: bool) -> None:
    values = read_dicom(foreign(tmp_path / "x.dcm", picture=PICTURE, **changes)).radiograph.line_integrals
    np.testing.assert_array_equal(values, 65535 - PICTURE if inverted else PICTURE)


def test_distances_angles_and_pitch_make_the_camera(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "x.dcm",
        DistanceSourceToDetector="1200",
        DistanceSourceToPatient="800",
        PositionerPrimaryAngle="-30",
        PositionerSecondaryAngle="20",
        ImagerPixelSpacing=["0.5", "0.25"],
        PatientOrientation=["R", "F"],
    )
    camera, _ = read_dicom_camera(path)
    sine, cosine = np.sin(np.deg2rad(20)), np.cos(np.deg2rad(20))
    toward_detector = np.array((cosine * 0.5, cosine * np.cos(np.pi / 6), sine))  # RAO: front and right; cranial: up
    np.testing.assert_allclose(camera.source_mm, -800 * toward_detector, atol=1e-9)
    np.testing.assert_allclose(camera.pixel_to_world((27.5, 19.5)), 400 * toward_detector, atol=1e-9)
    assert camera.pixel_mm == pytest.approx((0.5, 0.25))
    # what the caller knows goes before what the file says
    camera, _ = read_dicom_camera(path, Given(view="lat", source_object_mm=900.0, pixel_mm=(0.3, 0.3)))
    np.testing.assert_allclose(camera.source_mm, (900, 0, 0), atol=1e-9)
    assert camera.pixel_mm == (0.3, 0.3)


def test_magnification_factor_stands_in_for_the_distance(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.dcm", DistanceSourceToPatient=None, EstimatedRadiographicMagnificationFactor="1.25")
    assert np.linalg.norm(read_dicom_camera(path)[0].source_mm) == pytest.approx(1200.0)


@pytest.mark.parametrize(("position", "view"), [("AP", "ap"), ("PA", "pa"), ("LL", "llat"), ("RL", "rlat")])
def test_view_position_stands_in_for_the_angles(tmp_path: Path, position: str, view: str) -> None:
    path = foreign(tmp_path / "x.dcm", ViewPosition=position, PositionerType="COLUMN", PositionerPrimaryAngle="0")
    camera, _ = read_dicom_camera(path)
    np.testing.assert_allclose(camera.source_mm, orbit_camera(view_angles(view)[0]).source_mm, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"DistanceSourceToDetector": None},
            r"lacks Distance Source to Detector \(0018,1110\); give source_detector_mm",
        ),
        (
            {"DistanceSourceToPatient": None, "EstimatedRadiographicMagnificationFactor": None},
            r"lacks Distance Source to Patient \(0018,1111\); give source_object_mm",
        ),
        ({"ImagerPixelSpacing": None}, r"lacks Imager Pixel Spacing \(0018,1164\); give pixel_mm"),
        (
            {"PositionerPrimaryAngle": None, "ViewPosition": None},
            r"Primary Angle \(0018,1510\) is missing and View Position \(0018,5101\) is ''; give view",
        ),
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "modality 'CT'; radiographs are CR, DX, RF, XA"),
        ({"NumberOfFrames": 12}, "12 frames"),
        ({"PixelData": b"\0\0"}, "damaged pixels"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_dicom(foreign(tmp_path / "x.dcm", **changes))


def test_contradictions_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="patient, 1600 mm from the source, is not in front of the detector"):
        read_dicom(foreign(tmp_path / "x.dcm", DistanceSourceToPatient="1600"))
    (tmp_path / "text.dcm").write_text("no DICOM at all, but long enough to look for the four letters" * 4)
    with pytest.raises(InputError, match="is not a DICOM file"):
        read_dicom(tmp_path / "text.dcm")
    with pytest.raises(InputError, match="does not exist"):
        read_dicom(tmp_path / "none.dcm")
    path = foreign(tmp_path / "x.dcm")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        read_dicom(path)
    with pytest.raises(GeometryError, match="does not lie between source and detector"):
        written(tmp_path / "x.dcm", CAMERAS["ap"], centre_mm=(0.0, 2000.0, 0.0))
    nan = Radiograph(np.full(SHAPE, np.nan, np.float32), CAMERAS["ap"])
    with pytest.raises(InputError, match="not numbers"):
        write_dicom(tmp_path / "x.dcm", nan, patient_id="1", patient_name="A")


def test_pixel_spacing_is_the_pitch_unless_calibrated(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.dcm", ImagerPixelSpacing=None, PixelSpacing=["0.2", "0.2"])
    camera, notes = read_dicom_camera(path)
    assert camera.pixel_mm == pytest.approx((0.2, 0.2))
    assert "Pixel Spacing (0028,0030) is taken" in notes[0]
    path = foreign(
        tmp_path / "x.dcm", ImagerPixelSpacing=None, PixelSpacing=["0.2", "0.2"], PixelSpacingCalibrationType="FIDUCIAL"
    )
    with pytest.raises(InputError, match="lacks Imager Pixel Spacing"):
        read_dicom_camera(path)


def test_pictures_that_cannot_be_unpacked_give_their_camera_only(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert read_dicom_camera(path)[0].detector_shape == SHAPE
    with pytest.raises(InputError, match=r"compressed \(JPEG 2000 .*install boneray\[dicom\], or decompress"):
        read_dicom(path)


@pytest.mark.data
def test_real_chest_needs_what_its_file_lacks(test_data: Path) -> None:
    path = test_data / "xray_dicom" / "RG1_J2KI.dcm"
    with pytest.raises(InputError, match=r"\(0018,1111\)"):
        read_dicom_camera(path)
    with pytest.raises(InputError, match=r"\(0018,1164\)"):  # its pixel spacing is 0
        read_dicom_camera(path, Given(source_object_mm=1800.0))
    camera, notes = read_dicom_camera(path, Given(source_object_mm=1800.0, pixel_mm=(0.2, 0.2)))
    assert notes == ()
    assert camera.detector_shape == (1955, 1841)
    assert camera.source_detector_mm == 1996.0
    np.testing.assert_allclose(camera.source_mm, (0, -1800, 0), atol=1e-9)  # PA: the source behind the patient
    picture = read_dicom(path, Given(source_object_mm=1800.0, pixel_mm=(0.2, 0.2))).radiograph
    assert picture.line_integrals.shape == (1955, 1841)


@pytest.mark.data
def test_real_hip_says_nothing_of_its_view(test_data: Path) -> None:
    path = test_data / "xray_dicom" / "RG2_J2KR.dcm"
    with pytest.raises(InputError, match=r"\(0018,5101\) is ''; give view"):
        read_dicom_camera(path)
    camera, notes = read_dicom_camera(path, Given(view="ap", source_object_mm=1000.0, source_detector_mm=1150.0))
    assert camera.detector_shape == (2140, 1760)
    assert camera.pixel_mm == (0.2, 0.2)
    assert len(notes) == 3
