"""Published predictions through the whole command give the numbers of two independent libraries and of the papers."""

import csv
import json

import pytest

pytestmark = pytest.mark.data

# CTPelvic1K 0243 by model: class means of Dice, HD95, ASSD, NSD at 2 mm, L-error and identification rate (VerSe), made
# with surface-distance (git 1f805ce); then what Swin-X2S' test script gives: Dice, HD95, ID-rate (MONAI 1.6.1).
PELVIS = {
    "onedconcat": (
        (0.3835878695912469, 30.663913139438254, 9.74327773978589, 0.15245966144513776, 22.995057737247226, 1 / 3),
        (0.5357399359345436, 31.71019995599636, 1 / 3),
    ),
    "swinx2sbase": (
        (0.8287605841608867, 4.184572988955831, 1.2139450048222866, 0.6007039660152986, 2.772730352558859, 1.0),
        (0.870817631483078, 4.664616837493668, 1.0),
    ),
    "twodpermuteconcat": (
        (0.5981958123644594, 33.13825633957277, 5.412957872733782, 0.2688526874689225, 11.582610266630141, 1.0),
        (0.6967499777674675, 31.975018398188695, 1.0),
    ),
    "unet": (
        (0.7308242269760102, 8.066061270577682, 2.6263014937550886, 0.3835677699222882, 5.735030693715178, 1.0),
        (0.7968753129243851, 8.694324212414358, 1.0),
    ),
}
COLUMNS = ("dice", "hd95_mm_present", "assd_mm_present", "nsd_2.0mm", "localisation_error_mm_present", "id_rate_verse")
OF_SWIN_X2S = ("swin-x2s:dice", "swin-x2s:hd95_mm", "swin-x2s:id_rate")


@pytest.fixture
def pelves(test_data, tmp_path):
    """Two folders with one case per model, linked to the files."""
    source = test_data / "pelvis_CTPelvic1K_0243"
    for model in PELVIS:
        end = "_grid128.nii.gz" if model == "onedconcat" else ".nii.gz"
        for side, name in (("reference", f"label{end}"), ("prediction", f"pred_{model}{end}")):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / f"{model}.nii.gz").symlink_to(source / f"pelvis0243_{name}")
    return tmp_path


def test_four_predictions_of_a_pelvis(boneray, pelves):
    done = boneray(
        "evaluate", "--reference", pelves / "reference", "--prediction", pelves / "prediction",
        "--labels", "ctpelvic1k", "--mode", "paper:swin-x2s", "--out", pelves / "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "below one voxel (up to 3.25 mm) in 4 of 4 cases" in done.err
    with (pelves / "out" / "cases.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows.keys() == PELVIS.keys()
    for model, (ours, theirs) in PELVIS.items():
        found = [float(rows[model][name]) for name in COLUMNS]
        assert found[0] == pytest.approx(ours[0], abs=1e-6)
        assert found[1:3] == pytest.approx(ours[1:3], abs=1e-4)
        assert found[3] == pytest.approx(ours[3], abs=1e-5)
        assert found[4] == pytest.approx(ours[4], abs=1e-4) and found[5] == ours[5]
        found = [float(rows[model][name]) for name in OF_SWIN_X2S]
        assert found[0] == pytest.approx(theirs[0], abs=1e-6) and found[2] == theirs[2]
        assert found[1] == pytest.approx(theirs[1], abs=1e-4)
    mean = json.loads((pelves / "out" / "summary.json").read_text())["metrics"]["dice"]["mean"]
    assert mean == pytest.approx(sum(ours[0] for ours, _ in PELVIS.values()) / 4, abs=1e-6)


def test_the_published_row_of_a_rib_cage(boneray, test_data):
    """AttentionUnet on s0046: DSC 0.54, HD95 4.0 and ASD 0.77, printed as mm; on its 1.5 mm grid these are voxels."""
    folder = test_data / "masks_xrayto3D"
    pair = ("--reference", folder / "s0046_rib_msk_gt.nii.gz", "--prediction", folder / "s0046_rib_msk_pred.nii.gz")
    done = boneray("evaluate", *pair, "--mode", "paper:xrayto3d", "--json")
    assert done.code == 0, done.err
    (case,) = json.loads(done.out)["cases"]
    assert {name: case["paper"][name] for name in ("dsc", "hd95_voxels", "asd_voxels")} == {
        "dsc": 0.54,
        "hd95_voxels": 4.0,
        "asd_voxels": 0.77,
    }
    said = boneray("evaluate", *pair, "--mode", "paper:xrayto3d").out
    assert "xrayto3d:asd_voxels: Printed as ASD (mm). It is in voxels, and one-sided" in said
