"""Bones as DICOM: a segmentation (DICOM-SEG) on a carrier series, and each surface as encapsulated STL.

A segmentation must refer to images. Radiographs have no slices, so a carrier series is written: CT slices on the grid
of the labels, marked derived and synthetic, 1000 in bone and 0 elsewhere. Everything shares one frame of reference.
The patient is known by the case's id alone.

The segmentation is written with highdicom (extra `dicom`); the rest needs pydicom only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, EncapsulatedSTLStorage, ExplicitVRLittleEndian

from boneray.core.bones import bone_colour, bone_name
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.purpose import RESEARCH_USE
from boneray.core.volume import LabelMap
from boneray.io.dicom_writing import _ds, _uid
from boneray.io.files import write_atomic
from boneray.io.meshes import HEADER, stl_bytes

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
IN_BONE = 1000


def write_dicom_objects(
    folder: Path, labels: LabelMap, meshes: Mapping[str, Mesh], *, case_id: str, model: str, version: str
) -> list[Path]:
    """Write carrier/*.dcm, segmentation.dcm and stl/*.dcm below `folder`; returns their paths.

    Raises:
        ConfigError: highdicom is not installed.
        DataError: the label map is empty.
    """
    if find_spec("highdicom") is None:
        raise ConfigError("DICOM-SEG needs highdicom; install it with: pip install 'boneray[dicom]'")
    if not labels.ids:
        raise DataError("the label map holds no bone; there is nothing to write as DICOM")
    carrier = carrier_series(labels, case_id)
    paths = []
    for number, dataset in enumerate(carrier, start=1):
        paths.append(_save(folder / "carrier" / f"{number:04d}.dcm", dataset))
    paths.append(_save(folder / "segmentation.dcm", segmentation(labels, carrier, model=model, version=version)))
    for number, (name, mesh) in enumerate(meshes.items(), start=1):
        paths.append(_save(folder / "stl" / f"{name}.dcm", encapsulated_stl(mesh, name, case_id, number)))
    return paths


def carrier_series(labels: LabelMap, case_id: str) -> list[Dataset]:
    """One derived CT slice per plane k of the grid."""
    planes = np.ascontiguousarray(labels.data.transpose(2, 1, 0))
    return [_slice(plane, k, labels.grid, case_id) for k, plane in enumerate(planes)]


def segmentation(labels: LabelMap, carrier: list[Dataset], *, model: str, version: str) -> Dataset:
    """A binary segmentation with one segment per bone on the carrier series."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.seg.enum import SegmentAlgorithmTypeValues, SegmentationTypeValues
    from pydicom.sr.codedict import codes

    case_id = str(carrier[0].PatientID)
    family = codes.DCM.ArtificialIntelligence
    algorithm = AlgorithmIdentificationSequence(name=model, version=version, family=family)
    described = []
    for number, bone_id in enumerate(labels.ids, start=1):
        name = bone_name(bone_id)
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=codes.SCT.Bone,
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_id=f"{case_id} {name}",
                tracking_uid=_uid("segment", case_id, name),
                display_color=CIELabColor.from_rgb(*bone_colour(name)),
            )
        )
    numbered = np.searchsorted(np.array([0, *labels.ids]), labels.data).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Segmentation(
            source_images=carrier,
            pixel_array=np.ascontiguousarray(numbered.transpose(2, 1, 0)),
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=_uid("segmentation series", case_id),
            series_number=2,
            sop_instance_uid=_uid("segmentation", case_id, numbered.tobytes()),
            instance_number=1,
            manufacturer="boneray",
            manufacturer_model_name="boneray",
            software_versions=version,
            device_serial_number="0",
            content_description=RESEARCH_USE[:64],
            series_description=f"Bones. {RESEARCH_USE}"[:64],
        )


def encapsulated_stl(mesh: Mesh, name: str, case_id: str, number: int) -> Dataset:
    """The surface as an Encapsulated STL object; its vertices are in DICOM's frame (LPS), mm."""
    turned = Mesh(mesh.vertices_mm @ LPS_FROM_RAS, mesh.faces)
    raw = stl_bytes(turned, HEADER.replace("RAS", "LPS"))
    dataset = _dataset(EncapsulatedSTLStorage, case_id, "stl", name, raw)
    dataset.SeriesInstanceUID = _uid("stl series", case_id)
    dataset.SeriesNumber, dataset.InstanceNumber = 3, number
    dataset.Modality = "M3D"
    dataset.SeriesDescription = f"Surfaces. {RESEARCH_USE}"[:64]
    dataset.Manufacturer = "boneray"
    dataset.ManufacturerModelName = "boneray"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = "boneray"
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.AcquisitionDateTime = ""
    dataset.ContentDate = dataset.ContentTime = ""
    dataset.DocumentTitle = f"{name}. {RESEARCH_USE}"
    dataset.ConceptNameCodeSequence = Sequence()
    dataset.MIMETypeOfEncapsulatedDocument = "model/stl"
    dataset.MeasurementUnitsCodeSequence = Sequence([_code("mm", "UCUM", "mm")])
    dataset.EncapsulatedDocumentLength = len(raw)
    dataset.EncapsulatedDocument = raw + b"\0" * (len(raw) % 2)
    return dataset


def _slice(plane: NDArray, k: int, grid: Grid, case_id: str) -> Dataset:
    directions = LPS_FROM_RAS @ grid.direction_matrix
    pixels = (IN_BONE * (plane > 0)).astype("<i2")
    dataset = _dataset(CTImageStorage, case_id, "carrier", str(k), pixels.tobytes())
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SyntheticData = "YES"
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = _uid("carrier series", case_id)
    dataset.SeriesNumber, dataset.InstanceNumber = 1, k + 1
    dataset.SeriesDescription = f"Carrier of the bones, no CT. {RESEARCH_USE}"[:64]
    dataset.DerivationDescription = "synthetic: 1000 in reconstructed bone, 0 elsewhere; not an exposure"
    dataset.Manufacturer = "boneray"
    dataset.ContentDate = dataset.ContentTime = dataset.AcquisitionNumber = dataset.KVP = ""
    dataset.PatientPosition = "HFS"
    dataset.ImagePositionPatient = [_ds(v) for v in LPS_FROM_RAS @ grid.to_world((0.0, 0.0, float(k)))]
    dataset.ImageOrientationPatient = [_ds(v) for v in (*directions[:, 0], *directions[:, 1])]
    dataset.PixelSpacing = [_ds(grid.spacing_mm[1]), _ds(grid.spacing_mm[0])]
    dataset.SliceThickness = _ds(grid.spacing_mm[2])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PixelData = pixels.tobytes()
    return dataset


def _dataset(sop_class: UID, case_id: str, kind: str, name: str, content: bytes) -> Dataset:
    """What all objects share: one patient, one study, one frame of reference."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = _uid(kind, case_id, name, content)
    dataset.StudyInstanceUID = _uid("study", case_id)
    dataset.FrameOfReferenceUID = _uid("frame", case_id)
    dataset.PositionReferenceIndicator = ""
    dataset.PatientID = dataset.PatientName = case_id[:64]
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.ReferringPhysicianName = ""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation"))
    meta.ImplementationVersionName = "BONERAY"
    dataset.file_meta = meta
    return dataset


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _save(path: Path, dataset: Any) -> Path:
    return write_atomic(path, lambda file: dataset.save_as(file, enforce_file_format=True))
