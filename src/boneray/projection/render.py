"""Radiographs of a CT: Hounsfield units to attenuation to line integrals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.radiograph import Radiograph
from boneray.core.volume import Volume
from boneray.projection.joseph import line_integrals

# Linear attenuation of water at 60 keV (mass attenuation 0.2059 cm2/g, NIST XCOM), per mm.
WATER_PER_MM = 0.02059


def attenuation_per_mm(hu: NDArray) -> NDArray[np.float32]:
    """Linear attenuation of HU at one energy (60 keV): mu = mu_water (1 + HU/1000), air and below give 0."""
    return np.maximum(0.0, WATER_PER_MM * (1.0 + np.asarray(hu, dtype=np.float32) / 1000.0)).astype(np.float32)


def render(ct: Volume, camera: Camera) -> Radiograph:
    """The monochromatic radiograph of a CT as `camera` sees it (line integrals, bone bright)."""
    return Radiograph(line_integrals(attenuation_per_mm(ct.data), ct.grid, camera), camera)
