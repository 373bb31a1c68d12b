"""Metrics of intensity volumes against closed forms and against MONAI's SSIM."""

import math

import numpy as np
import pytest

from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import Volume
from boneray.metrics.intensity import (
    frequency_distance_raw,
    image_scores,
    mean_absolute_error,
    mean_squared_error,
    peak_signal_to_noise_db,
    structural_similarity_index,
)


def noise(seed, shape=(16, 15, 14)):
    return np.random.default_rng(seed).random(shape)


def test_constant_error_of_a_tenth():
    reference = noise(0)
    prediction = reference + 0.1
    assert peak_signal_to_noise_db(reference, prediction, data_range=1.0) == pytest.approx(20.0, abs=1e-9)
    assert mean_squared_error(reference, prediction) == pytest.approx(0.01, abs=1e-12)
    assert mean_absolute_error(reference, prediction) == pytest.approx(0.1, abs=1e-12)


def test_errors_of_mixed_sign_by_hand():
    reference, prediction = np.zeros((2, 1, 2)), np.array([[[1.0, -1.0]], [[3.0, 0.0]]])
    assert mean_squared_error(reference, prediction) == pytest.approx(11 / 4)
    assert mean_absolute_error(reference, prediction) == pytest.approx(5 / 4)


def test_identical_volumes():
    volume = Volume(noise(1), Grid((16, 15, 14), (1, 1, 1), (0, 0, 0)))
    found = image_scores(volume, volume, data_range=1.0)
    assert found == {
        "mse": 0.0,
        "mae": 0.0,
        "psnr_db": math.inf,
        "ssim": pytest.approx(1.0, abs=1e-12),
        "fd_raw": -math.inf,
        "data_range": 1.0,
    }


def test_the_range_is_required_and_changes_the_result():
    reference, prediction = noise(2), noise(3)
    right = structural_similarity_index(reference, prediction, data_range=1.0)
    assert right < 0.1
    assert structural_similarity_index(reference, prediction, data_range=4096.0) > 0.9999
    with pytest.raises(TypeError, match="data_range"):
        structural_similarity_index(reference, prediction)
    with pytest.raises(ConfigError, match="data_range is 0"):
        peak_signal_to_noise_db(reference, prediction, data_range=0.0)


@pytest.mark.parametrize("shape", [(16, 15, 14), (12, 11, 13)])
def test_ssim_is_that_of_monai(shape):
    torch = pytest.importorskip("torch")
    regression = pytest.importorskip("monai.metrics.regression")
    reference = noise(4, shape)
    prediction = 0.7 * reference + 0.3 * noise(5, shape)
    peer = regression.SSIMMetric(spatial_dims=3, data_range=1.0, kernel_sigma=1.5, win_size=11)
    expected = peer(torch.from_numpy(prediction)[None, None], torch.from_numpy(reference)[None, None]).item()
    assert structural_similarity_index(reference, prediction, data_range=1.0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 4), (5, 6, 7)])
def test_frequency_distance_is_that_of_the_full_fft(shape):
    reference, prediction = noise(6, shape), noise(7, shape)
    difference = np.fft.fftn(prediction, norm="ortho") - np.fft.fftn(reference, norm="ortho")
    expected = math.log10(np.abs(difference.real).mean() + np.abs(difference.imag).mean())
    assert frequency_distance_raw(reference, prediction) == pytest.approx(expected, abs=1e-12)


def test_frequency_distance_of_a_constant_offset():
    # All of the difference c is in frequency 0, sqrt(N) c there, so the mean is c / sqrt(N).
    reference = noise(8, (5, 6, 4))
    assert frequency_distance_raw(reference, reference + 0.5) == pytest.approx(
        math.log10(0.5 / math.sqrt(120)), abs=1e-9
    )


def test_what_cannot_be_compared_is_refused():
    grid = Grid((16, 15, 14), (1, 1, 1), (0, 0, 0))
    with pytest.raises(GeometryError, match="different grids"):
        image_scores(Volume(noise(0), grid), Volume(noise(0), Grid((16, 15, 14), (2, 1, 1), (0, 0, 0))), data_range=1)
    with pytest.raises(GeometryError, match="shape"):
        mean_squared_error(noise(0), noise(0)[1:])
    with pytest.raises(DataError, match="prediction holds values that are not finite"):
        mean_squared_error(noise(0), np.full((16, 15, 14), np.nan))
    with pytest.raises(DataError, match="too small for SSIM"):
        structural_similarity_index(noise(0, (10, 16, 16)), noise(1, (10, 16, 16)), data_range=1.0)
