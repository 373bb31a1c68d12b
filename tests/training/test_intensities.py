"""From a case with a CT to a network that predicts intensities, its checkpoint, and a reconstruction in HU."""

import json
import math

import numpy as np
import pytest
import torch

from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.intensities import isolated_bone, mean_scale, z_scores
from boneray.datasets.phantom import write_phantoms
from boneray.datasets.registry import DATASETS
from boneray.evaluation.intensities import reference_volume, score_intensities, score_intensity_folders
from boneray.io.case_folder import case_folders, read_case
from boneray.io.nifti import read_volume
from boneray.models.batch import Intensities
from boneray.models.checkpoint import load_checkpoint
from boneray.models.published_recipes import AS_STORED
from boneray.models.registry import Recipe
from boneray.reconstruction.sources import reconstruct_case
from boneray.training.run import train
from boneray.training.samples import Samples, intensity_scale, load_training_case
from boneray.training.scores import SCORES

QUICK = (
    "recipe.epochs=null",
    "recipe.steps=4",
    "recipe.validations=2",
    "validation_share=0.3",
    "image_shape=[32, 32]",
    "model.channels=[4, 4, 8, 8, 8]",
    "model.edge_channels=4",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vertebrae")
    write_phantoms("vertebra", cases=4, seed=0, out=folder, voxels=32, pixels=32)
    return folder


def first_case(data):
    return case_folders(data)[0]


def test_a_bone_alone_in_air_and_its_z_scores_by_hand():
    grid = Grid.cube(2, 4.0)
    ct = Volume(np.arange(8, dtype=np.int16).reshape(2, 2, 2) * 100, grid)
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[1, 1, 1] = mask[1, 1, 0] = 1
    hu = isolated_bone(mask, grid, ct, case_id="c")
    assert hu[1, 1].tolist() == [600.0, 700.0] and hu.sum() == 600 + 700 - 6000
    values, mean, spread = z_scores(hu, case_id="c")
    assert mean == -587.5 and spread == pytest.approx(math.sqrt((6 * 412.5**2 + 1187.5**2 + 1287.5**2) / 8))
    np.testing.assert_allclose(values * spread + mean, hu, atol=1e-3)
    assert mean_scale([(-900.0, 100.0), (-800.0, 300.0)]) == (-850.0, 200.0)
    with pytest.raises(DataError, match="case c has no ct"):
        isolated_bone(mask, grid, None, case_id="c")
    with pytest.raises(DataError, match="same HU"):
        z_scores(np.full((2, 2, 2), -1000, np.float32), case_id="c")


def test_a_ct_on_another_grid_is_brought_to_the_working_grid():
    fine = Grid.cube(16, 32.0)
    ramp = np.broadcast_to(np.arange(16.0)[:, None, None] * 10, (16, 16, 16)).astype(np.float32)
    grid = Grid.cube(8, 32.0)
    hu = isolated_bone(np.ones((8, 8, 8)), grid, Volume(ramp, fine), case_id="c")
    assert hu[3, 4, 4] == pytest.approx(65.0, abs=0.5)  # midway between the fine voxels 6 and 7


def test_samples_hold_the_z_scores_of_the_target_alone(data):
    case = load_training_case(first_case(data), ("target",), ("ap", "lat"))
    shared = {"count": 2, "image_shape": (32, 32), "class_names": ("target",), "seed": 0}
    sample = Samples([case], recipe=Recipe(), augment=False, learns="intensities", **shared)[0]
    assert abs(float(sample.intensities.mean())) < 1e-4 and float(sample.intensities.std()) == pytest.approx(
        1, abs=1e-3
    )
    mean, spread = intensity_scale(case)
    outside = sample.intensities[torch.from_numpy(case.classes) == 0]
    torch.testing.assert_close(outside, torch.full_like(outside, (-1000 - mean) / spread), atol=1e-4, rtol=0)
    plain = Samples([case], recipe=Recipe(), augment=False, **shared)[0]
    assert plain.intensities is None
    with pytest.raises(ConfigError, match="learns='intensities'"):
        plain.reference("intensities")


def test_pictures_stay_as_stored_where_nothing_moves(data):
    """A recipe without augmentation must not replace radiographs with a spectrum and noise by plain line integrals."""
    case = load_training_case(first_case(data), ("target",), ("ap", "lat"))
    shared = {"count": 2, "image_shape": (32, 32), "class_names": ("target",), "seed": 0}
    stored = Samples([case], recipe=Recipe(), augment=False, **shared)[0].images
    still = Samples([case], recipe=Recipe(**AS_STORED), augment=True, **shared)[0].images
    torch.testing.assert_close(still, stored, atol=1e-4, rtol=0)


def test_the_score_of_validation_by_hand():
    prediction = Intensities(torch.tensor([1.0, 3.0])[:, None, None, None, None].expand(2, 1, 2, 2, 2), 0.0, 1.0, 0.5)
    assert SCORES["intensities"].of(prediction, torch.zeros(2, 2, 2, 2)).tolist() == [-1.0, -3.0]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "ear"
    return out, train("ear", data=data, out=out, overrides=QUICK, device="cpu")


def test_a_run_says_what_it_learnt_and_its_checkpoint_undoes_the_z_scores(data, trained):
    out, run = trained
    assert run["finished"] and run["result"]["validation_minus_mae"] < 0 and "validation_dice" not in run["result"]
    assert "validation_minus_mae" in (out / "metrics.csv").read_text().splitlines()[0]
    network, card = load_checkpoint(out)
    split = json.loads((out / "splits.json").read_text())
    scales = [intensity_scale(load_training_case(data / c, ("target",), ("ap", "lat"))) for c in split["train"]]
    assert network.scale_hu.tolist() == pytest.approx(np.mean(scales, axis=0).tolist(), rel=1e-5)
    assert card.training["validation_minus_mae"] == pytest.approx(run["result"]["validation_minus_mae"], abs=1e-4)


def test_a_stopped_run_goes_on(data, trained):
    out, run = trained
    again = train("ear", data=data, out=out, resume=True, device="cpu")
    assert again["result"] == run["result"]


def test_a_loss_of_labels_is_refused_before_anything_is_written(data, tmp_path):
    with pytest.raises(ConfigError, match="dice_ce is for labels"):
        train("ear", data=data, out=tmp_path / "run", overrides=(*QUICK, "recipe.loss=dice_ce"), device="cpu")
    assert not (tmp_path / "run").exists()


def test_mean_volume_to_a_reconstruction_in_hu_and_its_scores(data, tmp_path):
    train("mean_volume", data=data, out=tmp_path / "run", overrides=("validation_share=0.3",), device="cpu")
    network, _ = load_checkpoint(tmp_path / "run")
    split = json.loads((tmp_path / "run" / "splits.json").read_text())
    cases = [load_training_case(data / c, ("target",), ("ap", "lat")) for c in split["train"]]
    hu = [isolated_bone(c.classes, c.grid, c.ct, case_id=c.case_id) for c in cases]
    mean = np.mean([z_scores(v, case_id="")[0] for v in hu], axis=0)
    np.testing.assert_allclose(network.values[0].numpy(), mean, atol=1e-5)

    folder = first_case(data)
    run = reconstruct_case(folder, checkpoint=str(tmp_path / "run"), out=tmp_path / "out")
    volume = read_volume(tmp_path / "out" / "intensities.nii.gz")
    scale = run["intensities"]
    np.testing.assert_allclose(volume.data, mean * scale["sd_hu"] + scale["mean_hu"], atol=0.05)
    made = read_case(tmp_path / "out")
    assert ((made.labels.data > 0) == (volume.data > scale["threshold_hu"])).all() and scale["threshold_hu"] == -500.0

    found = score_intensity_folders(data, tmp_path / "out")[0]
    reference = reference_volume(read_case(folder))
    assert found.case_id == folder.name and found.threshold_hu == -500.0
    assert found.values["mae"] == pytest.approx(float(np.abs(volume.data - reference.data).mean()), rel=1e-4)
    whole, seen = reference.data > -500, volume.data > -500
    assert found.shape["dice"] == pytest.approx(2 * (whole & seen).sum() / (whole.sum() + seen.sum()))


def test_scores_of_a_volume_that_is_50_hu_too_bright():
    grid = Grid.cube(16, 32.0)
    hu = np.full((16, 16, 16), -1000, np.float32)
    hu[4:12, 4:12, 4:12] = 300
    labels = LabelMap((hu > 0).astype(np.uint8), grid)
    found = score_intensities("c", Volume(hu, grid), Volume(hu + 50, grid), threshold_hu=-500.0)
    assert found.values["mae"] == pytest.approx(50) and found.values["mse"] == pytest.approx(2500)
    assert found.values["psnr_db"] == pytest.approx(10 * math.log10(4096**2 / 2500))
    # a constant is one real frequency of 50 sqrt(V), of V of them
    assert found.values["fd_raw"] == pytest.approx(math.log10(50 / math.sqrt(16**3)), abs=1e-6)
    assert found.shape["dice"] == 1.0 and labels.ids == (1,)


def test_the_z_scores_are_those_that_the_data_set_of_ear_stores(boneray, tmp_path):
    DATASETS.get("ear-verse19").value.write_miniature(tmp_path / "source")
    sizes = ("--voxels", 32, "--size-mm", 128, "--pixels", 32, "--target", "L2")
    got = boneray("prepare", "ear-verse19", "--source", tmp_path / "source", "--out", tmp_path / "cases", *sizes)
    assert got.code == 0, got.err
    folder = first_case(tmp_path / "cases")
    stored = read_case(folder).provenance["z_score"]
    found = intensity_scale(load_training_case(folder, ("target",), ("ap", "lat")))
    assert found == pytest.approx((stored["mean_hu"], stored["sd_hu"]), rel=1e-6)
