"""Draws what surrounds the bones: body outline, muscle, fat, gas; and what age does to bone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boneray.phantom.scene import Blob, Material, Outline

MUSCLE_HU, FAT_HU, GAS_HU, LUNG_HU, METAL_HU = 55.0, -90.0, -850.0, -820.0, 2800.0


def drawn_outline(
    rng: np.random.Generator, *, centre_mm: tuple[float, float], semi_axes_mm: tuple[float, float]
) -> Outline:
    """A body of about these half axes (lateral, anteroposterior) with drawn fat and noise."""
    size = rng.uniform(0.9, 1.15)
    return Outline(
        centre_mm=(centre_mm[0] + rng.uniform(-6, 6), centre_mm[1] + rng.uniform(-6, 6)),
        semi_axes_mm=(semi_axes_mm[0] * size, semi_axes_mm[1] * size * rng.uniform(0.95, 1.05)),
        fat_mm=float(rng.uniform(8, 30)),
        inner_hu=float(rng.uniform(20, 50)),
        noise_hu=float(rng.uniform(8, 20)),
        noise_seed=int(rng.integers(2**62)),
    )


def blob(
    rng: np.random.Generator, centre_mm: ArrayLike, semi_axes_mm: ArrayLike, hu: float, edge_mm: float = 2.0
) -> Blob:
    """An ellipsoid about there, with a little chance in place and size."""
    centre = np.asarray(centre_mm, dtype=float) + rng.normal(0, 3, 3)
    semi = np.asarray(semi_axes_mm, dtype=float) * rng.uniform(0.85, 1.15, 3)
    x, y, z = centre.tolist()
    a, b, c = semi.tolist()
    return Blob((x, y, z), (a, b, c), hu + float(rng.normal(0, 6)), edge_mm)


def scattered(
    rng: np.random.Generator, count: int, *, low_mm: ArrayLike, high_mm: ArrayLike, hu: tuple[float, float]
) -> list[Blob]:
    """Random ellipsoids of 5-20 mm half axes with centres in a box and HU between two limits."""
    found = []
    for _ in range(count):
        centre = rng.uniform(np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float))
        found.append(blob(rng, centre, rng.uniform(5, 20, 3), float(rng.uniform(*hu))))
    return found


def drawn_age(rng: np.random.Generator) -> float:
    """Years, 20 to 90."""
    return float(rng.uniform(20, 90))


def bone_material(rng: np.random.Generator, age: float) -> Material:
    """Cortex 1.5-4 mm and trabecular bone of 100-350 HU, both less with age."""
    youth = (90.0 - age) / 70.0
    return Material(
        cortex_hu=float(1080 + 280 * youth + rng.normal(0, 60)),
        inner_hu=float(np.clip(120 + 160 * youth + rng.normal(0, 25), 100, 350)),
        cortex_mm=float(np.clip(1.7 + 1.1 * youth + rng.normal(0, 0.2), 1.5, 3.2)),
    )


def metal() -> Material:
    """Titanium or steel, the same throughout."""
    return Material(METAL_HU, METAL_HU, 1.0, METAL_HU, 1.0)
