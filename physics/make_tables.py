"""Writes src/boneray/projection/spectra.json: spectra of X-ray tubes, attenuation of materials, values to check them.

Run it in an environment with the extra `physics`:

    pip install -e ".[physics]"
    python physics/make_tables.py

Sources: spekpy 2.5.4 (MIT; Poludniowski et al., Med Phys 48:3630, 2021) for the spectra of a tungsten anode;
xraylib 4.3.0 (BSD; Schoonjans et al., Spectrochim Acta B 66:776, 2011) for mass attenuation; NIST XAAMDI
(Hubbell and Seltzer, NISTIR 5632) for compositions and for the energy absorption of air.
"""

import json
import math
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import spekpy
import xraylib

OUT = Path(__file__).parents[1] / "src" / "boneray" / "projection" / "spectra.json"
ANODE_DEG = 12.0
KVP = range(60, 141, 5)
LOWEST_KEV = 8.0  # 1 mm of aluminium, the least filtration allowed, passes 1e-6 at this energy
ENERGIES_KEV = np.arange(5.0, 151.0)
ALUMINIUM_G_CM3 = 2.699

# Mass fractions. Air, soft tissue, cortical bone and water as in NIST XAAMDI, table 2 (the tissues are ICRU-44).
COMPOSITIONS = {
    "air": "C 0.000124 N 0.755268 O 0.231781 Ar 0.012827",
    "soft_tissue": "H 0.102 C 0.143 N 0.034 O 0.708 Na 0.002 P 0.003 S 0.003 Cl 0.002 K 0.003",
    "bone": "H 0.034 C 0.155 N 0.042 O 0.435 Na 0.001 Mg 0.002 P 0.103 S 0.003 Ca 0.225",
    "metal": "Ti 1",
    "water": "H 0.111894 O 0.888106",
    "aluminium": "Al 1",
    # cortical bone of ICRP, to check against values computed with it
    "bone_icrp": "H 0.047234 C 0.14433 N 0.04199 O 0.446096 Mg 0.0022 P 0.10497 S 0.00315 Ca 0.20993 Zn 0.0001",
}

# Mass energy-absorption coefficient of dry air, cm2/g at keV (NIST XAAMDI, table 4).
AIR_ABSORPTION_KEV = (5, 6, 8, 10, 15, 20, 30, 40, 50, 60, 80, 100, 150)
AIR_ABSORPTION_CM2_G = (
    *(3.931e1, 2.270e1, 9.446e0, 4.742e0, 1.334e0, 5.389e-1, 1.537e-1),
    *(6.833e-2, 4.098e-2, 3.041e-2, 2.407e-2, 2.325e-2, 2.496e-2),
)

SPECTRUM_CHECKS = (
    *((60, 2.5), (80, 2.5), (100, 2.5), (120, 2.5), (140, 2.5), (60, 3.5), (60, 1.0), (140, 20.0)),
    *((63.7, 2.5), (72.5, 3.0), (91.3, 5.0), (117.0, 10.0), (138.0, 1.5)),
)
MATERIAL_CHECKS_KEV = (8.43, 10.51, 12.37, 15.5, 21.6, 33.3, 47.8, 66.6, 88.8, 121.4, 147.3)


def attenuation(material: str, energies_kev: np.ndarray) -> np.ndarray:
    """Mass attenuation, cm2/g: photoelectric, coherent and incoherent."""
    return _mixed(xraylib.CS_Total, material, energies_kev)


def air_absorption(energies_kev: np.ndarray) -> np.ndarray:
    """Mass energy absorption of air, cm2/g.

    The NIST table has 20, 30, 40 keV, where the curve bends. Between its points the shape is that of photoelectric
    absorption plus the energy Compton electrons carry off (Klein and Nishina); the table scales it.
    """
    grid = np.array(AIR_ABSORPTION_KEV, float)
    ratio = np.array(AIR_ABSORPTION_CM2_G) / _transfer(grid)
    return _transfer(energies_kev) * np.interp(np.log(energies_kev), np.log(grid), ratio)


def _transfer(energies_kev: np.ndarray) -> np.ndarray:
    fraction = np.array([_compton_fraction(e) for e in energies_kev])
    return _mixed(xraylib.CS_Photo, "air", energies_kev) + fraction * _mixed(xraylib.CS_Compt, "air", energies_kev)


def _compton_fraction(energy_kev: float) -> float:
    """Mean share of the photon's energy that the electron takes (Klein and Nishina)."""
    cosine = np.linspace(-1, 1, 20001)
    left = 1 / (1 + energy_kev / 510.999 * (1 - cosine))
    section = left**2 * (left + 1 / left - (1 - cosine**2))
    return float((section * (1 - left)).sum() / section.sum())


def _mixed(cross_section: Callable[[int, float], float], material: str, energies_kev: np.ndarray) -> np.ndarray:
    words = COMPOSITIONS[material].split()
    parts = [(xraylib.SymbolToAtomicNumber(e), float(w)) for e, w in zip(words[::2], words[1::2], strict=True)]
    total = sum(w for _, w in parts)
    return np.array([sum(w * cross_section(z, float(e)) for z, w in parts) / total for e in energies_kev])


