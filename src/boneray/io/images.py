"""Radiograph pictures: 16-bit grey PNG with a stored scale, and pictures a user brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from boneray.core.errors import InputError
from boneray.io.files import require_file, write_atomic

LEVELS = 65535


def write_picture(path: Path, values: NDArray[np.floating]) -> float:
    """Write non-negative values as a 16-bit PNG; returns the scale (value per grey level).

    `grey * scale` gives the values back within half a level.
    """
    top = float(np.max(values, initial=0.0))
    scale = top / LEVELS if top > 0 else 1.0
    grey = np.clip(np.round(values / scale), 0, LEVELS).astype(np.uint16)
    write_atomic(path, lambda file: Image.fromarray(grey).save(file, format="PNG"))
    return scale


def read_picture(path: Path, what: str = "radiograph") -> NDArray[np.float32]:
    """Grey values of an 8- or 16-bit picture, (rows, columns) float32; colour becomes luminance.

    Raises:
        InputError: not there, not a picture, or more than one frame's worth of dimensions.
    """
    require_file(path, what)
    try:
        with Image.open(path) as image:
            is_grey = image.mode in ("L", "I", "F") or image.mode.startswith("I;16")
            grey = np.asarray(image if is_grey else image.convert("L"), dtype=np.float32)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{what} {path} is not a readable picture: {text[:120]}") from None
    if not np.all(np.isfinite(grey)):
        raise InputError(f"{what} {path} holds pixels that are not numbers")
    if grey.ndim != 2 or min(grey.shape) < 8:
        raise InputError(f"{what} {path} has shape {grey.shape}; a grey picture of at least 8x8 pixels is needed")
    return grey
