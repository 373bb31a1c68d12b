"""Radiographs as DICOM, out: Digital X-Ray Images for presentation that say how they were projected.

Besides the standard's elements there are two of our own making: the scale from grey to line integral
as a real world value mapping (0040,9096), unit 1, because DX wants the ordinary rescale to be 1 and
0; and the exact camera as JSON in the private element (0019,1001) of creator BONERAY, because the
public elements know no frame of the world, offset or roll. Where a program strips private elements,
the public ones remain. `boneray.io.dicom` reads both.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from boneray.core.camera import Camera, orbit_angles
from boneray.core.errors import GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.views import positioner_from_orbit, same_view, view_angles
from boneray.io.dicom import PRIVATE_CAMERA, PRIVATE_CREATOR, PRIVATE_GROUP, VIEW_POSITIONS
from boneray.io.files import write_atomic
from boneray.io.images import LEVELS


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
