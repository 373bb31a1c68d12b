"""NIfTI volumes and label maps, always in RAS+ order."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import DataError, GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume, to_canonical
from boneray.io.files import require_file, write_atomic

BLOCK = 1 << 20
UNREADABLE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
)


def read_volume(path: Path, what: str = "volume") -> Volume:
    """Intensities as float32 with scale and offset applied, axes turned to RAS+.

    Raises:
        InputError: not there, not NIfTI, or damaged.
    """
    data, grid = _read(path, what)
    return Volume(np.asarray(data, dtype=np.float32), grid)


def read_hounsfield(path: Path, what: str = "CT") -> Volume:
    """A CT as it is stored: int16 where its file holds that without scale or offset, otherwise as `read_volume`.

    Half the memory of float32, and nothing has to be converted. Errors as for `read_volume`.
    """
    data, grid = _read(path, what)
    return Volume(data if data.dtype == np.int16 else np.asarray(data, dtype=np.float32), grid)


def read_labels(path: Path, what: str = "label map") -> LabelMap:
    """Whole-number labels (stored as integers or as floats without fraction), axes turned to RAS+.

    Raises:
        DataError: the values are not labels (fractions, negative, above 65535).
    """
    data, grid = _read(path, what)
    if not np.issubdtype(data.dtype, np.integer):
        if not np.all(np.isfinite(data)) or not np.array_equal(data, np.round(data)):
            raise DataError(f"{what} {path} holds fractions; labels are whole numbers (is this a CT?)")
    low, high = (data.min(), data.max()) if data.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"{what} {path} holds values {low:g}..{high:g}; labels lie in 0..65535 (is this a CT?)")
    return LabelMap(data.astype(np.uint8 if high < 256 else np.uint16, copy=False), grid)


def read_grid(path: Path, what: str = "volume") -> Grid:
    """The grid of a file as it is stored, axes not turned, voxels not read.

    Raises:
        InputError: not there or not NIfTI; GeometryError: no valid spacing.
    """
    require_file(path, what)
    try:
        image: Any = nib.load(path)
    except UNREADABLE as error:
        raise InputError(f"{what} {path} is not a readable NIfTI file: {_short(error)}") from None
    shape = list(image.shape[:3]) + [1] * (3 - len(image.shape))
    try:
        return Grid.from_affine(shape, image.affine)
    except GeometryError as error:
        raise GeometryError(f"{what} {path}: {error}") from None


def write_volume(path: Path, volume: Volume) -> Path:
    """Write intensities with their affine (RAS, mm), atomically and with the same bytes every time."""
    return _write(path, volume.data, volume.grid)


def write_labels(path: Path, labels: LabelMap) -> Path:
    """Write a label map with its affine (RAS, mm), atomically and with the same bytes every time."""
    return _write(path, labels.data, labels.grid)


def _read(path: Path, what: str) -> tuple[NDArray, Grid]:
    require_file(path, what)
    logging.getLogger("nibabel").setLevel(logging.CRITICAL)  # what it warns of is checked below
    try:
        with np.errstate(all="ignore"):
            image: Any = nib.load(path)
            data = _voxels(path, image)
            affine = image.affine
            stated = _states_spacing(path)
    except UNREADABLE as error:
        raise InputError(f"{what} {path} is not a readable NIfTI file: {_short(error)}") from None
    if not stated:
        raise GeometryError(f"{what} {path}: the header's spacing is 0 and it has no other affine; repair the header")
    if data.dtype.kind not in "biuf":
        raise InputError(f"{what} {path} holds {data.dtype} values; plain numbers are needed")
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3 or 0 in data.shape:
        raise InputError(f"{what} {path} has shape {data.shape}; three dimensions are needed")
    try:
        return to_canonical(data, Grid.from_affine(data.shape, affine))
    except GeometryError as error:
        raise GeometryError(f"{what} {path}: {error}") from None


def _voxels(path: Path, image: Any) -> NDArray:
    """All voxels with scale and offset applied; those of a packed file in half the time that nibabel takes."""
    stored = image.dataobj
    if path.suffix != ".gz" or not isinstance(image, nib.Nifti1Image):
        return np.asanyarray(stored)
    size = stored.dtype.itemsize * int(np.prod(stored.shape, dtype=object))
    content = np.empty(stored.offset + size, np.uint8)
    filled = 0
    for piece in _unpacked(path):
        part = piece[: len(content) - filled]
        content[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
        if len(part) < len(piece):
            break  # more than its header says, and of no use
    if filled < len(content):
        raise EOFError(f"it ends after {filled} of {len(content)} bytes")
    raw = content[stored.offset :].view(stored.dtype).reshape(stored.shape, order="F")
    scaled: NDArray = nib.volumeutils.apply_read_scaling(raw, np.asanyarray(stored.slope), np.asanyarray(stored.inter))
    return scaled


def _unpacked(path: Path) -> Iterator[bytes]:
    """What a gzip file holds, piece by piece, checksums looked at; what follows and is no gzip is left alone."""
    packer = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            while block:
                if packer.eof:
                    if not block.startswith(b"\x1f"):
                        return
                    packer = zlib.decompressobj(wbits=31)  # another member begins
                yield packer.decompress(block, 4 * BLOCK)
                block = packer.unused_data if packer.eof else packer.unconsumed_tail
    if not packer.eof:
        raise EOFError("it is cut off")


def _states_spacing(path: Path) -> bool:
    """False if a NIfTI-1 header has no sform and a spacing of 0, which nibabel would silently read as 1 mm."""
    with nib.openers.ImageOpener(str(path)) as file:
        head = file.read(nib.nifti1.header_dtype.itemsize)
    if len(head) < nib.nifti1.header_dtype.itemsize:
        return True
    fields = np.frombuffer(head, nib.nifti1.header_dtype)[0]
    if fields["sizeof_hdr"] != len(head):
        fields = np.frombuffer(head, nib.nifti1.header_dtype.newbyteorder())[0]
    if fields["sizeof_hdr"] != len(head) or fields["sform_code"] > 0:
        return True
    return bool(np.all(fields["pixdim"][1:4] != 0))


def _write(path: Path, data: NDArray, grid: Grid) -> Path:
    image = nib.Nifti1Image(data, grid.world_from_voxel)
    image.set_sform(grid.world_from_voxel, code=1)
    image.set_qform(grid.world_from_voxel, code=1)
    image.header.set_xyzt_units("mm")
    return write_atomic(path, lambda file: file.write_bytes(_bytes(image, compressed=path.suffix == ".gz")))


def _bytes(image: nib.Nifti1Image, *, compressed: bool) -> bytes:
    raw = image.to_bytes()
    if not compressed:
        return raw
    packer = zlib.compressobj(level=4, wbits=31)  # gzip container without a time stamp
    return packer.compress(raw) + packer.flush()


def _short(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0][:120] if text else type(error).__name__
