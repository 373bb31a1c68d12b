"""Does a radiograph look like those a network learnt from? How strange it is, and whether it is turned or swapped.

A picture is reduced to a thumbnail: the field of the working grid at 16 x 16 pixels, standardised, its columns turned
so that frontal pictures show a right bone with the patient's left at the right, and side pictures have the front at
the right. Thumbnails of phantoms are described by probabilistic principal components (Tipping and Bishop, J R Stat Soc
B 61:611, 1999), per direction of view; strangeness is the root mean square of a picture's coordinates in units of
their spread, the rest outside the components included, over the 99th percentile of phantoms the description has not
seen. So 1 is as strange as the strangest phantom in a hundred.

Whether another reading of the pictures (views swapped, mirrored, upside down) is less strange by a margin tells turned
and swapped films. All numbers come from `boneray calibrate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.projection.resize import resized
from boneray.reconstruction.film_values import cut_to_grid

PIXELS = 16
KINDS = ("frontal", "side")


@dataclass(frozen=True)
class Description:
    """Thumbnails of one direction of view.

    Attributes:
        mean: (n,) mean thumbnail, n = PIXELS^2.
        axes: (k, n) unit principal components.
        spreads: (k,) standard deviation along each.
        rest: standard deviation of a pixel outside of them.
        usual: 99th percentile of the strangeness of phantoms that were not used for the rest.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    spreads: NDArray[np.float64]
    rest: float
    usual: float = 1.0

    @classmethod
    def of(cls, thumbnails: NDArray[np.float64], held_out: NDArray[np.float64], count: int) -> Description:
        """From (m, n) thumbnails; `held_out` ones set what is usual."""
        mean = thumbnails.mean(axis=0)
        _, sizes, axes = np.linalg.svd(thumbnails - mean, full_matrices=False)
        variances = sizes**2 / (len(thumbnails) - 1)
        rest = float(np.sqrt(variances[count:].sum() / (mean.size - count)))
        raw = cls(mean, axes[:count], np.sqrt(variances[:count]), rest)
        found = [raw.strangeness(one) for one in held_out]
        return cls(raw.mean, raw.axes, raw.spreads, rest, float(np.percentile(found, 99)))

    def strangeness(self, thumbnail: NDArray[np.float64]) -> float:
        """1 is the strangest phantom in a hundred."""
        offset = thumbnail - self.mean
        along = self.axes @ offset
        outside = offset - along @ self.axes
        squares = ((along / self.spreads) ** 2).sum() + (outside**2).sum() / self.rest**2
        return float(np.sqrt(squares / self.mean.size)) / self.usual

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mean": _text(self.mean),
            "axes": [_text(axis) for axis in self.axes],
            "spreads": np.round(self.spreads, 4).tolist(),
            "rest": round(self.rest, 5),
            "usual": round(self.usual, 4),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Description:
        """What `to_dict` wrote."""
        return cls(
            _numbers(values["mean"]),
            np.array([_numbers(axis) for axis in values["axes"]]),
            np.array(values["spreads"]),
            float(values["rest"]),
            float(values["usual"]),
        )


def _text(numbers: NDArray[np.float64]) -> str:
    """Numbers in one line, four decimals: a thousand lines of JSON are no easier to read."""
    return " ".join(f"{number:.4f}" for number in numbers)


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(part) for part in text.split()])


def kind_of(camera: Camera) -> str:
    """frontal where the columns run across the patient, side where they run from back to front."""
    x = np.abs(camera.pose[:3, 0])
    return "frontal" if x[0] >= x[1] else "side"


def thumbnail(radiograph: Radiograph, grid: Grid, side: str) -> NDArray[np.float64]:
    """(PIXELS^2,) the picture as it is compared; `side` is that of the wanted bone, or empty.

    Raises:
        DataError: the picture is blank there.
    """
    small = resized(cut_to_grid(radiograph, grid), (PIXELS, PIXELS)).line_integrals.astype(np.float64)
    spread = small.std()
    if not spread > 0:
        raise DataError("radiograph is blank where the bone should be; check its camera and the bone's centre")
    x = radiograph.camera.pose[:3, 0]
    if kind_of(radiograph.camera) == "frontal":
        flip = (x[0] > 0) != (side == "left")
    else:
        flip = x[1] < 0
    return ((small[:, ::-1] if flip else small).ravel() - small.mean()) / spread


def readings(pictures: Sequence[tuple[str, NDArray]], known: Mapping[str, Description]) -> dict[str, float]:
    """Mean strangeness of the pictures under every reading of them.

    Args:
        pictures: (kind, thumbnail) of each view.
        known: descriptions by kind; a picture whose kind has none is left out.
    """
    shown = [(kind, values.reshape(PIXELS, PIXELS)) for kind, values in pictures if kind in known]
    if not shown:
        return {}
    other = {"frontal": "side", "side": "frontal"}

    def mean(change: Any, turn_kind: bool = False, only: str = "") -> float:
        found = []
        for kind, values in shown:
            picture = values if only and kind != only else change(values)
            read_as = other[kind] if turn_kind else kind
            found.append(known[read_as].strangeness(np.ascontiguousarray(picture).ravel()))
        return float(np.mean(found))

    out = {"as given": mean(lambda p: p), "upside down": mean(lambda p: p[::-1])}
    kinds = {kind for kind, _ in shown}
    out |= {f"{kind} picture mirrored": mean(lambda p: p[:, ::-1], only=kind) for kind in sorted(kinds)}
    if kinds == set(KINDS) and set(known) == set(KINDS):
        out["AP and LAT swapped"] = mean(lambda p: p, turn_kind=True)
    return out
