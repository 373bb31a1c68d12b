"""What a network that predicts intensities learns from a case: the bone alone in air, as z-scores."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.volume import Volume
from boneray.geometry.resample import resample_volume

AIR_HU = -1000.0


def isolated_bone(mask: NDArray, grid: Grid, ct: Volume | None, *, case_id: str) -> NDArray[np.float32]:
    """(I, J, K) HU on the working grid, with air in every voxel where `mask` is 0.

    A case of a data set of isolated bones (`boneray list datasets`, ear-vertebra) is not changed.

    Raises:
        DataError: the case has no CT.
    """
    if ct is None:
        raise DataError(f"case {case_id} has no ct.nii.gz; a model that learns intensities needs one")
    if not ct.grid.matches(grid):
        ct = resample_volume(Volume(ct.data.astype(np.float32), ct.grid), grid, fill=AIR_HU)
    return np.where(mask > 0, ct.data, AIR_HU).astype(np.float32)


def z_scores(hu: NDArray[np.float32], *, case_id: str) -> tuple[NDArray[np.float32], float, float]:
    """The volume with mean 0 and SD 1, and the mean and SD in HU that undo it.

    Raises:
        DataError: every voxel has the same value.
    """
    mean, spread = float(hu.mean(dtype=np.float64)), float(hu.std(dtype=np.float64))
    if not spread > 0:
        raise DataError(f"case {case_id} has the same HU in every voxel, so nothing can be learnt; check its labels")
    return ((hu - mean) / spread).astype(np.float32), mean, spread


def mean_scale(scales: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Mean of the means and mean of the SDs of many cases, HU."""
    mean, spread = np.mean(np.array(list(scales), float), axis=0)
    return float(mean), float(spread)
