"""Radiographs in DICOM: CR, DX, RF and XA in, DX out.

What a file says of its geometry (PS3.3 C.8.7.5, C.8.11.5): the distances from the source to the
detector (0018,1110) and to the patient, that is the isocentre (0018,1111); the pixel pitch on the
detector (0018,1164); where the detector stands about the patient (0018,1510 and 1511, see
`boneray.core.views`) or, without a C-arm, the view's name (0018,5101); how the beam leans on the
detector (0018,1530 and 1531); and which way rows and columns run in the patient (0020,0020). It does
not say where the isocentre lies in the patient: that is the caller's `centre_mm`.

Pictures are shown as if the viewer faced the patient, also where the source was behind: a PA
radiograph is stored mirrored against what the source sees. A camera has no mirror, so the picture
is flipped (or turned by quarters) until it fits.

Grey values become bone bright. (0028,1041) settles which end that is; without it CR and DX are
bright as shown (MONOCHROME1 is inverted) and XA and RF grow with the beam's intensity, so that bone
is dark in them. Read pictures have no scale to line integrals unless the file brings one.

What boneray writes besides: the scale from grey to line integral as a real world value mapping
(0040,9096), unit 1, because DX wants the ordinary rescale to be 1 and 0; and the exact camera as
JSON in the private element (0019,1001) of creator BONERAY, because the public elements know no
frame of the world, offset or roll. Where a program strips private elements, the public ones remain.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from boneray.core.camera import Camera, orbit_angles, orbit_camera
from boneray.core.errors import GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.views import orbit_from_positioner, positioner_from_orbit, same_view, view_angles
from boneray.io.files import require_file, write_atomic
from boneray.io.images import LEVELS

MODALITIES = ("CR", "DX", "RF", "XA", "RG")
C_ARMS = ("RF", "XA")
VIEW_POSITIONS = {"AP": "ap", "PA": "pa", "LL": "llat", "RL": "rlat"}
LETTERS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
PRIVATE_GROUP, PRIVATE_CREATOR, PRIVATE_CAMERA = 0x0019, "BONERAY", 0x01


@dataclass(frozen=True)
class Given:
    """Geometry the caller knows better than the file, or that the file lacks; None leaves it to the file.

    Attributes:
        view: a name of `boneray.core.views`.
        source_detector_mm: along the central beam.
        source_object_mm: from the source to the isocentre.
        pixel_mm: (row, column) pitch on the detector.
        centre_mm: where the isocentre lies in the world, (3,).
    """

    view: str | None = None
    source_detector_mm: float | None = None
    source_object_mm: float | None = None
    pixel_mm: tuple[float, float] | None = None
    centre_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class DicomRadiograph:
    """What a file holds: the radiograph, whose it is, and what had to be assumed to read it."""

    radiograph: Radiograph
    patient_id: str
    patient_name: str
    notes: tuple[str, ...]


def read_dicom(path: Path, given: Given = Given()) -> DicomRadiograph:
    """The radiograph in a CR, DX, RF or XA file, bone bright, the picture as the source sees it.

    Raises:
        InputError: no DICOM, no radiograph, compressed, several frames, or a part of the geometry is
            missing and not given.
        GeometryError: the geometry contradicts itself.
    """
    dataset = _dataset(path, "radiograph", pixels=True)
    camera, layout, notes = _camera(dataset, path, given)
    grey = _grey(dataset, path)
    scale = _line_integral_per_grey(dataset)
    bright, polarity_note = _bone_bright(dataset, grey)
    notes += polarity_note
    values = _laid_out(bright, layout) * np.float32(scale or 1.0)
    radiograph = Radiograph(np.ascontiguousarray(values, dtype=np.float32), camera, scaled=scale is not None)
    return DicomRadiograph(radiograph, str(dataset.get("PatientID", "")), str(dataset.get("PatientName", "")), notes)


def read_dicom_camera(path: Path, given: Given = Given()) -> tuple[Camera, tuple[str, ...]]:
    """The camera of a radiograph and what had to be assumed; the picture itself is not read.

    Errors as `read_dicom`; a compressed picture is no hindrance.
    """
    camera, _, notes = _camera(_dataset(path, "radiograph", pixels=False), path, given)
    return camera, notes


def write_dicom(
    path: Path,
    radiograph: Radiograph,
    *,
    patient_id: str,
    patient_name: str,
    centre_mm: ArrayLike = (0.0, 0.0, 0.0),
    study: str = "",
    number: int = 1,
) -> Path:
    """Write a synthetic radiograph as Digital X-Ray Image for presentation, 16 bit, uncompressed.

    `centre_mm` is the isocentre: distances and angles are stated about it. All files of one patient
    and `study` share their study and series; the same content gives the same bytes.

    Raises:
        GeometryError: the isocentre does not lie between source and detector.
    """
    if not np.all(np.isfinite(radiograph.line_integrals)):
        raise InputError("the radiograph holds pixels that are not numbers; it cannot be written as DICOM")
    top = float(np.max(radiograph.line_integrals, initial=0.0))
    scale = top / LEVELS if top > 0 else 1.0
    grey = np.clip(np.round(radiograph.line_integrals / scale), 0, LEVELS).astype("<u2")
    camera = radiograph.camera
    words = json.dumps(camera.to_dict())
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "PRIMARY", ""]
    dataset.SyntheticData = "YES"
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = _uid("instance", patient_id, study, number, words, repr(scale), grey.tobytes())
    dataset.StudyInstanceUID = _uid("study", patient_id, study)
    dataset.SeriesInstanceUID = _uid("series", patient_id, study)
    for keyword in ("StudyDate", "StudyTime", "ContentDate", "ContentTime", "AccessionNumber"):
        setattr(dataset, keyword, "")
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = ""
    dataset.StudyDescription = study[:64]
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Manufacturer = "boneray"
    dataset.SeriesDescription = "Synthetic radiograph, not of an exposure"
    dataset.DerivationDescription = "synthetic: line integrals through a volume, not an exposure of a patient"
    dataset.PatientName = patient_name
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = number
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = Sequence()
    dataset.AcquisitionContextSequence = Sequence()
    _describe_pixels(dataset, grey)
    if radiograph.scaled:
        dataset.RealWorldValueMappingSequence = Sequence([_mapping(scale)])
    _describe_camera(dataset, camera, np.asarray(centre_mm, dtype=float))
    block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(PRIVATE_CAMERA, "UT", words)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation"))
    meta.ImplementationVersionName = "BONERAY"
    dataset.file_meta = meta
    return write_atomic(path, lambda file: dataset.save_as(file, enforce_file_format=True))


# ---- reading: geometry -------------------------------------------------------------------------------------


def _dataset(path: Path, what: str, *, pixels: bool) -> FileDataset:
    """The file, if it is one frame of a radiograph."""
    require_file(path, what)
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except InvalidDicomError:
        raise InputError(f"{what} {path} is not a DICOM file") from None
    except (OSError, EOFError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
        raise InputError(f"{what} {path} is a damaged DICOM file: {str(error).splitlines()[0][:120]}") from None
    modality = str(dataset.get("Modality", ""))
    if modality not in MODALITIES:
        raise InputError(f"{what} {path} has modality '{modality}'; radiographs are {', '.join(MODALITIES)}")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise InputError(f"{what} {path} holds {dataset.NumberOfFrames} frames; extract the one you need")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{what} {path} is in colour; a grey picture is needed")
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise InputError(f"{what} {path} holds no picture")
    return dataset


def _camera(dataset: Dataset, path: Path, given: Given) -> tuple[Camera, tuple[int, bool], tuple[str, ...]]:
    """Camera, how the stored picture must be laid out for it, and notes."""
    own = _own_camera(dataset, path)
    if own is not None and given == Given():
        return own, (0, False), ()
    notes: list[str] = []
    angle, cranial = _angles(dataset, path, given, notes)
    camera_at = _distances(dataset, path, given)
    pitch = _pitch(dataset, path, given, notes)
    shape = int(dataset.Rows), int(dataset.Columns)
    tilt = (_number(dataset, "DetectorPrimaryAngle") or 0.0, _number(dataset, "DetectorSecondaryAngle") or 0.0)
    if _number(dataset, "ColumnAngulation"):
        notes.append(f"column angulation (0018,1450) of {dataset.ColumnAngulation} degrees is not applied")
    straight = orbit_camera(angle, cranial_deg=cranial)
    layout = _layout(dataset, straight, notes)
    if layout[0] % 2:
        shape, pitch = shape[::-1], (pitch[1], pitch[0])
    if any(tilt) and layout != (0, False):
        tilt = _turned_tilt(tilt, layout)
    camera = orbit_camera(
        angle,
        cranial_deg=cranial,
        detector_tilt_deg=tilt,
        centre_mm=given.centre_mm or (0.0, 0.0, 0.0),
        detector_shape=shape,
        detector_mm=(shape[0] * pitch[0], shape[1] * pitch[1]),
        source_object_mm=camera_at[0],
        source_detector_mm=camera_at[1],
    )
    return camera, layout, tuple(notes)


def _own_camera(dataset: Dataset, path: Path) -> Camera | None:
    """The exact camera boneray has written; None if there is none or it is not of this picture."""
    try:
        text = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)[PRIVATE_CAMERA].value
    except KeyError:
        return None
    try:
        camera = Camera.from_dict(json.loads(text))
    except (ValueError, TypeError, GeometryError) as error:
        raise InputError(f"radiograph {path}: its private camera is damaged ({str(error)[:80]})") from None
    return camera if camera.detector_shape == (int(dataset.Rows), int(dataset.Columns)) else None


def _angles(dataset: Dataset, path: Path, given: Given, notes: list[str]) -> tuple[float, float]:
    """Orbit angles: what is given, the C-arm's position, or the view's name."""
    if given.view is not None:
        return view_angles(given.view)
    primary, secondary = (_number(dataset, f"Positioner{which}Angle") for which in ("Primary", "Secondary"))
    positioner, position = str(dataset.get("PositionerType") or ""), str(dataset.get("ViewPosition") or "")
    is_c_arm = positioner == "CARM" or (not positioner and str(dataset.Modality) in C_ARMS)
    if primary is not None and (is_c_arm or (position not in VIEW_POSITIONS and positioner != "MAMMOGRAPHIC")):
        if not is_c_arm:
            notes.append("positioner angles are taken as a C-arm's, though the file does not say CARM")
        return orbit_from_positioner(primary, secondary or 0.0)
    if position in VIEW_POSITIONS:
        return view_angles(VIEW_POSITIONS[position])
    raise InputError(
        f"radiograph {path} does not say from where it was taken: Positioner Primary Angle (0018,1510) is missing and "
        f"View Position (0018,5101) is '{position}'; give view (ap, lat, lao30cra20 ...)"
    )


def _distances(dataset: Dataset, path: Path, given: Given) -> tuple[float, float]:
    """(source to isocentre, source to detector) mm."""
    detector = given.source_detector_mm or _number(dataset, "DistanceSourceToDetector")
    if not detector:
        raise InputError(
            f"radiograph {path} lacks Distance Source to Detector (0018,1110); give source_detector_mm "
            "(often 1000 to 2000)"
        )
    patient = given.source_object_mm or _number(dataset, "DistanceSourceToPatient")
    magnification = _number(dataset, "EstimatedRadiographicMagnificationFactor")
    if not patient and magnification:
        patient = detector / magnification
    if not patient:
        raise InputError(
            f"radiograph {path} lacks Distance Source to Patient (0018,1111); give source_object_mm, from the source "
            f"to the middle of the body (less than the {detector:g} mm to the detector)"
        )
    if not 0 < patient < detector:
        raise GeometryError(
            f"radiograph {path}: the patient, {patient:g} mm from the source, is not in front of the detector at "
            f"{detector:g} mm; give source_object_mm and source_detector_mm"
        )
    return patient, detector


def _pitch(dataset: Dataset, path: Path, given: Given, notes: list[str]) -> tuple[float, float]:
    """(row, column) pixel pitch on the detector, mm."""
    if given.pixel_mm is not None:
        return given.pixel_mm
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        values = dataset.get(keyword)
        if values is None or isinstance(values, str | float) or len(values) != 2 or min(map(float, values)) <= 0:
            continue
        if keyword == "PixelSpacing":
            if dataset.get("PixelSpacingCalibrationType"):
                continue  # corrected for magnification: a pitch in the body, not on the detector
            notes.append("Imager Pixel Spacing is missing; Pixel Spacing (0028,0030) is taken as the detector's pitch")
        return float(values[0]), float(values[1])
    raise InputError(
        f"radiograph {path} lacks Imager Pixel Spacing (0018,1164); give pixel_mm, the (row, column) pitch on the "
        "detector"
    )


def _layout(dataset: Dataset, camera: Camera, notes: list[str]) -> tuple[int, bool]:
    """(quarter turns, then mirror columns) that bring the stored picture to what the source sees.

    From Patient Orientation where there is one. Otherwise a picture is taken to be upright and
    shown as the viewer who faces the patient sees it, C-arm pictures as from the detector.
    """
    stated = dataset.get("PatientOrientation")
    sides = [str(side) for side in stated] if stated and not isinstance(stated, str) else []
    axes = [_direction(side) for side in sides if side and set(side) <= set(LETTERS)]
    if len(axes) == 2:
        fits = {}
        for turns in range(4):
            for mirror in (False, True):
                x, y = _laid_out_axes(axes[0], axes[1], (turns, mirror))
                fits[turns, mirror] = float(x @ camera.pose[:3, 0] + y @ camera.pose[:3, 1])
        best = max(fits, key=lambda layout: fits[layout])
        if fits[best] >= 1.2:  # 2 is a perfect fit, 1 has only one of the two axes
            return best
        notes.append(f"Patient Orientation {'/'.join(sides)} does not fit the view and is not used")
    else:
        notes.append("Patient Orientation (0020,0020) is missing")
    mirror = bool(camera.central_ray[1] > 1e-9) or str(dataset.Modality) in C_ARMS  # the beam goes to the front
    side = "detector" if mirror else "source"
    notes.append(f"the picture is taken as upright and seen from the {side}'s side")
    return 0, mirror


def _direction(side: str) -> NDArray[np.float64]:
    """Unit world direction of a Patient Orientation such as LA: the first letter counts most."""
    direction = sum((np.array(LETTERS[letter]) / 2**i for i, letter in enumerate(side)), np.zeros(3))
    return np.asarray(direction / np.linalg.norm(direction))


def _laid_out_axes(column: NDArray, row: NDArray, layout: tuple[int, bool]) -> tuple[NDArray, NDArray]:
    """World directions of columns and rows after `_laid_out` has been done to the picture."""
    turns, mirror = layout
    for _ in range(turns):
        column, row = row, -column  # np.rot90 turns counter-clockwise: what pointed down now points right
    return (-column if mirror else column), row


def _laid_out(picture: NDArray, layout: tuple[int, bool]) -> NDArray:
    turns, mirror = layout
    turned = np.rot90(picture, turns)
    return turned[:, ::-1] if mirror else turned


def _turned_tilt(tilt: tuple[float, float], layout: tuple[int, bool]) -> tuple[float, float]:
    """Detector angles of the laid-out picture: the beam leans to (columns, -rows) of the stored one."""
    primary, secondary = np.deg2rad(tilt)
    lean = np.array([np.sin(primary) * np.cos(secondary), -np.sin(secondary)])
    x, y = _laid_out_axes(np.array([1.0, 0.0]), np.array([0.0, 1.0]), layout)
    right, down = lean @ x, lean @ y
    normal = np.cos(primary) * np.cos(secondary)
    return float(np.rad2deg(np.arctan2(right, normal))), float(np.rad2deg(np.arcsin(-down)))


def _number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number, or None where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


# ---- reading: grey -----------------------------------------------------------------------------------------


def _grey(dataset: FileDataset, path: Path) -> NDArray[np.float32]:
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax.is_compressed:
        raise InputError(
            f"radiograph {path} is compressed ({syntax.name}); decompress it first, for example with gdcmconv --raw"
        )
    try:
        grey = np.asarray(dataset.pixel_array, dtype=np.float32)
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        raise InputError(f"radiograph {path} has damaged pixels: {str(error).splitlines()[0][:120]}") from None
    if grey.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"radiograph {path} has pixels of shape {grey.shape}; {dataset.Rows, dataset.Columns} are due")
    return grey


def _bone_bright(dataset: Dataset, grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The picture with more attenuation at higher values, from 0 on, and a note if that was a guess."""
    sign = _number(dataset, "PixelIntensityRelationshipSign")
    notes: tuple[str, ...] = ()
    if sign:
        dark = sign > 0  # higher values where the beam is stronger
    elif str(dataset.Modality) in C_ARMS:
        dark = True
        notes = ("polarity is not stated; an XA or RF picture is taken to grow with the beam's intensity",)
    else:
        dark = str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    low, high = _stored_range(dataset)
    return (high - grey if dark else grey - low).astype(np.float32), notes


