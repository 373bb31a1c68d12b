"""The scores of a case: its JSON, its means and the real reference numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.evaluation.cases import evaluate_case

L1, L2, L3 = (BONES[name].bone_id for name in ("L1", "L2", "L3"))
BONE_KEYS = {
    "dice",
    "iou",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "nsd_2.0mm",
    "localisation_error_mm",
    "id_rate_verse",
    "volume_reference_mm3",
    "volume_prediction_mm3",
    "status",
}


def two_bones(spacing_mm=1.0):
    """L1 is found (shifted by one of its four voxels), L2 is missed, L3 and an unknown id are spurious."""
    grid = Grid.cube(20, 20 * spacing_mm)
    reference, prediction = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    reference[2:6, 2:6, 2:6] = L1
    reference[10:14, 10:14, 10:14] = L2
    prediction[3:7, 2:6, 2:6] = L1
    prediction[10:14, 2:6, 2:6] = L3
    prediction[0, 0, 19] = 200
    return LabelMap(reference, grid), LabelMap(prediction, grid)


def test_json_of_a_case():
    result = evaluate_case("p1", *two_bones()).to_dict()
    assert result["case"] == "p1"
    assert {bone: values["status"] for bone, values in result["bones"].items()} == {
        "L1": "present",
        "L2": "missed",
        "L3": "spurious",
        "label_200": "spurious",
    }
    assert all(set(values) == BONE_KEYS for values in result["bones"].values())
    assert result["bones"]["L1"]["dice"] == pytest.approx(0.75)
    assert result["bones"]["L2"]["hd95_mm"] is None
    assert "Infinity" not in json.dumps(result) and "NaN" not in json.dumps(result)


def test_means_count_missed_bones():
    mean = evaluate_case("p1", *two_bones()).mean()
    assert mean["dice"] == pytest.approx(0.75 / 2)
    assert mean["dice_union"] == pytest.approx(0.75 / 4)
    assert mean["hd95_mm"] == mean["hd95_mm_present"] == pytest.approx(1.0)
    assert mean["hd95_mm_penalised"] == pytest.approx((1.0 + 20 * math.sqrt(3)) / 2)
    assert (mean["n_reference"], mean["n_present"], mean["n_missed"], mean["n_spurious"]) == (2, 1, 1, 2)


def test_empty_prediction_misses_everything():
    reference, _ = two_bones()
    mean = evaluate_case("p1", reference, LabelMap(np.zeros_like(reference.data), reference.grid)).to_dict()["mean"]
    assert mean["dice"] == 0.0
    assert mean["assd_mm"] is None
    assert mean["assd_mm_penalised"] == pytest.approx(20 * math.sqrt(3))


def test_empty_reference_is_an_error():
    reference, prediction = two_bones()
    with pytest.raises(DataError, match="p1"):
        evaluate_case("p1", LabelMap(np.zeros_like(reference.data), reference.grid), prediction)


def test_coarse_grid_adds_a_tolerance_of_one_voxel():
    scores = evaluate_case("p1", *two_bones(spacing_mm=3.0)).to_dict()
    assert set(scores["bones"]["L1"]) == BONE_KEYS | {"nsd_3.0mm"}
    assert scores["bones"]["L1"]["nsd_3.0mm"] == pytest.approx(1.0)
    assert scores["bones"]["L1"]["nsd_2.0mm"] < 1.0


def test_prediction_in_another_axis_order_scores_the_same():
    reference, prediction = two_bones()
    turned = LabelMap(prediction.data[::-1].transpose(2, 0, 1).copy(), _turned(prediction.grid))
    assert turned.grid.to_world((0, 0, 0)) == pytest.approx(prediction.grid.to_world((19, 0, 0)))
    assert evaluate_case("p1", reference, turned).to_dict() == evaluate_case("p1", reference, prediction).to_dict()
    with pytest.raises(GeometryError):
        evaluate_case("p1", reference, turned, resample=False)


def _turned(grid):
    """The grid of `data[::-1].transpose(2, 0, 1)`."""
    affine = grid.world_from_voxel
    affine[:3, 3] = grid.to_world((grid.shape[0] - 1, 0, 0))
    affine[:3, 0] *= -1
    affine[:3, :3] = affine[:3, [2, 0, 1]]
    return Grid.from_affine(grid.shape, affine)


def test_metrics_by_name():
    scores = evaluate_case("p1", *two_bones(), metrics=["dice", "masd_mm"])
    assert set(scores.bones[0].values) == {"dice", "masd_mm"}


# Class means computed with surface-distance (git 1f805ce); see facts/metrics-reference.json.
PELVIS_0243 = {
    "onedconcat": (0.3835878695912469, 30.663913139438254, 9.74327773978589, 0.15245966144513776),
    "swinx2sbase": (0.8287605841608867, 4.184572988955831, 1.2139450048222866, 0.6007039660152986),
    "twodpermuteconcat": (0.5981958123644594, 33.13825633957277, 5.412957872733782, 0.2688526874689225),
    "unet": (0.7308242269760102, 8.066061270577682, 2.6263014937550886, 0.3835677699222882),
}


@pytest.mark.data
@pytest.mark.parametrize("model", PELVIS_0243)
def test_real_predictions_score_as_the_reference_library_says(test_data, model):
    end = "_grid128.nii.gz" if model == "onedconcat" else ".nii.gz"
    folder = test_data / "pelvis_CTPelvic1K_0243"
    reference = _labels(folder / f"pelvis0243_label{end}")
    prediction = _labels(folder / f"pelvis0243_pred_{model}{end}")
    mean = evaluate_case("0243", reference, prediction).mean()
    dice, hd95, assd, nsd = PELVIS_0243[model]
    assert mean["dice"] == pytest.approx(dice, abs=1e-6)
    assert mean["hd95_mm"] == pytest.approx(hd95, abs=1e-4)
    assert mean["assd_mm"] == pytest.approx(assd, abs=1e-4)
    assert mean["nsd_2.0mm"] == pytest.approx(nsd, abs=1e-5)


def _labels(path: Path) -> LabelMap:
    import nibabel

    image = nibabel.load(path)
    data = np.rint(np.asarray(image.dataobj)).astype(np.int16)
    return LabelMap(data, Grid.from_affine(data.shape, image.affine))
