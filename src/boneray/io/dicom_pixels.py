"""The grey values of a DICOM radiograph: unpacked, checked, bone bright.

Every transfer syntax of still pictures is read where its decoder is installed (extra `dicom`):
uncompressed, deflated, RLE and 8-bit JPEG by what boneray needs anyway, JPEG 2000, JPEG-LS and lossless
JPEG by pylibjpeg-openjpeg, pyjpegls and python-gdcm.

(0028,1041) settles which end is bone; it speaks of stored values. Without it CR and DX are bright as
shown, that is MONOCHROME1 and a falling rescale slope each turn the picture over, and XA and RF grow
with the beam's intensity, so that bone is dark in them. (0028,1040) says LIN where values are counts of
the detector, not yet a logarithm. Read pictures have no scale to line integrals unless the file brings
one (`boneray.io.dicom_writing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from boneray.core.errors import InputError
from boneray.io.images import MOST_PIXELS

C_ARMS = ("RF", "XA")


@dataclass(frozen=True)
class Grey:
    """A picture before it is laid out for its camera.

    Attributes:
        values: (rows, columns) float32, more attenuation is higher, from 0 on.
        scale: line integral per value, where the file says so; None otherwise.
        dark_value: the value where no beam arrives, where values are linear in the beam's intensity
            (raw detector counts turned over); None otherwise.
        notes: what had to be assumed.
    """

    values: NDArray[np.float32]
    scale: float | None
    dark_value: float | None
    notes: tuple[str, ...]


def read_grey(dataset: FileDataset, path: Path) -> Grey:
    """The picture of a data set.

    Raises:
        InputError: too large, damaged, of another shape than stated, or its decoder is not installed.
    """
    stored = _stored(dataset, path)
    scale = _line_integral_per_grey(dataset)
    low, high = _stored_range(dataset)
    dark, notes = _bone_is_dark(dataset)
    values = (high - stored if dark else stored - low).astype(np.float32)
    linear = str(dataset.get("PixelIntensityRelationship", "")) == "LIN" and dark and scale is None
    return Grey(values, scale, high - low if linear else None, notes)


def number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number, or None where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else None


def _stored(dataset: FileDataset, path: Path) -> NDArray[np.float32]:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > MOST_PIXELS:
        raise InputError(f"radiograph {path} has {columns} x {rows} pixels; {MOST_PIXELS / 1e6:.0f} million at most")
    if int(dataset.get("BitsStored") or 16) < 2:
        raise InputError(f"radiograph {path} has one bit per pixel; a grey picture is needed")
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ""))
    try:
        grey = np.asarray(dataset.pixel_array, dtype=np.float32)
    except Exception as error:  # decoders of five packages each fail in their own ways
        text = (str(error).splitlines() or [type(error).__name__])[0][:120]
        if syntax.is_compressed:
            raise InputError(
                f"radiograph {path} is compressed ({syntax.name}) and cannot be unpacked: it is damaged, or its "
                "decoder is missing; install boneray[dicom], or decompress it first, for example with gdcmconv --raw"
            ) from None
        raise InputError(f"radiograph {path} has damaged pixels: {text}") from None
    if grey.shape != (rows, columns):
        raise InputError(f"radiograph {path} has pixels of shape {grey.shape}; {rows, columns} are due")
    return grey


def _bone_is_dark(dataset: Dataset) -> tuple[bool, tuple[str, ...]]:
    """Whether stored values grow with the beam's intensity, and a note if that was a guess."""
    sign = number(dataset, "PixelIntensityRelationshipSign")
    if sign:
        return sign > 0, ()
    if str(dataset.Modality) in C_ARMS:
        return True, ("polarity is not stated; an XA or RF picture is taken to grow with the beam's intensity",)
    inverted = str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    return inverted != ((number(dataset, "RescaleSlope") or 1.0) < 0), ()


def _stored_range(dataset: Dataset) -> tuple[float, float]:
    bits = int(dataset.get("BitsStored") or 16)
    signed = bool(dataset.get("PixelRepresentation"))
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)


def _line_integral_per_grey(dataset: Dataset) -> float | None:
    """The scale boneray wrote: a real world value mapping without unit and offset."""
    for item in dataset.get("RealWorldValueMappingSequence") or ():
        units = item.get("MeasurementUnitsCodeSequence") or ()
        slope, intercept = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
        if slope and slope > 0 and intercept == 0 and units and units[0].get("CodeValue") == "1":
            return slope
    return None
