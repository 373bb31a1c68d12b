"""Prints the physics of radiographs beside what spekpy and xraylib say of the same beams; docs/projection.md shows it.

Needs boneray alone: python physics/check_tables.py
"""

import numpy as np

from boneray.projection.attenuation import tables
from boneray.projection.detector import signal
from boneray.projection.spectrum import Beam

BONE_G_CM3 = 1.92
ENERGIES = (1, 4, 8, 16)


def main() -> None:
    checks = tables()["checks"]
    row("kVp", "mm Al", "half-value layer, mm Al", "spekpy", "difference", "mean energy, keV", "spekpy")
    rule(7)
    for made in checks["spectra"]:
        beam, theirs = Beam(made["kvp"], made["filtration_al_mm"]), made["half_value_layer_al_mm"]
        layer = beam.half_value_layer_mm()
        energies = f"{beam.full.mean_energy_kev:.2f}", f"{made['mean_energy_kev']:.2f}"
        row(f"{beam.kvp:g}", beam.filtration_al_mm, f"{layer:.3f}", theirs, f"{layer / theirs - 1:+.2%}", *energies)
    print()
    row(
        "kVp", "bone", "mu of 20 cm over 1 cm of water", "at 0.2 keV", "contrast of 1 cm of bone in 20 cm", "at 0.2 keV"
    )
    rule(6)
    for made in checks["transmission"]:
        beam, bone = Beam(made["kvp"], 2.5), made["bone"]
        hardening = np.log(seen(20, 0, bone, beam)) / 20 / np.log(seen(1, 0, bone, beam))
        contrast = 1 - seen(19, 1, bone, beam) / seen(20, 0, bone, beam)
        row(f"{beam.kvp:g}", bone, f"{hardening:.4f}", made["hardening"], f"{contrast:.4f}", made["contrast"])
    print()
    row("kVp", *(f"{count} energ{'y' if count == 1 else 'ies'}" for count in ENERGIES))
    rule(1 + len(ENERGIES))
    water, bone_cm = np.meshgrid(np.linspace(0, 30, 31), np.linspace(0, 5, 26), indexing="ij")
    for kvp in (60, 80, 100, 120, 140):
        full = np.log(seen(water, bone_cm, "bone", Beam(kvp, 2.5, 1000)))
        few = [np.log(seen(water, bone_cm, "bone", Beam(kvp, 2.5, count))) for count in ENERGIES]
        row(kvp, *(f"{np.abs(one - full).max():.4f}" for one in few))


def seen(water_cm: object, bone_cm: object, bone: str, beam: Beam) -> np.ndarray:
    """Signal behind water and bone, relative to the open beam."""
    return signal(
        np.stack([np.atleast_2d(water_cm), BONE_G_CM3 * np.atleast_2d(bone_cm)]), ["water", bone], beam
    ).squeeze()


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def rule(columns: int) -> None:
    row(*["---"] * columns)


if __name__ == "__main__":
    main()
