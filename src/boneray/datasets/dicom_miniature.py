"""A phantom's CT as a DICOM series, for miniatures of data sets that are published so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from boneray.core.volume import Volume
from boneray.io.files import write_atomic


def write_series(folder: Path, ct: Volume, series: str, *, patient_id: str = "", age_years: int = 61) -> Path:
    """Write the axial slices of an axis-aligned RAS volume as 1.dcm, 2.dcm ... from the feet up."""
    left_to_right = ct.data[::-1, ::-1]  # rows run to the patient's left, columns to the back
    high = ct.grid.to_world([ct.grid.shape[0] - 1, ct.grid.shape[1] - 1, 0])
    for n in range(ct.grid.shape[2]):
        place = [-high[0], -high[1], high[2] + n * ct.grid.spacing_mm[2]]
        one = _slice(left_to_right[:, :, n].T, place, ct.grid.spacing_mm, series, n + 1)
        one.PatientID = patient_id or series
        one.PatientSex = "F"
        one.PatientAge = f"{age_years:03d}Y"
        path = folder / f"{n + 1}.dcm"
        write_atomic(path, partial(one.save_as, enforce_file_format=True))
    return folder


def _slice(hu: np.ndarray, place: list[float], spacing: tuple[float, ...], series: str, number: int) -> Dataset:
    one = Dataset()
    one.SOPClassUID = CTImageStorage
    one.SOPInstanceUID = UID(f"{series}.{number}")
    one.SeriesInstanceUID = UID(series)
    one.StudyInstanceUID = UID(series)
    one.Modality = "CT"
    one.InstanceNumber = number
    one.ImagePositionPatient = [f"{v:.6g}" for v in place]
    one.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    one.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
    one.SliceThickness = f"{spacing[2]:.10g}"
    one.Rows, one.Columns = hu.shape
    one.SamplesPerPixel = 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.RescaleSlope, one.RescaleIntercept = "1", "-1024"
    one.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = one.SOPClassUID
    meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("1.2.826.0.1.3680043.8.498.1")
    one.file_meta = meta
    return one
