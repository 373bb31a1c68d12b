"""How alike two intensity volumes are.

PSNR and SSIM mean nothing without the range of the data, so the range has no default: 4096 on a
volume of values 0..1 turns every SSIM into 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from skimage.metrics import structural_similarity

from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.volume import Volume, require_same_grid

SSIM_VOXELS = 11  # edge of the Gaussian window


def image_scores(reference: Volume, prediction: Volume, *, data_range: float) -> dict[str, float]:
    """All metrics of two volumes on one grid, with the range that was used.

    Args:
        data_range: largest minus smallest value that can occur (4096 for 12-bit CT), in the unit
            of the data.
    Raises:
        GeometryError: different grids.
        DataError: values that are not finite, or a volume under 11 voxels.
    """
    require_same_grid(reference.grid, prediction.grid, "reference", "prediction")
    a, b = reference.data, prediction.data
    return {
        "mse": mean_squared_error(a, b),
        "mae": mean_absolute_error(a, b),
        "psnr_db": peak_signal_to_noise_db(a, b, data_range=data_range),
        "ssim": structural_similarity_index(a, b, data_range=data_range),
        "fd_raw": frequency_distance_raw(a, b),
        "data_range": float(data_range),
    }


def mean_squared_error(reference: NDArray, prediction: NDArray) -> float:
    """Mean of the squared differences, in the unit of the data squared."""
    return float(np.mean(np.square(_difference(reference, prediction))))


def mean_absolute_error(reference: NDArray, prediction: NDArray) -> float:
    """Mean of the absolute differences, in the unit of the data."""
    return float(np.mean(np.abs(_difference(reference, prediction))))


def peak_signal_to_noise_db(reference: NDArray, prediction: NDArray, *, data_range: float) -> float:
    """10 log10(range^2 / MSE) in dB; inf for identical volumes."""
    _require_range(data_range)
    error = mean_squared_error(reference, prediction)
    return 10 * math.log10(data_range**2 / error) if error else math.inf


def structural_similarity_index(reference: NDArray, prediction: NDArray, *, data_range: float) -> float:
    """Mean SSIM over the volume, -1..1.

    Gaussian window of sigma 1.5 voxels (11 voxels wide), K1 = 0.01, K2 = 0.03, population
    covariance: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    _require_range(data_range)
    a, b = _pair(reference, prediction)
    if min(a.shape) < SSIM_VOXELS:
        raise DataError(f"volume of shape {a.shape} is too small for SSIM; its window has {SSIM_VOXELS} voxels")
    return float(
        structural_similarity(
            a, b, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def frequency_distance_raw(reference: NDArray, prediction: NDArray) -> float:
    """log10 of the mean |Re dF| plus the mean |Im dF| over all frequencies, dF the difference of the FFTs.

    The FFT is orthonormal. -inf for identical volumes. Source: EAR; the published values are
    normalised over an unnamed set and cannot be had back, so this one is raw.
    """
    difference = _difference(reference, prediction)
    half = fft.rfftn(difference, norm="ortho")
    twice = np.full(half.shape[-1], 2.0)  # frequencies of which the half spectrum holds one of two
    twice[0] = 1.0
    if difference.shape[-1] % 2 == 0:
        twice[-1] = 1.0
    distance = float((np.abs(half.real) * twice).sum() + (np.abs(half.imag) * twice).sum()) / difference.size
    return math.log10(distance) if distance else -math.inf


def _difference(reference: NDArray, prediction: NDArray) -> NDArray[np.float64]:
    a, b = _pair(reference, prediction)
    return b - a


def _pair(reference: NDArray, prediction: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if reference.shape != prediction.shape:
        raise GeometryError(
            f"reference has shape {reference.shape}, prediction {prediction.shape}; resample one to the other"
        )
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    for name, data in (("reference", a), ("prediction", b)):
        if not np.isfinite(data).all():
            raise DataError(f"{name} holds values that are not finite; repair the volume")
    return a, b


def _require_range(data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ConfigError(f"data_range is {data_range}; it must be the positive span of the values (4096 for 12 bits)")
