"""Radiographs in DICOM: the geometry of CR, DX, RF and XA files, and their pictures.

What a file says of its geometry (PS3.3 C.8.7.5, C.8.11.5): the distances from the source to the
detector (0018,1110) and to the patient, that is the isocentre (0018,1111); the pixel pitch on the
detector (0018,1164); where the detector stands about the patient (0018,1510 and 1511, see
`boneray.core.views`) or, without a C-arm, the view's name (0018,5101); how the beam leans on the
detector (0018,1530 and 1531); and which way rows and columns run in the patient (0020,0020). It does
not say where the isocentre lies in the patient: that is the caller's `centre_mm`.

Pictures are shown as if the viewer faced the patient, also where the source was behind: a PA
radiograph is stored mirrored against what the source sees. A camera has no mirror, so the picture
is flipped (or turned by quarters) until it fits.

What it lacks can be given, and where `Given.assume` allows it a typical value is taken and said.
Grey values are the matter of `boneray.io.dicom_pixels`. A file written by boneray brings its exact
camera as JSON in the private element (0019,1001) of creator BONERAY (`boneray.io.dicom_writing`).
"""

from __future__ import annotations

import json
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian

from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import BonerayError, GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.views import orbit_from_positioner, view_angles
from boneray.io.cameras import fitted
from boneray.io.dicom_pixels import C_ARMS, number, read_grey
from boneray.io.files import require_file
from boneray.io.images import MOST_BYTES

MODALITIES = ("CR", "DX", "RF", "XA", "RG")
VIEW_POSITIONS = {"AP": "ap", "PA": "pa", "LL": "llat", "RL": "rlat"}
LETTERS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
# Where a file does not say how far the body is from the detector: half a trunk, and the gap of a grid.
BODY_BEFORE_DETECTOR_MM = 150.0
MOST_INFLATED = 2 * MOST_BYTES
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
        camera: of the picture as it is stored; everything else is then not looked at.
        fallback_view: the view where the file does not say.
        assume: where the file does not say how far the body is from the source, take
            BODY_BEFORE_DETECTOR_MM in front of the detector, and say so.
    """

    view: str | None = None
    source_detector_mm: float | None = None
    source_object_mm: float | None = None
    pixel_mm: tuple[float, float] | None = None
    centre_mm: tuple[float, float, float] | None = None
    camera: Camera | None = None
    fallback_view: str | None = None
    assume: bool = False

    @property
    def overrides(self) -> bool:
        """Whether the caller knows something better than the file."""
        return replace(self, fallback_view=None, assume=False) != Given()


@dataclass(frozen=True)
class DicomFacts:
    """What a file says besides picture and geometry; empty where it does not.

    Attributes:
        modality: CR, DX, RF or XA.
        body_part: (0018,0015), upper case.
        laterality: left, right or both.
        view_position: (0018,5101).
        states_angle: whether the file itself says from where it was taken.
        kvp: tube voltage; None where unknown.
        exact_camera: whether the camera is the one that boneray wrote.
    """

    modality: str = ""
    body_part: str = ""
    laterality: str = ""
    view_position: str = ""
    states_angle: bool = False
    kvp: float | None = None
    exact_camera: bool = False


@dataclass(frozen=True)
class DicomRadiograph:
    """What a file holds: the radiograph, whose it is, and what had to be assumed to read it.

    `dark_value` is as in `boneray.io.dicom_pixels.Grey`.
    """

    radiograph: Radiograph
    patient_id: str
    patient_name: str
    notes: tuple[str, ...]
    facts: DicomFacts = field(default_factory=DicomFacts)
    dark_value: float | None = None


def read_dicom(path: Path, given: Given = Given()) -> DicomRadiograph:
    """The radiograph in a CR, DX, RF or XA file, bone bright, the picture as the source sees it.

    Raises:
        InputError: no DICOM, no radiograph, compressed, several frames, or a part of the geometry is
            missing and not given.
        GeometryError: the geometry contradicts itself.
    """
    with _damage_named(path):
        dataset = _dataset(path, "radiograph", pixels=True)
        camera, layout, notes = _camera(dataset, path, given)
        grey = read_grey(dataset, path)
        own = given.camera is None and not given.overrides and _own_camera(dataset, path) is not None
        facts = replace(_facts(dataset), exact_camera=own)
        patient = str(dataset.get("PatientID", "")), str(dataset.get("PatientName", ""))
    values = np.ascontiguousarray(_laid_out(grey.values, layout) * np.float32(grey.scale or 1.0), dtype=np.float32)
    radiograph = Radiograph(values, camera, scaled=grey.scale is not None)
    return DicomRadiograph(radiograph, *patient, notes + grey.notes, facts, grey.dark_value)


def read_dicom_camera(path: Path, given: Given = Given()) -> tuple[Camera, tuple[str, ...]]:
    """The camera of a radiograph and what had to be assumed; the picture itself is not read.

    Errors as `read_dicom`; a picture that cannot be unpacked is no hindrance.
    """
    with _damage_named(path):
        camera, _, notes = _camera(_dataset(path, "radiograph", pixels=False), path, given)
    return camera, notes


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM: DICM after 128 bytes, or begins with group 0002 or 0008 as old ones do."""
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start[:4] in (b"\x02\x00\x00\x00", b"\x08\x00\x00\x00", b"\x08\x00\x05\x00")


