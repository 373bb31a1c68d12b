"""Radiographs of a CT: Hounsfield units to attenuation, to line integrals, to what a detector shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume, require_same_grid
from boneray.projection.attenuation import MATERIALS, materials_from_hu
from boneray.projection.detector import Scatter, as_line_integrals, noisy, scattered, signal
from boneray.projection.joseph import line_integrals
from boneray.projection.material_integrals import material_integrals
from boneray.projection.spectrum import Beam

# Linear attenuation of water at 60 keV (mass attenuation 0.2059 cm2/g, NIST XCOM), per mm.
WATER_PER_MM = 0.02059


def attenuation_per_mm(hu: NDArray) -> NDArray[np.float32]:
    """Linear attenuation of HU at one energy (60 keV): mu = mu_water (1 + HU/1000), air and below give 0."""
    values = np.array(hu, dtype=np.float32)  # one copy, worked on in place: a CT can be large
    values *= WATER_PER_MM / 1000.0
    values += WATER_PER_MM
    return np.maximum(values, 0.0, out=values)


def render(ct: Volume, camera: Camera) -> Radiograph:
    """The monochromatic radiograph of a CT as `camera` sees it (line integrals, bone bright)."""
    return Radiograph(line_integrals(attenuation_per_mm(ct.data), ct.grid, camera), camera)


@dataclass(frozen=True)
class Exposure:
    """How a radiograph is taken, beyond its geometry.

    Attributes:
        beam: the tube's setting.
        photons: mean count per pixel in the open beam; None for no noise.
        blur_px: standard deviation of the detector's blur, pixels.
        scatter: scattered photons; None for none.
    """

    beam: Beam
    photons: float | None = None
    blur_px: float = 0.0
    scatter: Scatter | None = None


def expose(
    ct: Volume,
    cameras: Sequence[Camera],
    exposure: Exposure,
    rng: np.random.Generator,
    *,
    bone: NDArray[np.bool_] | None = None,
    bone_only: bool = False,
) -> list[Radiograph]:
    """Polychromatic radiographs of a CT as -ln of the signal, 0 in the open beam.

    The values are what a detector reports as line integrals: beam hardening, noise, blur and
    scatter are in them.

    Args:
        ct: HU.
        cameras: one per radiograph.
        exposure: beam and detector.
        rng: for the noise.
        bone: (i, j, k) mask that decides on bone whatever the HU; default: 350 to 3000 HU.
        bone_only: everything else is left out.
    """
    material, density = materials_from_hu(ct.data, bone)
    if bone_only:
        density[material != MATERIALS.index("bone")] = 0.0
    out = []
    for camera in cameras:
        thickness = 0.1 * material_integrals(density, material, len(MATERIALS), ct.grid, camera)  # g/cm2
        seen = signal(thickness, MATERIALS, exposure.beam)
        if exposure.scatter is not None:
            seen = scattered(seen, exposure.scatter, camera.pixel_mm)
        read = noisy(seen, exposure.photons, rng, exposure.blur_px)
        darkest = 1e-6 if exposure.photons is None else 0.5 / exposure.photons
        out.append(Radiograph(as_line_integrals(read, darkest), camera))
    return out


def bone_mask(ct: Volume, labels: LabelMap | None) -> NDArray[np.bool_]:
    """Where bone is: the labels if there are any, else above 350 HU (the rule of `materials_from_hu`).

    Raises:
        GeometryError: CT and labels lie on different grids; DataError: there is no bone.
    """
    if labels is not None:
        require_same_grid(ct.grid, labels.grid, "CT", "labels")
        mask = labels.data > 0
    else:
        mask = np.asarray(ct.data > 350.0)
    if not mask.any():
        raise DataError("no bone was found: no voxel is labelled" if labels is not None else "no voxel is above 350 HU")
    return mask
