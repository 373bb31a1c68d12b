"""From what the rays met to what a detector shows: signal, scatter, noise, blur, display.

The order is that of the photons. They pass matter (`signal`), some come from elsewhere (`scattered`), each that
arrives is counted by chance (Poisson), and the light it makes in the scintillator spreads over neighbouring pixels, so
that the blur softens the picture and correlates its noise alike (`noisy`). `as_line_integrals` and `displayed` are what
the console does. Intensities are relative: 1 is the beam without a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from boneray.core.errors import ConfigError, InputError
from boneray.core.registry import unknown_name
from boneray.projection.attenuation import mass_attenuation_cm2_g
from boneray.projection.spectrum import Beam, Monochromatic

DetectorKind = Literal["energy-integrating", "counting"]
Scale = Literal["log", "exposure"]
Polarity = Literal["bone_bright", "bone_dark"]


@dataclass(frozen=True)
class Scatter:
    """Photons that reach a pixel after being scattered in the patient.

    Their source is the scatter potential -I ln I of the primary I, which is zero where no matter is and where nothing
    passes (Ohnesorge et al., Eur Radiol 9:563, 1999); it spreads as a Gaussian (Boone et al., Med Phys 13:254, 1986).

    Attributes:
        ratio: scatter to primary behind a wide object whose line integral is 4, about 20 cm of water; it grows in
            proportion to the line integral.
        width_mm: full width at half maximum of the spread, on the detector. Love and Kruger, Med Phys 14:178, 1987,
            found 75 of 512 pixels for fields of 15 to 36 cm.
    """

    ratio: float
    width_mm: float = 40.0

    def __post_init__(self) -> None:
        if not self.ratio >= 0 or not self.width_mm > 0:
            raise ConfigError(
                f"scatter with ratio {self.ratio:g} and width {self.width_mm:g} mm; "
                "the ratio is 0 or more, the width more than 0"
            )


_SCATTER_REFERENCE = 4.0  # the line integral at which Scatter.ratio holds
_SIGMA_PER_WIDTH = 1.0 / np.sqrt(8.0 * np.log(2.0))


def signal(
    mass_thickness: NDArray,
    materials: Sequence[str],
    beam: Beam | Monochromatic,
    detector: DetectorKind = "energy-integrating",
) -> NDArray[np.float64]:
    """Primary signal of every pixel relative to the open beam, (rows, columns) in (0, 1].

    Args:
        mass_thickness: (m, rows, columns) density integrated along the ray, **g/cm2** (0.1 times an integral of
            g/cm3 over mm).
        materials: the m names of the materials.
        beam: what the tube sends.
        detector: "energy-integrating" weighs photons with their energy (flat panels), "counting" does not. Every
            photon that arrives is absorbed.
    """
    thickness = np.asarray(mass_thickness)
    if thickness.ndim != 3 or len(thickness) != len(materials):
        raise InputError(
            f"mass thickness of shape {thickness.shape} does not fit {len(materials)} materials "
            f"({', '.join(materials)}); it is (materials, rows, columns)"
        )
    if not (thickness >= 0).all():
        raise InputError("mass thickness has values that are negative or not a number; check the volume")
    if detector not in ("energy-integrating", "counting"):
        raise ConfigError(unknown_name("detector", detector, ["energy-integrating", "counting"]))
    spectrum = beam.spectrum
    weights = spectrum.fluence * (spectrum.energies_kev if detector == "energy-integrating" else 1.0)
    weights = weights / weights.sum()
    coefficients = np.array([mass_attenuation_cm2_g(name, spectrum.energies_kev) for name in materials])
    seen = np.zeros(thickness.shape[1:])
    for weight, at_energy in zip(weights, coefficients.T, strict=True):
        seen += weight * np.exp(-np.tensordot(at_energy, thickness, axes=1))
    return seen


def scattered(intensity: NDArray, scatter: Scatter, pixel_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Primary plus scatter, (rows, columns).

    Args:
        intensity: (rows, columns) primary, 1 = open beam. Beyond its border it counts as continuing unchanged.
        scatter: how much, how wide.
        pixel_mm: (row, column) pitch of the detector.
    """
    from scipy import signal as filters  # takes half a second to load

    primary = np.asarray(intensity, dtype=np.float64)
    potential = -primary * np.log(np.clip(primary, 1e-300, 1.0))
    for axis in (0, 1):
        sigma = scatter.width_mm * _SIGMA_PER_WIDTH / pixel_mm[axis]
        reach = int(np.ceil(4.0 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        shape = [1, 1]
        shape[axis] = -1
        padded = np.pad(potential, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        potential = filters.oaconvolve(padded, (kernel / kernel.sum()).reshape(shape), mode="valid", axes=axis)
    return primary + scatter.ratio / _SCATTER_REFERENCE * np.maximum(potential, 0.0)


def noisy(
    intensity: NDArray, photons: float | None, rng: np.random.Generator, blur_sigma_px: float = 0.0
) -> NDArray[np.float64]:
    """Intensity as the detector reads it, (rows, columns), 1 = mean of the open beam.

    Poisson noise first, pixel by pixel, then the blur: a photon is absorbed once, by chance, and its light spreads. So
    the blur acts on signal and noise; a flat field keeps about 1/(4 pi sigma^2) of its variance.

    Args:
        intensity: (rows, columns), 1 = open beam.
        photons: mean count per pixel in the open beam (for an energy-integrating detector, counts of equal weight that
            give the same noise); None for no noise.
        rng: from `boneray.core.seeds.generator`.
        blur_sigma_px: standard deviation of the Gaussian blur, pixels; 0 for none.
    """
    if photons is not None and not photons > 0:
        raise ConfigError(f"{photons:g} photons per pixel make no picture; give more than 0, or none for no noise")
    if not blur_sigma_px >= 0:
        raise ConfigError(f"a detector blur of {blur_sigma_px:g} pixels is not possible; give 0 or more")
    read = np.asarray(intensity, dtype=np.float64)
    if photons is not None:
        read = rng.poisson(read * photons) / photons
    return ndimage.gaussian_filter(read, blur_sigma_px, mode="nearest") if blur_sigma_px > 0 else read


def as_line_integrals(intensity: NDArray, darkest: float = 1e-6) -> NDArray[np.float32]:
    """-ln of the intensity, (rows, columns) float32: 0 in the open beam, bone is bright.

    `darkest` is the least intensity that is told from none; with noise, half a photon: 0.5 / photons.
    """
    return (-np.log(np.maximum(intensity, darkest))).astype(np.float32)


def displayed(
    intensity: NDArray,
    scale: Scale = "log",
    levels: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = (1.0, 99.0),
    polarity: Polarity = "bone_bright",
    darkest: float = 1e-6,
) -> NDArray[np.float32]:
    """A picture for the eye, (rows, columns) float32 in [0, 1].

    Args:
        intensity: 1 = open beam.
        scale: "log" shows -ln I, "exposure" shows I.
        levels: (low, high) of the scale that become the ends of the window. None takes them from `percentiles` of
            the picture; a uniform picture then is 0.
        polarity: "bone_bright" as on a radiograph, "bone_dark" as under fluoroscopy.
        darkest: as for `as_line_integrals`.
    """
    if scale not in ("log", "exposure"):
        raise ConfigError(unknown_name("scale", scale, ["log", "exposure"]))
    if polarity not in ("bone_bright", "bone_dark"):
        raise ConfigError(unknown_name("polarity", polarity, ["bone_bright", "bone_dark"]))
    values: ArrayLike = as_line_integrals(intensity, darkest) if scale == "log" else intensity
    shown = np.asarray(values, dtype=np.float64)
    if levels is not None and not levels[0] < levels[1]:
        raise ConfigError(
            f"the window from {levels[0]:g} to {levels[1]:g} is empty; the second level is the higher one"
        )
    low, high = levels if levels is not None else np.percentile(shown, percentiles)
    window = np.clip((shown - low) / (high - low), 0.0, 1.0) if high > low else np.zeros(shown.shape)
    if (scale == "log") != (polarity == "bone_bright"):
        window = 1.0 - window
    return window.astype(np.float32)