# ---- reading: geometry -------------------------------------------------------------------------------------


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What a parser stumbles over in a damaged file becomes one line; elements are parsed when first asked for."""
    log = logging.getLogger("pydicom")
    level = log.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file that pydicom can still read is read
            log.setLevel(logging.CRITICAL)  # it logs tracebacks of decoders that we report in a line
            yield
    except (BonerayError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # there is no list of what a stranger's bytes can raise
        text = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"radiograph {path} is a damaged DICOM file: {text}") from None
    finally:
        log.setLevel(level)


def _dataset(path: Path, what: str, *, pixels: bool) -> FileDataset:
    """The file, if it is one frame of a radiograph."""
    require_file(path, what)
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{what} {path} is larger than {MOST_BYTES / 1e6:.0f} MB, too large for one radiograph")
    try:
        _require_inflatable(path)
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=is_dicom(path))
    except InvalidDicomError:
        raise InputError(f"{what} {path} is not a DICOM file") from None
    modality = str(dataset.get("Modality", ""))
    if modality not in MODALITIES:
        raise InputError(f"{what} {path} has modality '{modality}'; radiographs are {', '.join(MODALITIES)}")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise InputError(f"{what} {path} holds {dataset.NumberOfFrames} frames; extract the one you need")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{what} {path} is in colour; a grey picture is needed")
    if not dataset.get("Rows") or not dataset.get("Columns") or (pixels and "PixelData" not in dataset):
        raise InputError(f"{what} {path} holds no picture")
    return dataset


def _require_inflatable(path: Path) -> None:
    """Raise InputError if a deflated file would grow beyond all measure; pydicom inflates it in one go."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return
    if read_file_meta_info(path).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    raw, inflate, size = BytesIO(path.read_bytes()), zlib.decompressobj(-zlib.MAX_WBITS), 0
    raw.seek(132 + 12 + int(read_file_meta_info(path).FileMetaInformationGroupLength))
    while chunk := inflate.unconsumed_tail or raw.read(1 << 16):
        size += len(inflate.decompress(chunk, 1 << 20))
        if size > MOST_INFLATED:
            raise InputError(f"radiograph {path} unpacks to more than {MOST_INFLATED / 1e6:.0f} MB; it is refused")
        if inflate.eof:
            break


def _facts(dataset: Dataset) -> DicomFacts:
    side = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "").strip().upper()
    position = str(dataset.get("ViewPosition") or "")
    primary = number(dataset, "PositionerPrimaryAngle")
    return DicomFacts(
        modality=str(dataset.get("Modality", "")),
        body_part=str(dataset.get("BodyPartExamined") or "").strip().upper(),
        laterality={"L": "left", "R": "right", "B": "both"}.get(side, ""),
        view_position=position,
        states_angle=primary is not None or position in VIEW_POSITIONS,
        kvp=number(dataset, "KVP"),
    )


