"""Radiograph pictures: 16-bit grey PNG with a stored scale, and pictures a user brings."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boneray.core.errors import InputError
from boneray.io.files import require_file, write_atomic

LEVELS = 65535
# One radiograph is at most so large; what says to be larger is refused before it is unpacked.
MOST_PIXELS = 60_000_000
MOST_BYTES = 400_000_000
FEWEST_GREYS = 16
COLOURED = 0.03  # mean difference of the channels, as a share of the range, from which a picture is in colour


def write_picture(path: Path, values: NDArray[np.floating]) -> float:
    """Write non-negative values as a 16-bit PNG; returns the scale (value per grey level).

    `grey * scale` gives the values back within half a level.
    """
    top = float(np.max(values, initial=0.0))
    scale = top / LEVELS if top > 0 else 1.0
    grey = np.clip(np.round(values / scale), 0, LEVELS).astype(np.uint16)
    write_atomic(path, lambda file: Image.fromarray(grey).save(file, format="PNG"))
    return scale


def read_picture(path: Path, what: str = "radiograph", *, strict: bool = False) -> NDArray[np.float32]:
    """Grey values of an 8- or 16-bit picture, (rows, columns) float32; colour becomes luminance.

    Args:
        strict: refuse what no radiograph is: a picture in colour, several frames, one bit per pixel.
    Raises:
        InputError: not there, not a picture, too large, or more than one frame's worth of dimensions.
    """
    require_file(path, what)
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{what} {path} is larger than {MOST_BYTES / 1e6:.0f} MB, too large for one picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            grey = _grey(path, what, strict)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what they like: SyntaxError, struct.error, zlib.error ...
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{what} {path} is not a readable picture: {text[:120]}") from None
    if not np.all(np.isfinite(grey)):
        raise InputError(f"{what} {path} holds pixels that are not numbers")
    if grey.ndim != 2 or min(grey.shape) < 8:
        raise InputError(f"{what} {path} has shape {grey.shape}; a grey picture of at least 8x8 pixels is needed")
    return grey


def _grey(path: Path, what: str, strict: bool) -> NDArray[np.float32]:
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise InputError(
                f"{what} {path} has {width} x {height} pixels; {MOST_PIXELS / 1e6:.0f} million at most are read"
            )
        frames = int(getattr(image, "n_frames", 1))
        if strict and frames != 1:
            raise InputError(f"{what} {path} holds {frames} frames; extract the one you need")
        if strict and image.mode == "1":
            raise InputError(f"{what} {path} has one bit per pixel; a grey picture is needed")
        if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
            return np.asarray(image, dtype=np.float32)
        if strict:
            channels = np.asarray(image.convert("RGB").resize((min(width, 256), min(height, 256))), dtype=np.float32)
            if np.ptp(channels, axis=2).mean() > COLOURED * 255:
                raise InputError(f"{what} {path} is in colour: a photograph, not a radiograph; give a grey picture")
        return np.asarray(image.convert("L"), dtype=np.float32)


def require_greys(grey: NDArray[np.float32], path: Path, what: str = "radiograph") -> None:
    """Raise InputError for a picture of so few grey values that it is a drawing, a mask or blank."""
    found = len(np.unique(grey[:: max(1, grey.shape[0] // 512), :: max(1, grey.shape[1] // 512)]))
    if found < FEWEST_GREYS:
        raise InputError(f"{what} {path} has only {found} grey values; a radiograph has hundreds")
