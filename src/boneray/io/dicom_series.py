"""CT series in DICOM: one volume in HU from a folder of slices.

Slices are sorted along the normal of their rows and columns (0020,0037) by position (0020,0032), never by file name or
instance number; HU are grey * slope + intercept (PS3.3 C.7.6.2.1, C.8.2.1). DICOM counts in LPS, boneray in RAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from boneray.core.errors import GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import Volume, to_canonical
from boneray.io.files import require_folder

SPACING_TOLERANCE_MM = 0.05
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Series:
    """The files of one CT series and whose it is."""

    uid: str
    files: tuple[Path, ...]
    patient_id: str
    sex: str
    age_years: float | None


def find_series(folder: Path) -> list[Series]:
    """The CT series below a folder, most slices first; files that are no CT slice are passed over.

    Raises:
        InputError: the folder does not exist.
    """
    require_folder(folder, "DICOM folder")
    found: dict[str, list[Path]] = {}
    heads: dict[str, FileDataset] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        head = _header(path)
        if head is not None:
            uid = str(head.get("SeriesInstanceUID", ""))
            found.setdefault(uid, []).append(path)
            heads.setdefault(uid, head)
    series = [_series(uid, tuple(files), heads[uid]) for uid, files in found.items()]
    return sorted(series, key=lambda s: (-len(s.files), s.uid))


def read_series(folder: Path) -> Volume:
    """The one CT series below a folder in HU, int16 where it fits, axes turned to RAS+.

    Raises:
        InputError: no series, several, or a slice that cannot be read.
        GeometryError: slices missing, doubled, tilted, or of different sizes.
    """
    series = find_series(folder)
    if not series:
        raise InputError(f"DICOM folder {folder} holds no CT slice (modality CT)")
    if len(series) > 1:
        sizes = ", ".join(f"{s.uid} ({len(s.files)} slices)" for s in series[:3])
        raise InputError(f"DICOM folder {folder} holds {len(series)} CT series: {sizes}; keep one of them in a folder")
    return read_slices(series[0].files)


def read_slices(files: tuple[Path, ...]) -> Volume:
    """The volume of the slices of one series; errors as `read_series`."""
    slices = [_slice(path) for path in files]
    first = slices[0]
    rows, columns = (int(first.Rows), int(first.Columns))
    axes = _axes(first, files[0])
    for path, one in zip(files, slices, strict=True):
        if (int(one.Rows), int(one.Columns)) != (rows, columns) or not np.allclose(_axes(one, path), axes, atol=1e-3):
            raise GeometryError(
                f"DICOM slice {path} has another size or direction than {files[0].name}; split the series"
            )
    normal = np.cross(axes[0], axes[1])
    places = np.array([[float(v) for v in one.ImagePositionPatient] for one in slices])
    order = np.argsort(places @ normal)
    heights = (places @ normal)[order]
    step = _step(heights, first, files[0].parent)
    drift = places[order] - places[order[0]] - np.outer(heights - heights[0], normal)
    if len(files) > 1 and np.abs(drift).max() > 1.0:
        raise GeometryError(
            f"DICOM series in {files[0].parent} is sheared by {np.abs(drift).max():.1f} mm (gantry tilt); "
            "resample it first"
        )
    hu = np.stack([_hu(slices[i], files[i]) for i in order], axis=-1)  # (row, column, slice)
    row_mm, column_mm = (float(v) for v in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([axes[1] * row_mm, axes[0] * column_mm, normal * step], axis=1) * LPS_TO_RAS[:, None]
    affine[:3, 3] = places[order[0]] * LPS_TO_RAS
    data, grid = to_canonical(hu, Grid.from_affine(hu.shape, affine))
    return Volume(data, grid)


def _header(path: Path) -> FileDataset | None:
    tags = ["Modality", "SeriesInstanceUID", "PatientID", "PatientSex", "PatientAge", "ImagePositionPatient"]
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
    except (InvalidDicomError, OSError, EOFError, ValueError, NotImplementedError, AttributeError, KeyError):
        return None
    return head if str(head.get("Modality", "")) == "CT" and "ImagePositionPatient" in head else None


def _series(uid: str, files: tuple[Path, ...], head: FileDataset) -> Series:
    age = str(head.get("PatientAge", "") or "")
    years = float(age[:-1]) if age[:-1].isdecimal() and age.endswith("Y") else None
    return Series(uid, files, str(head.get("PatientID", "")), str(head.get("PatientSex", "") or ""), years)


def _slice(path: Path) -> FileDataset:
    try:
        one = pydicom.dcmread(path)
    except (InvalidDicomError, OSError, EOFError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
        raise InputError(f"DICOM slice {path} cannot be read: {_short(error)}") from None
    missing = [k for k in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient") if not one.get(k)]
    if missing:
        raise InputError(f"DICOM slice {path} lacks {', '.join(missing)}; it has no place in a volume")
    return one


def _axes(one: FileDataset, path: Path) -> NDArray[np.float64]:
    """Directions in which columns and rows are counted, LPS, (2, 3)."""
    axes = np.array([float(v) for v in one.ImageOrientationPatient]).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-2):
        raise GeometryError(f"DICOM slice {path} has directions {axes.tolist()} that are not at right angles")
    return axes


def _step(heights: NDArray[np.float64], first: FileDataset, folder: Path) -> float:
    if len(heights) == 1:
        return float(first.get("SliceThickness") or 1.0)
    steps = np.diff(heights)
    step = float(np.median(steps))
    if steps.min() < SPACING_TOLERANCE_MM:
        raise GeometryError(f"DICOM series in {folder} has two slices at the same place; keep one of them")
    odd = np.flatnonzero(np.abs(steps - step) > max(SPACING_TOLERANCE_MM, 0.05 * step))
    if len(odd):
        raise GeometryError(
            f"DICOM series in {folder}: slices lie {step:g} mm apart, but {steps[odd[0]]:g} mm after slice "
            f"{int(odd[0]) + 1} of {len(heights)}; a slice is missing"
        )
    return float(np.mean(steps))


def _hu(one: FileDataset, path: Path) -> NDArray[Any]:
    try:
        grey = one.pixel_array
    except Exception as error:  # pydicom's decoders raise what their libraries raise
        raise InputError(f"DICOM slice {path} cannot be decoded: {_short(error)}") from None
    if grey.ndim != 2:
        raise InputError(f"DICOM slice {path} has shape {grey.shape}; one grey slice is needed")
    slope, intercept = float(one.get("RescaleSlope", 1.0)), float(one.get("RescaleIntercept", 0.0))
    hu = grey.astype(np.float64) * slope + intercept
    if slope == round(slope) and intercept == round(intercept) and hu.min() >= -32768 and hu.max() <= 32767:
        return hu.astype(np.int16)
    return hu.astype(np.float32)


def _short(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0][:120] if text else type(error).__name__