def _camera(dataset: Dataset, path: Path, given: Given) -> tuple[Camera, tuple[int, bool], tuple[str, ...]]:
    """Camera, how the stored picture must be laid out for it, and notes."""
    if given.camera is not None:
        return fitted(given.camera, (int(dataset.Rows), int(dataset.Columns)), path), (0, False), ()
    own = _own_camera(dataset, path)
    if own is not None and not given.overrides:
        return own, (0, False), ()
    notes: list[str] = []
    angle, cranial = _angles(dataset, path, given, notes)
    camera_at = _distances(dataset, path, given, notes)
    pitch = _pitch(dataset, path, given, notes)
    shape = int(dataset.Rows), int(dataset.Columns)
    tilt = (number(dataset, "DetectorPrimaryAngle") or 0.0, number(dataset, "DetectorSecondaryAngle") or 0.0)
    if number(dataset, "ColumnAngulation"):
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
    primary, secondary = (number(dataset, f"Positioner{which}Angle") for which in ("Primary", "Secondary"))
    positioner, position = str(dataset.get("PositionerType") or ""), str(dataset.get("ViewPosition") or "")
    is_c_arm = positioner == "CARM" or (not positioner and str(dataset.Modality) in C_ARMS)
    if primary is not None and (is_c_arm or (position not in VIEW_POSITIONS and positioner != "MAMMOGRAPHIC")):
        if not is_c_arm:
            notes.append("positioner angles are taken as a C-arm's, though the file does not say CARM")
        return orbit_from_positioner(primary, secondary or 0.0)
    if position in VIEW_POSITIONS:
        return view_angles(VIEW_POSITIONS[position])
    if given.fallback_view is not None:
        notes.append(f"the file does not say from where it was taken; it is taken as {given.fallback_view}")
        return view_angles(given.fallback_view)
    raise InputError(
        f"radiograph {path} does not say from where it was taken: Positioner Primary Angle (0018,1510) is missing and "
        f"View Position (0018,5101) is '{position}'; give view (ap, lat, lao30cra20 ...)"
    )


def _distances(dataset: Dataset, path: Path, given: Given, notes: list[str]) -> tuple[float, float]:
    """(source to isocentre, source to detector) mm."""
    detector = given.source_detector_mm or number(dataset, "DistanceSourceToDetector")
    if not detector:
        raise InputError(
            f"radiograph {path} lacks Distance Source to Detector (0018,1110); give source_detector_mm "
            "(--sdd-mm), often 1000 to 2000"
        )
    patient = given.source_object_mm or number(dataset, "DistanceSourceToPatient")
    magnification = number(dataset, "EstimatedRadiographicMagnificationFactor")
    if not patient and magnification:
        patient = detector / magnification
    if not patient and given.assume and detector > 2 * BODY_BEFORE_DETECTOR_MM:
        patient = detector - BODY_BEFORE_DETECTOR_MM
        notes.append(
            f"Distance Source to Patient (0018,1111) is missing; the bone is taken to lie {BODY_BEFORE_DETECTOR_MM:g} "
            f"mm in front of the detector, {patient:g} mm from the source: 10 mm there change its size by "
            f"{1000 / patient:.1f} %"
        )
    if not patient:
        raise InputError(
            f"radiograph {path} lacks Distance Source to Patient (0018,1111); give source_object_mm (--sod-mm), from "
            f"the source to the middle of the body (less than the {detector:g} mm to the detector)"
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
    zero = any(_is_zero(dataset.get(keyword)) for keyword in ("ImagerPixelSpacing", "PixelSpacing"))
    raise InputError(
        f"radiograph {path} lacks Imager Pixel Spacing (0018,1164){' (it says 0, which is unknown)' if zero else ''}; "
        "give pixel_mm (--pixel-mm), the (row, column) pitch on the detector"
    )


def _is_zero(values: object) -> bool:
    return isinstance(values, MultiValue | list) and any(float(value) == 0 for value in values)


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
