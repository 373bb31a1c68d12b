"""Models that predict intensities on phantom vertebrae: the study itself, and what it must show."""

from pathlib import Path

import numpy as np
import pytest

from boneray.benchmark.intensity_study import IntensityStudy, angle_study, isolated_vertebra, learning_study, table
from boneray.core.config import load_settings
from boneray.core.errors import ConfigError

PROOF = Path(__file__).parents[2] / "configs" / "ear-phantom.yaml"
TINY = {"train": 2, "test": 2, "voxels": 32, "steps": 1, "batch_size": 2, "seeds": (1,)}


def test_views_are_as_far_apart_as_asked_and_the_lateral_one_stays():
    case = isolated_vertebra(0, seed=1, voxels=32, between_deg=120.0)
    rays = [r.camera.central_ray for r in case.radiographs]
    assert np.rad2deg(np.arccos(rays[0] @ rays[1])) == pytest.approx(120.0, abs=1e-6)
    assert abs(rays[1] @ [1, 0, 0]) == pytest.approx(1.0, abs=1e-9)
    assert set(np.unique(case.ct.data[case.classes == 0])) == {-1000}


def test_every_angle_is_trained_anew_and_has_its_row():
    study = IntensityStudy(kind="angles", models=("ear",), between_deg=(60.0, 140.0), **TINY)
    rows = angle_study(study)
    assert [row.between_deg for row in rows] == [60.0, 140.0]
    assert all(row.scores["mae"].shape == (1, 2) for row in rows)
    assert not np.array_equal(rows[0].scores["mae"], rows[1].scores["mae"])
    assert table(study, rows).count("| ear |") == 2


def test_only_models_that_predict_intensities_are_compared():
    with pytest.raises(ConfigError, match="unet learns labels"):
        learning_study(IntensityStudy(models=("unet",), **TINY))


@pytest.mark.slow
def test_ear_beats_the_mean_volume_on_unseen_vertebrae():
    """In FD and SSIM, for each of three seeds, at the size of configs/ear-phantom.yaml."""
    study = load_settings(IntensityStudy, file=PROOF).model_copy(update={"models": ("mean_volume", "ear")})
    mean, ear = learning_study(study)
    assert (ear.scores["ssim"].mean(axis=1) > mean.scores["ssim"].mean(axis=1)).all()
    assert (ear.scores["fd_raw"].mean(axis=1) < mean.scores["fd_raw"].mean(axis=1)).all()
