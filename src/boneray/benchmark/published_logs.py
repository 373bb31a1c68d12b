"""Logs that published systems ship beside their papers, read as they are.

XrayTo3D ships the means of its misalignment study for femur and hip (its Figure 7): by model, metric and angle, where
the value at 0 degrees is a number and every other a list that holds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boneray.core.errors import DataError
from boneray.io.files import read_json
from boneray.models.registry import MODELS

METRICS = ("DSC", "HD95", "ASD", "NSD")
UNITS = {"DSC": "%", "HD95": "voxels", "ASD": "voxels", "NSD": "share"}


@dataclass(frozen=True)
class AngleCurve:
    """Means of one model and metric by angle; the lateral view was turned and the network not told."""

    model: str
    metric: str
    angles_deg: tuple[float, ...]
    means: tuple[float, ...]

    @property
    def loss(self) -> float:
        """Change from the first angle to the last."""
        return self.means[-1] - self.means[0]


def angle_curves(file: Path) -> list[AngleCurve]:
    """The curves of one anatomy, models by boneray's names in the order of the file.

    Raises:
        DataError: an entry is neither a number nor a list of one.
    """
    found = []
    for method, metrics in read_json(file, "angle log").items():
        for metric, by_angle in metrics.items():
            values = {float(angle): _one(file, method, value) for angle, value in by_angle.items()}
            angles = tuple(sorted(values))
            found.append(AngleCurve(MODELS.get(method).name, metric, angles, tuple(values[a] for a in angles)))
    return found


def _one(file: Path, method: str, value: object) -> float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int | float):
        raise DataError(f"{file}: {method} has {value!r} where a mean is expected")
    return float(value)
