"""Every encoding of a still picture gives the same film: lossless ones to the grey value, lossy ones nearly."""

import io
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from boneray.core.camera import orbit_camera
from boneray.core.errors import InputError
from boneray.core.radiograph import Radiograph
from boneray.io.dicom import read_dicom
from boneray.io.dicom_writing import write_dicom
from boneray.reconstruction.radiographs import load_radiographs

SHAPE = (48, 56)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]]
FILM = (2000 + 1500 * np.sin(ROW / 9) * np.cos(COLUMN / 7) + (ROW * 7 + COLUMN * 13) % 32).astype(np.uint16)  # 12 bits


def film(path: Path, picture: np.ndarray = FILM, bits: int = 12, **changes: object) -> Dataset:
    """A DX file without scale or private camera, as another program might write it."""
    camera = orbit_camera(0.0, detector_shape=SHAPE, detector_mm=(240.0, 280.0))
    blank = Radiograph(np.ones(SHAPE, np.float32), camera)
    write_dicom(path, blank, patient_id="1", patient_name="A")
    dataset = pydicom.dcmread(path)
    dataset.remove_private_tags()
    del dataset.RealWorldValueMappingSequence
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (8 if bits == 8 else 16), bits, bits - 1
    dataset.PixelData = np.ascontiguousarray(picture, dtype="<u1" if bits == 8 else "<u2").tobytes()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def values(path: Path) -> np.ndarray:
    return read_dicom(path).radiograph.line_integrals


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed(tmp_path: Path, syntax: UID) -> None:
    dataset = film(tmp_path / "x.dcm")
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = FILM.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(tmp_path / "y.dcm", dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    np.testing.assert_array_equal(values(tmp_path / "y.dcm"), FILM)


@pytest.mark.parametrize(
    ("syntax", "module"),
    [(RLELossless, "rle"), (JPEG2000Lossless, "openjpeg"), (JPEGLSLossless, "jpeg_ls")],
    ids=["RLE", "JPEG 2000", "JPEG-LS"],
)
def test_lossless(tmp_path: Path, syntax: UID, module: str) -> None:
    pytest.importorskip(module)
    dataset = film(tmp_path / "x.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "y.dcm")
    assert pydicom.dcmread(tmp_path / "y.dcm").file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(values(tmp_path / "y.dcm"), FILM)


@pytest.mark.parametrize(
    ("syntax", "module", "options", "error"),
    [(JPEG2000, "openjpeg", {"j2k_psnr": [60]}, 40), (JPEGLSNearLossless, "jpeg_ls", {"jls_error": 3}, 3)],
    ids=["JPEG 2000", "JPEG-LS"],
)
def test_lossy(tmp_path: Path, syntax: UID, module: str, options: dict, error: int) -> None:
    pytest.importorskip(module)
    dataset = film(tmp_path / "x.dcm")
    dataset.compress(syntax, generate_instance_uid=False, **options)
    dataset.save_as(tmp_path / "y.dcm")
    np.testing.assert_allclose(values(tmp_path / "y.dcm"), FILM, atol=error)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1], ids=["process 14", "process 14 SV1"])
def test_lossless_jpeg(tmp_path: Path, syntax: UID) -> None:
    gdcm = pytest.importorskip("gdcm")
    film(tmp_path / "x.dcm").save_as(tmp_path / "x.dcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "x.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    kinds = {JPEGLossless: "JPEGLosslessProcess14", JPEGLosslessSV1: "JPEGLosslessProcess14_1"}
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kinds[syntax])))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "y.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "y.dcm").file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(values(tmp_path / "y.dcm"), FILM)


def test_8_bit_jpeg(tmp_path: Path) -> None:
    grey = (FILM >> 4).astype(np.uint8)
    dataset = film(tmp_path / "x.dcm", grey, bits=8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, format="JPEG", quality=95)
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(tmp_path / "y.dcm")
    np.testing.assert_allclose(values(tmp_path / "y.dcm"), grey, atol=6)


def test_a_falling_rescale_turns_the_picture_over_and_so_does_monochrome1(tmp_path: Path) -> None:
    for photometric, slope, dark in (
        ("MONOCHROME2", "1", False),
        ("MONOCHROME2", "-1", True),
        ("MONOCHROME1", "1", True),
        ("MONOCHROME1", "-1", False),
    ):
        dataset = film(tmp_path / "x.dcm", PhotometricInterpretation=photometric, RescaleSlope=slope)
        del dataset.PixelIntensityRelationshipSign
        dataset.save_as(tmp_path / "y.dcm")
        np.testing.assert_array_equal(values(tmp_path / "y.dcm"), 4095 - FILM if dark else FILM)


def test_raw_counts_become_line_integrals(tmp_path: Path) -> None:
    """A wedge of 0 to 4 attenuation lengths in front of 3,000 counts, a tenth of the film in the open beam."""
    wedge = np.tile(np.clip((COLUMN - 6) / 12.0, 0.0, None), (1, 1))
    counts = np.round(3000 * np.exp(-wedge)).astype(np.uint16)
    dataset = film(tmp_path / "x.dcm", counts, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
    dataset.save_as(tmp_path / "y.dcm")
    loaded = load_radiographs({"ap": tmp_path / "y.dcm"}, sod_mm=1000.0)
    view = loaded.views["ap"]
    assert view.values == "counts" and view.radiograph.scaled
    assert any("open beam that it shows" in note for note in view.notes)
    # within one count at its darkest, 3000 exp(-4.08) = 51 counts
    np.testing.assert_allclose(view.radiograph.line_integrals, wedge, atol=0.011)


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boneray.io.dicom.MOST_INFLATED", 1_000_000)
    dataset = film(tmp_path / "x.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091001, "OB", b"\0" * 4_000_000)
    dataset.save_as(tmp_path / "y.dcm")
    assert (tmp_path / "y.dcm").stat().st_size < 20_000
    with pytest.raises(InputError, match="unpacks to more than 1 MB"):
        read_dicom(tmp_path / "y.dcm")
    assert zlib.compressobj  # the file is small because it is deflated


@pytest.mark.data
def test_real_films_are_read_rightly(test_data: Path) -> None:
    folder = test_data / "xray_dicom"
    chest, hip = folder / "RG1_J2KI.dcm", folder / "RG2_J2KR.dcm"
    with pytest.raises(InputError, match="it says 0, which is unknown"):
        load_radiographs({"ap": chest})
    with pytest.raises(InputError, match=r"lacks Distance Source to Detector \(0018,1110\)"):
        load_radiographs({"ap": hip})
    view = load_radiographs({"ap": chest}, pixel_mm=0.2, whole=True).views["ap"]
    stored = pydicom.dcmread(chest).pixel_array.astype(float)
    # MONOCHROME1, 15 bits, a PA film hung as if facing the patient: turned over in grey and in columns
    np.testing.assert_allclose(view.radiograph.line_integrals, (32767 - stored)[:, ::-1])
    assert view.radiograph.camera.source_detector_mm == 1996.0
    assert view.facts.body_part == "CHEST" and view.facts.view_position == "PA"
    assert any("1846 mm from the source" in note for note in view.notes)  # 1996 - 150: assumed and said
    lung, heart = view.radiograph.line_integrals[900, 500], view.radiograph.line_integrals[1400, 800]
    assert heart > lung  # the heart attenuates more than a lung
    view = load_radiographs({"ap": hip}, sdd_mm=1150.0, whole=True).views["ap"]
    assert view.radiograph.camera.pixel_mm == (0.2, 0.2)
    assert view.radiograph.camera.detector_shape == (2140, 1760)