def _stored_range(dataset: Dataset) -> tuple[float, float]:
    bits = int(dataset.get("BitsStored") or 16)
    signed = bool(dataset.get("PixelRepresentation"))
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)


def _line_integral_per_grey(dataset: Dataset) -> float | None:
    """The scale boneray wrote: a real world value mapping without unit and offset."""
    for item in dataset.get("RealWorldValueMappingSequence") or ():
        units = item.get("MeasurementUnitsCodeSequence") or ()
        slope, intercept = _number(item, "RealWorldValueSlope"), _number(item, "RealWorldValueIntercept")
        if slope and slope > 0 and intercept == 0 and units and units[0].get("CodeValue") == "1":
            return slope
    return None


# ---- writing -----------------------------------------------------------------------------------------------


def _describe_pixels(dataset: Dataset, grey: NDArray[np.uint16]) -> None:
    """DX Image, Image Pixel and VOI modules: higher is denser, linear in the line integral."""
    dataset.Rows, dataset.Columns = grey.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"  # of the beam's intensity: its negative logarithm is the line integral
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.WindowCenter = "32768"
    dataset.WindowWidth = "65536"
    dataset.PixelData = grey.tobytes()


def _describe_camera(dataset: Dataset, camera: Camera, centre_mm: NDArray[np.float64]) -> None:
    """DX Detector and DX Positioning modules, and Patient Orientation."""
    dataset.DetectorType = ""
    dataset.ImagerPixelSpacing = [_ds(pitch) for pitch in camera.pixel_mm]
    dataset.PositionerType = "CARM"
    dataset.PatientOrientation = [_letters(camera.pose[:3, 0]), _letters(camera.pose[:3, 1])]
    beam = camera.central_ray
    if camera.kind == "perspective":
        beam = centre_mm - camera.source_mm
        object_mm = float(np.linalg.norm(beam))
        local = camera.pose[:3, :3].T @ beam / max(object_mm, 1e-9)
        detector_mm = camera.source_detector_mm / local[2] if local[2] > 1e-6 else 0.0
        if not 0 < object_mm <= detector_mm:
            raise GeometryError(
                f"isocentre {np.round(centre_mm, 1).tolist()} mm does not lie between source and detector; "
                "give centre_mm"
            )
        dataset.DistanceSourceToPatient = _ds(object_mm)
        dataset.DistanceSourceToDetector = _ds(detector_mm)
        dataset.EstimatedRadiographicMagnificationFactor = _ds(detector_mm / object_mm)
        dataset.DetectorPrimaryAngle = _ds(np.rad2deg(np.arctan2(local[0], local[2])))
        dataset.DetectorSecondaryAngle = _ds(np.rad2deg(np.arcsin(np.clip(-local[1], -1, 1))))
    angle, cranial = orbit_angles(beam)
    primary, secondary = positioner_from_orbit(angle, cranial)
    dataset.PositionerPrimaryAngle = _ds(primary)
    dataset.PositionerSecondaryAngle = _ds(secondary)
    for position, name in VIEW_POSITIONS.items():
        if same_view((angle, cranial), view_angles(name)):
            dataset.ViewPosition = position