def tube(kvp: float, width_kev: float, **parts: bool) -> tuple[np.ndarray, np.ndarray]:
    """(energies, photons per bin) of the bare tube."""
    return spekpy.Spek(kvp=kvp, th=ANODE_DEG, dk=width_kev, **parts).get_spectrum(diff=False)


@cache
def lines(kvp: float) -> dict[float, float]:
    """Photons of each characteristic line by its energy (middle of a 0.1 keV bin)."""
    energies, photons = tube(kvp, 0.1, brem=False)
    keep = (energies > LOWEST_KEV) & (photons > 0)
    return {round(float(energy), 2): float(count) for energy, count in zip(energies[keep], photons[keep], strict=True)}


def spectrum_check(kvp: float, filtration_al_mm: float) -> dict[str, float]:
    """What spekpy itself, with its own coefficients and 0.2 keV, says of a filtered tube."""
    beam = spekpy.Spek(kvp=kvp, th=ANODE_DEG, dk=0.2)
    beam.filter("Al", filtration_al_mm)
    return {
        "kvp": kvp,
        "filtration_al_mm": filtration_al_mm,
        "half_value_layer_al_mm": digits(beam.get_hvl1()),
        "mean_energy_kev": digits(beam.get_emean()),
    }


def transmission_check(kvp: float, bone: str) -> dict[str, float | str]:
    """Beam hardening of water and contrast of 1 cm of bone (1.92 g/cm3) that replaces water in 20 cm, 0.2 keV."""
    energies, photons = tube(kvp, 0.2)
    keep = energies > LOWEST_KEV
    energies, photons = energies[keep], photons[keep]
    water, bone_mu = attenuation("water", energies), attenuation(bone, energies)
    signal = photons * energies * np.exp(-attenuation("aluminium", energies) * ALUMINIUM_G_CM3 * 0.25)

    def seen(water_cm: float, bone_cm: float = 0.0) -> float:
        return float((signal * np.exp(-water * water_cm - bone_mu * 1.92 * bone_cm)).sum() / signal.sum())

    return {
        "kvp": kvp,
        "bone": bone,
        "hardening": digits(math.log(seen(20)) / 20 / math.log(seen(1))),
        "contrast": digits(1 - seen(19, 1) / seen(20)),
    }


def digits(value: float, count: int = 5) -> float:
    return float(f"{value:.{count}g}")


def rounded(values: np.ndarray) -> list[float]:
    return [digits(v) for v in values]


def table() -> dict[str, object]:
    spectra = {}
    line_energies = sorted({energy for kvp in KVP for energy in lines(kvp)})
    for kvp in KVP:
        energies, photons = tube(kvp, 1.0, char=False)
        keep = energies > LOWEST_KEV
        scale = 1 / photons[keep].sum()
        spectra[str(kvp)] = {
            "bremsstrahlung": rounded(photons[keep] * scale),
            "lines": rounded(np.array([lines(kvp).get(energy, 0.0) for energy in line_energies]) * scale),
        }
    return {
        "source": (
            f"made by physics/make_tables.py with spekpy {version('spekpy')} and xraylib {version('xraylib')}; "
            f"tungsten anode at {ANODE_DEG:g} degrees, no filtration, no air; bremsstrahlung per keV from "
            f"{LOWEST_KEV:g} keV on, scaled to a sum of 1; energy absorption of air from NIST XAAMDI"
        ),
        "energies_kev": rounded(ENERGIES_KEV),
        "mass_attenuation_cm2_g": {name: rounded(attenuation(name, ENERGIES_KEV)) for name in COMPOSITIONS},
        "air_energy_absorption_cm2_g": rounded(air_absorption(ENERGIES_KEV)),
        "lowest_kev": LOWEST_KEV,
        "line_energies_kev": line_energies,
        "tubes": spectra,
        "checks": {
            "spectra": [spectrum_check(*beam) for beam in SPECTRUM_CHECKS],
            "transmission": [
                transmission_check(kvp, bone) for bone in ("bone", "bone_icrp") for kvp in (60, 80, 100, 120)
            ],
            "between_grid_points": {
                "energies_kev": list(MATERIAL_CHECKS_KEV),
                **{name: rounded(attenuation(name, np.array(MATERIAL_CHECKS_KEV))) for name in COMPOSITIONS},
            },
        },
    }


def main() -> None:
    entries = []
    for key, value in table().items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            entries.append(f"{json.dumps(key)}: {{\n{inner}\n }}")
        else:
            entries.append(f"{json.dumps(key)}: {json.dumps(value)}")
    OUT.write_text("{\n " + ",\n ".join(entries) + "\n}\n", "utf-8")
    shape = np.array(AIR_ABSORPTION_CM2_G) / _transfer(np.array(AIR_ABSORPTION_KEV, float))
    print(f"wrote {OUT.name}, {OUT.stat().st_size / 1000:.1f} kB")
    print(
        f"energy absorption of air: NIST is {shape.min():.3f} to {shape.max():.3f} times the shape between its points"
    )


if __name__ == "__main__":
    main()
