"""Our numbers against those of two libraries that share no code with ours."""

import math

import numpy as np
import pytest

from boneray.io.nifti import read_labels
from boneray.metrics.facts import case_facts, mask_facts
from boneray.metrics.registry import METRICS

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs: deprecations, and empty masks

NAMES = ("dice", "hd_mm", "hd95_mm", "asd_reference_to_prediction_mm", "asd_prediction_to_reference_mm", "assd_mm")
TOLERANCES_MM = (0.5, 2.0, 3.5)


@pytest.fixture(scope="module")
def surface_distance():
    return pytest.importorskip(
        "surface_distance", reason="surface-distance is not installed; pip install 'boneray[oracles]'"
    )


@pytest.fixture(scope="module")
def monai():
    return pytest.importorskip("monai.metrics", reason="MONAI is not installed; pip install monai")


def bodies(seed, shape=(24, 22, 20)):
    """Two lumps that overlap for the most part, cut by the border of the grid."""
    rng = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    out = []
    for _ in range(2):
        centre, radii = rng.uniform(6, 14, 3), rng.uniform(5, 10, 3)
        lump = (((index - centre) / radii) ** 2).sum(-1) < 1
        out.append(lump ^ (rng.random(shape) < 0.03))
    return out


def second_opinion(peer, reference, prediction, spacing):
    found = peer.compute_surface_distances(reference, prediction, spacing)
    there, back = peer.compute_average_surface_distance(found)
    area, other = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
    return [
        peer.compute_dice_coefficient(reference, prediction),
        peer.compute_robust_hausdorff(found, 100),
        peer.compute_robust_hausdorff(found, 95),
        there,
        back,
        (there * area + back * other) / (area + other),
        *(peer.compute_surface_dice_at_tolerance(found, t) for t in TOLERANCES_MM),
    ]


def ours(facts):
    return [METRICS.get(name).value(facts) for name in (*NAMES, *(f"nsd_{t}mm" for t in TOLERANCES_MM))]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 2.5, 2.5), (0.8, 1.3, 2.1)])
@pytest.mark.parametrize("seed", range(4))
def test_surface_distance_agrees_on_lumps(surface_distance, seed, spacing):
    reference, prediction = bodies(seed)
    expected = second_opinion(surface_distance, reference, prediction, spacing)
    assert ours(mask_facts(reference, prediction, spacing)) == pytest.approx(expected, abs=1e-5)


def test_surface_distance_agrees_on_every_code(surface_distance):
    # Noise holds all 256 neighbourhoods, so a wrong area of any of them shows.
    rng = np.random.default_rng(7)
    reference, prediction = rng.random((2, 14, 13, 12)) < 0.5
    spacing = (0.9, 1.4, 2.2)
    facts = mask_facts(reference, prediction, spacing)
    assert len(np.unique(facts.case.surfels[0].of(1)[1])) > 240
    peer = surface_distance.compute_surface_distances(reference, prediction, spacing)
    assert np.sort(facts.surface.reference_to_prediction.areas_mm2) == pytest.approx(
        np.sort(peer["surfel_areas_gt"]), abs=1e-9
    )
    assert ours(facts) == pytest.approx(second_opinion(surface_distance, reference, prediction, spacing), abs=1e-5)


@pytest.mark.data
def test_surface_distance_agrees_on_every_bone_of_a_body(surface_distance, test_data):
    folder = test_data / "allbones_TotalSegmentator_s0308"
    reference, prediction = (read_labels(folder / f"s0308_all_{name}.nii.gz") for name in ("label", "pred_swinx2sbase"))
    found = case_facts(reference, prediction)
    present = {bone_id: facts for bone_id, facts in found.items() if facts.status == "present"}
    assert (len(present), sum(facts.n_reference > 0 for facts in found.values())) == (39, 40)
    for bone_id, facts in present.items():
        masks = reference.mask(bone_id), prediction.mask(bone_id)
        expected = second_opinion(surface_distance, *masks, reference.grid.spacing_mm)
        assert ours(facts) == pytest.approx(expected, abs=1e-5), bone_id


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.3, 2.1)])
@pytest.mark.parametrize("seed", range(3))
def test_monai_agrees_on_overlap_and_on_its_own_hd95(monai, seed, spacing):
    torch = pytest.importorskip("torch")
    reference, prediction = bodies(seed)
    facts = mask_facts(reference, prediction, spacing)
    a, b = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (prediction, reference))
    dice = monai.DiceMetric()(a, b).item()
    hd95 = monai.HausdorffDistanceMetric(include_background=True, percentile=95)(a, b, spacing=spacing).item()
    assert METRICS.get("dice").value(facts) == pytest.approx(dice, abs=1e-6)
    assert METRICS.get("hd95_voxel_mm").value(facts) == pytest.approx(hd95, abs=1e-5)


def test_monai_drops_what_is_missed_and_we_do_not(monai):
    torch = pytest.importorskip("torch")
    bone, nothing = bodies(0)[0], np.zeros((24, 22, 20), bool)
    a, b = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (nothing, bone))
    assert math.isnan(monai.HausdorffDistanceMetric(include_background=True, percentile=95)(a, b).item())
    facts = mask_facts(bone, nothing, (1.0, 1.0, 1.0))
    assert METRICS.get("hd95_voxel_mm").value(facts) == METRICS.get("hd95_mm").value(facts) == math.inf
