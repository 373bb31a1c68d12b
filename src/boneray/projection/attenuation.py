"""Materials: how strongly each attenuates, and which one a voxel of a CT is made of.

The coefficients come from `spectra.json`, which `physics/make_tables.py` writes (xraylib; they equal the NIST tables to
0.1 %). Which material: Unberath et al., "DeepDRR", MICCAI 2018, segment a CT into air, soft tissue and bone and project
each by itself; here by their thresholds, plus metal.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.errors import ConfigError, GeometryError
from boneray.core.registry import unknown_name

# What a voxel can be; its place here is the material id. Bone is cortical bone (ICRU-44), metal is titanium.
MATERIALS = ("air", "soft_tissue", "bone", "metal")
AIR, SOFT_TISSUE, BONE, METAL = range(4)

# Nominal densities (NIST XAAMDI; titanium from the CRC Handbook).
DENSITY_G_CM3 = {
    "air": 0.001205,
    "soft_tissue": 1.06,
    "bone": 1.92,
    "metal": 4.506,
    "water": 1.0,
    "aluminium": 2.699,
    "bone_icrp": 1.85,
}

AIR_UP_TO_HU = -800.0
SOFT_TISSUE_UP_TO_HU = 350.0
# Cortical bone ends near 2000 HU, and a 12-bit CT at 3071: what comes so close to its end has been cut off. Titanium
# has more than 10000 HU, so 16-bit volumes need no other threshold.
METAL_FROM_HU = 3000.0

# Effective energy of the 120 kVp beams of CT: at 70 keV cortical bone of 1.92 g/cm3 has 1560 HU, at 60 keV 1940;
# the measured scale of Schneider et al. gives it 1525.
CT_EFFECTIVE_KEV = 70.0

# Schneider, Bortfeld and Schlegel, Phys Med Biol 45:459, 2000: density in g/cm3 at HU, straight in between (their
# equations 17 to 23; from 100 HU on 1.017 + 0.592 HU/1000, continued here above their 1600 HU).
_SCHNEIDER_HU = (-1000.0, -98.0, 14.0, 23.0, 100.0, 100.001, 1600.0, 30000.0)
_SCHNEIDER_G_CM3 = (0.00121, 0.930486, 1.0305, 1.0299, 1.1199, 1.0762, 1.9642, 18.777)

DensityRule = Literal["attenuation", "schneider"]
_CHUNK = 1 << 20  # voxels worked on at once: temporary arrays stay small beside a 512^3 volume


def mass_attenuation_cm2_g(material: str, energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Total mass attenuation of a material (absorption and all scatter), cm2/g, for energies from 5 to 150 keV.

    Straight lines in log-log between tabulated energies 1 keV apart.
    """
    coefficients = tables()["mass_attenuation_cm2_g"]
    if material not in coefficients:
        raise ConfigError(unknown_name("material", material, list(coefficients)))
    return _log_log(coefficients[material], energies_kev)


def air_absorption_cm2_g(energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Mass energy-absorption coefficient of dry air, cm2/g (NIST XAAMDI): what turns energy fluence into air kerma."""
    return _log_log(tables()["air_energy_absorption_cm2_g"], energies_kev)


def materials_from_hu(
    hu: NDArray,
    bone: NDArray[np.bool_] | None = None,
    density: DensityRule = "attenuation",
    ct_kev: float = CT_EFFECTIVE_KEV,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Material id and mass density of every voxel.

    Args:
        hu: (i, j, k) Hounsfield units.
        bone: (i, j, k) mask that decides on bone whatever the HU are, metal's too; outside it, what is denser than
            soft tissue counts as soft tissue, and metal is metal. Without one, bone is 350 to 3000 HU.
        density: "attenuation" gives a voxel the density with which its material attenuates at `ct_kev` as the CT
            measured it: water's times (1 + HU/1000). "schneider" gives the density of the tissue that has these HU;
            as the one bone here is cortical, it lets spongy bone attenuate too much (400 HU as 670).
        ct_kev: effective energy of the CT, for "attenuation".
    Returns:
        ids into `MATERIALS` (uint8) and g/cm3 (float32), both (i, j, k). Metal has its nominal density, because
        its HU are usually cut off.
    """
    if bone is not None and bone.shape != hu.shape:
        raise GeometryError(f"the bone mask has shape {bone.shape} and the CT {hu.shape}; they must be the same")
    if density not in ("attenuation", "schneider"):
        raise ConfigError(unknown_name("density rule", density, ["attenuation", "schneider"]))
    per_material = _density_at_0_hu(ct_kev)
    ids = np.empty(hu.shape, np.uint8)
    densities = np.empty(hu.shape, np.float32)
    slab = max(1, _CHUNK * len(hu) // max(1, hu.size))
    for start in range(0, len(hu), slab):
        part = slice(start, start + slab)
        values = hu[part].astype(np.float32)
        found = ids[part]
        found[...] = SOFT_TISSUE
        found[values <= AIR_UP_TO_HU] = AIR
        if bone is None:
            found[values > SOFT_TISSUE_UP_TO_HU] = BONE
        found[values >= METAL_FROM_HU] = METAL
        if bone is not None:
            found[bone[part]] = BONE
        if density == "schneider":
            densities[part] = np.interp(values, _SCHNEIDER_HU, _SCHNEIDER_G_CM3)
        else:
            densities[part] = per_material[found] * np.maximum(1.0 + values / 1000.0, 0.0)
        densities[part][found == METAL] = DENSITY_G_CM3["metal"]
    return ids, densities


def _density_at_0_hu(ct_kev: float) -> NDArray[np.float32]:
    """g/cm3 at which each material attenuates like water at this energy."""
    water = mass_attenuation_cm2_g("water", ct_kev) * DENSITY_G_CM3["water"]
    return np.array([water / mass_attenuation_cm2_g(name, ct_kev) for name in MATERIALS], np.float32)


def _log_log(values: list[float], energies_kev: ArrayLike) -> NDArray[np.float64]:
    wanted = np.asarray(energies_kev, dtype=np.float64)
    grid = tables()["energies_kev"]
    if wanted.size and not (wanted.min() >= grid[0] and wanted.max() <= grid[-1]):
        raise ConfigError(
            f"energies of {wanted.min():g} to {wanted.max():g} keV are asked for; "
            f"the tables hold {grid[0]:g} to {grid[-1]:g} keV"
        )
    return np.exp(np.interp(np.log(wanted), np.log(grid), np.log(values)))


@cache
def tables() -> dict[str, Any]:
    """What `spectra.json` holds."""
    return json.loads((files("boneray.projection") / "spectra.json").read_text("utf-8"))
