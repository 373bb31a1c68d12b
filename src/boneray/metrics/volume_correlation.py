"""Do predicted volumes follow the true ones over many cases?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boneray.core.errors import DataError


@dataclass(frozen=True)
class VolumeCorrelation:
    """Correlation of the volumes of one bone over cases.

    Attributes:
        pearson: linear correlation; blind to a wrong scale or offset.
        lin: Lin's concordance, 1 only if the volumes are equal.
        n_cases: cases behind it; under 2, or without any spread, both are NaN.
    """

    pearson: float
    lin: float
    n_cases: int


def volume_correlation(reference_mm3: Sequence[float], prediction_mm3: Sequence[float]) -> VolumeCorrelation:
    """Correlation over cases of the volumes of one bone; a missed bone has the volume 0.

    Never over the bones of one case: large and small bones correlate whatever was predicted.
    Source: Lin 1989, doi:10.2307/2532051 (population moments).
    """
    a, b = np.asarray(reference_mm3, dtype=float), np.asarray(prediction_mm3, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"{a.size} reference and {b.size} predicted volumes; give one of each per case")
    if len(a) < 2:
        return VolumeCorrelation(math.nan, math.nan, len(a))
    covariance = float(np.mean((a - a.mean()) * (b - b.mean())))
    spread = math.sqrt(float(a.var() * b.var()))
    total = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return VolumeCorrelation(
        covariance / spread if spread else math.nan, 2 * covariance / total if total else math.nan, len(a)
    )
