"""A radiograph: the picture together with the camera that took it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError


@dataclass(frozen=True)
class Radiograph:
    """Line integrals of attenuation and where they were measured.

    Attributes:
        line_integrals: (rows, columns) float32; bone is bright. Dimensionless (integral of mu
            over mm) when made by projection, an unknown monotone scale when read from a picture.
        camera: geometry of this view.
        scaled: True if the values are true line integrals.
    """

    line_integrals: NDArray[np.float32]
    camera: Camera
    scaled: bool = True

    def __post_init__(self) -> None:
        if self.line_integrals.shape != self.camera.detector_shape:
            raise GeometryError(
                f"radiograph of {self.line_integrals.shape} pixels does not fit its camera's detector "
                f"{self.camera.detector_shape} (rows, columns)"
            )
