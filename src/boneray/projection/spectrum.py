"""The beam of an X-ray tube: which photons it sends, how hard they are, and the same in a few energies.

Tube spectra (tungsten anode, 12 degrees) lie in `spectra.json` every 5 kVp without any filtration; aluminium is put in
front by Beer and Lambert, which is exact for the beam on its axis. Between two tube voltages, bremsstrahlung is
interpolated at the same fraction of the tube voltage, so that it ends there, and lines at their own energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import ConfigError
from boneray.core.registry import Registry
from boneray.projection.attenuation import (
    DENSITY_G_CM3,
    air_absorption_cm2_g,
    mass_attenuation_cm2_g,
    tables,
)

FILTRATION_AL_MM = (1.0, 20.0)  # what can be asked for


@dataclass(frozen=True)
class Spectrum:
    """Photons by energy.

    Attributes:
        energies_kev: (n,) ascending.
        fluence: (n,) share of the photons, sum 1.
    """

    energies_kev: NDArray[np.float64]
    fluence: NDArray[np.float64]

    @property
    def mean_energy_kev(self) -> float:
        """Mean energy of the photons."""
        return float(self.energies_kev @ self.fluence)

    def filtered(self, material: str, thickness_mm: float) -> Spectrum:
        """Behind a sheet of a material of nominal density."""
        per_mm = mass_attenuation_cm2_g(material, self.energies_kev) * DENSITY_G_CM3[material] / 10.0
        passed = self.fluence * np.exp(-per_mm * thickness_mm)
        return Spectrum(self.energies_kev, passed / passed.sum())

    def half_value_layer_mm(self, material: str = "aluminium") -> float:
        """Thickness of a material, in mm, that halves the air kerma (narrow beam)."""
        per_mm = mass_attenuation_cm2_g(material, self.energies_kev) * DENSITY_G_CM3[material] / 10.0
        kerma = self.fluence * self.energies_kev * air_absorption_cm2_g(self.energies_kev)
        kerma = kerma / kerma.sum()
        thickness = 0.0
        for _ in range(60):  # Newton on ln(kerma), which is convex and falling: it rises to the root from 0
            left = kerma * np.exp(-per_mm * thickness)
            step = float(np.log(left.sum() / 0.5) * left.sum() / (per_mm @ left))
            thickness += step
            if abs(step) < 1e-10 * thickness:
                break
        return thickness

    def reduced(self, count: int) -> Spectrum:
        """The same beam in `count` energies: the Gauss quadrature of this spectrum.

        Its mean of every polynomial of the energy up to degree 2 count - 1 is that of the spectrum. What a thickness
        lets pass is smooth in the energy, so 8 energies come closer than 32 bins of equal fluence. Golub and Welsch,
        Math Comp 23:221, 1969, with the recurrence by Lanczos, reorthogonalised. As many energies as the spectrum
        has, or more, leave it as it is.
        """
        size = len(self.energies_kev)
        if count >= size:
            return self
        basis = np.zeros((count, size))
        diagonal, beside = np.zeros(count), np.zeros(count)
        vector = np.sqrt(self.fluence)
        for k in range(count):
            basis[k] = vector / np.linalg.norm(vector)
            vector = self.energies_kev * basis[k]
            diagonal[k] = vector @ basis[k]
            for _ in range(2):  # twice is enough to stay orthogonal
                vector = vector - basis[: k + 1].T @ (basis[: k + 1] @ vector)
            beside[k] = np.linalg.norm(vector)
        energies, modes = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
        return Spectrum(energies, modes[0] ** 2)


@dataclass(frozen=True)
class Beam:
    """An X-ray tube's setting.

    Attributes:
        kvp: tube voltage, 60 to 140 kV.
        filtration_al_mm: everything the beam passes before the patient, as mm of aluminium, 1 to 20.
        bins: number of energies a radiograph is computed with. Behind up to 30 cm of water and 5 cm of bone, 16
            give the logarithm of the full spectrum's signal to 0.0005, 8 to 0.001, 4 to 0.03.
    """

    kvp: float = 80.0
    filtration_al_mm: float = 2.5
    bins: int = 16

    def __post_init__(self) -> None:
        known = _tabulated_kvp()
        if not known[0] <= self.kvp <= known[-1]:
            raise ConfigError(f"a tube voltage of {self.kvp:g} kVp is not known; choose {known[0]:g} to {known[-1]:g}")
        least, most = FILTRATION_AL_MM
        if not least <= self.filtration_al_mm <= most:
            raise ConfigError(
                f"a filtration of {self.filtration_al_mm:g} mm aluminium is not known; choose {least:g} to {most:g}"
            )
        if not self.bins >= 1:
            raise ConfigError(f"a beam of {self.bins} energies cannot be computed; choose 1 or more")

    @cached_property
    def full(self) -> Spectrum:
        """Every keV."""
        return _bare_tube(self.kvp).filtered("aluminium", self.filtration_al_mm)

    @cached_property
    def spectrum(self) -> Spectrum:
        """`bins` energies that stand for all of them."""
        return self.full.reduced(self.bins)

    def half_value_layer_mm(self, material: str = "aluminium") -> float:
        """Thickness of a material, in mm, that halves the air kerma."""
        return self.full.half_value_layer_mm(material)


@dataclass(frozen=True)
class Monochromatic:
    """A beam of one energy: a radiograph with it is exact Beer and Lambert."""

    energy_kev: float = 60.0

    @property
    def spectrum(self) -> Spectrum:
        """The one energy."""
        return Spectrum(np.array([float(self.energy_kev)]), np.ones(1))


BEAMS: Registry[Beam] = Registry("beam", "boneray.projection.beams", "boneray.beams")


def _tabulated_kvp() -> NDArray[np.float64]:
    return np.array(sorted(float(kvp) for kvp in tables()["tubes"]))


def _bare_tube(kvp: float) -> Spectrum:
    """Photons of the tube without filtration: bins of about 1 keV, and each characteristic line at its own energy."""
    table = tables()
    known = _tabulated_kvp()
    above = min(max(int(np.searchsorted(known, kvp)), 1), len(known) - 1)
    part = (kvp - known[above - 1]) / (known[above] - known[above - 1])
    edges = np.linspace(table["lowest_kev"], kvp, round(kvp - table["lowest_kev"]) + 1)
    energies = (edges[1:] + edges[:-1]) / 2.0
    line_energies = np.array(table["line_energies_kev"])
    photons = np.zeros(len(energies))
    line_photons = np.zeros(len(line_energies))
    for neighbour, weight in ((known[above - 1], 1.0 - part), (known[above], part)):
        tube = table["tubes"][f"{neighbour:g}"]
        per_kev = np.array([*tube["bremsstrahlung"], 0.0])
        at_kev = np.array([*(table["lowest_kev"] + 0.5 + np.arange(len(per_kev) - 1)), neighbour])
        photons += weight * np.interp(energies * neighbour / kvp, at_kev, per_kev) * (edges[1] - edges[0])
        line_photons += weight * np.array(tube["lines"])
    line_photons[line_energies >= kvp] = 0.0
    emitted = line_photons > 0
    energies = np.concatenate([energies, line_energies[emitted]])
    photons = np.concatenate([photons, line_photons[emitted]])
    order = np.argsort(energies, kind="stable")
    return Spectrum(energies[order], photons[order] / photons.sum())