def _mapping(scale: float) -> Dataset:
    """The real world value mapping from grey to line integral (no unit)."""
    item, unit = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    item.add_new(0x00409216, "US", 0)  # first value mapped
    item.add_new(0x00409211, "US", LEVELS)  # last value mapped
    item.RealWorldValueIntercept = 0.0
    item.RealWorldValueSlope = scale
    item.LUTExplanation = "line integral of linear attenuation"
    item.LUTLabel = "LINEINTEGRAL"
    item.MeasurementUnitsCodeSequence = Sequence([unit])
    return item


def _letters(direction: NDArray[np.float64]) -> str:
    """Patient Orientation of a world direction: up to three letters, the strongest first (0.1 or more)."""
    parts = [(abs(d), pair[0] if d > 0 else pair[1]) for d, pair in zip(direction, ("RL", "AP", "HF"), strict=True)]
    return "".join(letter for size, letter in sorted(parts, reverse=True) if size >= 0.1)


def _ds(value: Any) -> str:
    """A number as DICOM's decimal string, 16 characters at most; negative zero is zero."""
    return format_number_as_ds(float(value) + 0.0)


def _uid(*parts: object) -> str:
    """A UID that depends on `parts` alone, below the root for UUIDs (2.25)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\x1f")
    return f"2.25.{uuid.UUID(bytes=digest.digest()[:16], version=5).int}"
