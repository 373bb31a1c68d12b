"""Calibrations of biplane X-ray rooms: MayaCam 2.0 text, as XMALab writes and Autoscoper reads it.

    image size          width, height
    camera matrix       K, 3x3, pixels
    rotation            R, 3x3
    translation         t, 3, in the unit of the calibration object (mm)

XMALab's manual names OpenCV's pinhole camera: a point X of the calibration object's frame is seen
at (column, row, 1) ~ K (R X + t), rows count downwards from the first pixel's centre, and the
camera looks along its +z. Implanted beads in a real pair confirm it: with rows downwards six beads
are triangulated with rays that miss each other by 0.15 mm at most, with rows upwards by 5 to 23 mm.

The frame is that of the calibration object, not the patient's: move the camera (`Camera.moved`)
once it is known where the patient lies. A pinhole camera does not know how far its detector is:
the picture is the same at any distance when the pixels grow with it. The distance is therefore a
choice, and `image_from_world` does not depend on it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError, InputError
from boneray.io.files import require_file, write_text

SECTIONS = {"image size": (2,), "camera matrix": (3, 3), "rotation": (3, 3), "translation": (3,)}

# Without a given distance the detector is put half as far again from the source as the calibration object.
DETECTOR_BEHIND_OBJECT = 1.5


def read_mayacam(path: Path, *, source_detector_mm: float | None = None) -> Camera:
    """The camera of a MayaCam 2.0 file, in the frame of the calibration object.

    Args:
        path: the text file.
        source_detector_mm: where to put the detector; its pixel pitch follows (K's focal lengths
            are source-detector distance over pitch). By default 1.5 times as far from the source
            as the calibration object's origin.
    Raises:
        InputError: not such a file.
        GeometryError: what no X-ray camera does: a skewed or mirrored calibration.
    """
    size, matrix, rotation, shift = _sections(path).values()
    matrix = matrix / matrix[2, 2] if matrix[2, 2] else matrix
    if np.any(np.abs(matrix[[1, 2, 2], [0, 0, 1]]) > 1e-9) or abs(matrix[2, 2] - 1.0) > 1e-9:
        raise GeometryError(f"calibration {path}: the camera matrix {matrix.tolist()} is not upper triangular")
    if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]):
        raise GeometryError(
            f"calibration {path}: skew {matrix[0, 1]:g} px; detector rows and columns must be square to each other"
        )
    if matrix[0, 0] == 0 or matrix[1, 1] == 0:
        raise GeometryError(f"calibration {path}: focal length {matrix[0, 0]:g}, {matrix[1, 1]:g} px must not be zero")
    # A negative focal length is a camera axis that points the other way, and (-R, -t) draws the same
    # picture as (R, t): both are only ways to write it down. What remains must be a true rotation.
    signs = np.sign([matrix[0, 0], matrix[1, 1], 1.0])
    rotation, shift = signs[:, None] * rotation, signs * shift
    if np.linalg.det(rotation) < 0:
        rotation, shift = -rotation, -shift
    if shift[2] <= 0:
        raise GeometryError(
            f"calibration {path}: the calibration object lies {-shift[2]:g} mm behind the source, so the picture is "
            "mirrored; flip the picture left to right and calibrate again, or correct the signs of its matrices"
        )
    if source_detector_mm is None:
        source_detector_mm = DETECTOR_BEHIND_OBJECT * float(shift[2])
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ shift
    try:
        return Camera(
            "perspective",
            (int(size[1]), int(size[0])),
            (source_detector_mm / abs(matrix[1, 1]), source_detector_mm / abs(matrix[0, 0])),
            source_detector_mm,
            (matrix[1, 2], matrix[0, 2]),
            tuple(pose.ravel()),
        )
    except GeometryError as error:
        raise GeometryError(f"calibration {path}: {error}") from None


def write_mayacam(path: Path, camera: Camera) -> Path:
    """Write a perspective camera as MayaCam 2.0; the pixel pitch itself is not part of that format."""
    if camera.kind != "perspective":
        raise GeometryError("MayaCam knows point sources only; a parallel camera cannot be written to it")
    rows, columns = camera.detector_shape
    row_mm, column_mm = camera.pixel_mm
    row0, column0 = camera.principal_point_px
    focal = camera.source_detector_mm
    camera_from_world = np.linalg.inv(camera.pose)
    blocks = {
        "image size": [[columns, rows]],
        "camera matrix": [[focal / column_mm, 0, column0], [0, focal / row_mm, row0], [0, 0, 1]],
        "rotation": camera_from_world[:3, :3].tolist(),
        "translation": camera_from_world[:3, 3:].tolist(),
    }
    lines = [[name, *(",".join(map(repr, row)) for row in rows), ""] for name, rows in blocks.items()]
    return write_text(path, "\n".join(line for block in lines for line in block))


def _sections(path: Path) -> dict[str, NDArray[np.float64]]:
    """The four arrays of the file, in the order of SECTIONS."""
    require_file(path, "calibration")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"calibration {path} is not text; a MayaCam 2.0 file is needed") from None
    numbers: dict[str, list[float]] = {}
    name = ""
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split(r"[,;\s]+", line.strip()) if word]
        title = " ".join(words).lower()
        if title in SECTIONS:
            name = title
            numbers[name] = []
        elif words:
            try:
                numbers[name] += [float(word) for word in words]
            except (KeyError, ValueError):
                raise InputError(
                    f"calibration {path}, line {number}: '{line.strip()[:40]}' is no part of a MayaCam 2.0 file "
                    f"(sections {', '.join(SECTIONS)})"
                ) from None
    arrays = {}
    for name, shape in SECTIONS.items():
        values = np.array(numbers.get(name, []))
        if values.size != np.prod(shape) or not np.all(np.isfinite(values)):
            raise InputError(
                f"calibration {path}: section '{name}' has {values.size} numbers; {np.prod(shape)} are needed"
            )
        arrays[name] = values.reshape(shape)
    return arrays
