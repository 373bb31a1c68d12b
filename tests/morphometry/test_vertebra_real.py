"""Vertebrae and spines of real label maps: VerSe 004 and 230, CTSpine1K 0532, TotalSegmentator s0308.

The numbers of verse004 are those of facts/morphometry.md section 4 and of `reference_code_output` in its
JSON; they lie on the bone, so the contact measurements are what compares with them.
"""

import json

import numpy as np
import pytest

from boneray.core.bones import BONES, VERTEBRAE, bone_name
from boneray.core.volume import LabelMap
from boneray.io.nifti import read_labels
from boneray.morphometry.measure import measure
from tests.morphometry.patients import axis_orders, by_name, marks

VERSE004 = "spine_VerSe_sample_verse004/sub-verse004_seg-vert_msk.nii.gz"
STORED_FLIPPED = {
    "0532": "spine_CTSpine1K_0532/spine0532_label.nii.gz",
    "verse230": "spine_VerSe19_verse230/verse230_label.nii.gz",
    "s0308": "allbones_TotalSegmentator_s0308/s0308_all_label.nii.gz",
}
# (value, tolerance) of the prototype that facts/morphometry.md states, tolerances of target A3
L4_OF_THE_FACTS = {
    "anterior_contact_height_mm": (26.2, 1.5),
    "posterior_contact_height_mm": (23.4, 1.5),
    "superior_contact_length_mm": (33.4, 1.5),
    "inferior_contact_length_mm": (31.3, 1.5),
    "canal_length_mm": (12.1, 1.0),
    "spinous_process_length_mm": (37.2, 1.5),
    "spinous_process_angle_deg": (140.7, 5.0),
}
# reference_code_output of L5; its lengths are short because its surface is shrunk (facts, section 4)
L5_OF_THE_REFERENCE_CODE = {
    "posterior_contact_height_mm": (22.45, 1.5),
    "superior_contact_length_mm": (29.79, 1.5),
    "inferior_contact_length_mm": (34.55, 1.5),
    "canal_length_mm": (12.2, 1.0),
    "spinous_process_length_mm": (32.52, 1.5),
    "spinous_process_angle_deg": (141.2, 5.0),
}


def as_stored(test_data, name):
    return read_labels(test_data / STORED_FLIPPED[name])


def mended(labels):
    """The second axis turned round: these files store it flipped."""
    return LabelMap(np.ascontiguousarray(labels.data[:, ::-1]), labels.grid)


def only_vertebrae(labels):
    return LabelMap(np.where(labels.data <= len(VERTEBRAE), labels.data, 0).astype(np.uint8), labels.grid)


@pytest.fixture(scope="module")
def verse004(test_data):
    return measure(read_labels(test_data / VERSE004), "spine")


@pytest.mark.data
@pytest.mark.parametrize(("bone", "wanted"), [("L4", L4_OF_THE_FACTS), ("L5", L5_OF_THE_REFERENCE_CODE)])
def test_verse004_agrees_with_the_stated_values(verse004, bone, wanted):
    found = by_name(verse004, bone)
    for name, (value, tolerance) in wanted.items():
        assert found[name].status == "ok"
        assert found[name].value == pytest.approx(value, abs=tolerance), name


@pytest.mark.data
def test_bodies_lie_where_verse_has_their_centroids(test_data, verse004):
    """An independent oracle: the centroids of the vertebral bodies that come with the data."""
    import nibabel as nib

    affine = nib.load(test_data / VERSE004).affine
    sidecar = (test_data / VERSE004).with_name("sub-verse004_seg-subreg_ctd.json")
    rows = [row for row in json.loads(sidecar.read_text()) if "label" in row]
    assert len(rows) == 9
    for row in rows:
        centre = affine[:3, :3] @ [row["X"], row["Y"], row["Z"]] + affine[:3, 3]
        points = marks([by_name(verse004, bone_name(row["label"]))["wedge_angle_deg"]])
        corners = np.mean([point for name, point in points.items() if name.endswith("corner")], axis=0)
        assert np.linalg.norm(corners - centre) < 5.0, bone_name(row["label"])


@pytest.mark.data
def test_the_broken_vertebra_of_verse004_is_graded(verse004):
    l1 = by_name(verse004, "L1")
    assert l1["genant_grade"].value == 3
    assert l1["anterior_contact_height_mm"].value < 0.6 * by_name(verse004, "L2")["anterior_contact_height_mm"].value
    assert {by_name(verse004, bone)["genant_grade"].value for bone in ("T11", "T12", "L2", "L3", "L4", "L5")} == {0}


@pytest.mark.data
def test_a_crop_of_one_vertebra_gives_the_values_of_the_whole_scan(test_data, verse004):
    for bone, file in (("L4", "vert-23"), ("L5", "vert-24")):
        crop = read_labels(test_data / f"masks_xrayto3D/sub-verse004_{file}-seg-vert_msk.nii.gz")
        named = LabelMap((crop.data > 0).astype(np.uint8) * BONES[bone].bone_id, crop.grid)
        found, wanted = by_name(measure(named, "vertebra")), by_name(verse004, bone)
        for name in (*L4_OF_THE_FACTS, "wedge_angle_deg", "middle_body_height_mm"):
            if name.startswith("spinous") and found[name].value is None:  # the crop touches the tip
                assert found[name].reason.startswith("cut by the grid")
            else:
                assert found[name].value == pytest.approx(wanted[name].value, abs=0.3), name


@pytest.mark.data
@pytest.mark.parametrize("name", STORED_FLIPPED)
def test_flipped_files_are_reported_and_mended_ones_are_not(test_data, name):
    stored = only_vertebrae(as_stored(test_data, name))
    wrong, right = measure(stored, "spine"), measure(mended(stored), "spine")
    flipped = straight = total = 0
    for a, b in zip(wrong, right, strict=True):
        if a.name != "posterior_body_height_mm" or b.value is None or "scale_implausible" in b.reason:
            continue
        total += 1
        flipped += "frame_implausible" in a.reason
        straight += "frame_implausible" not in b.reason
        assert a.value == pytest.approx(b.value, abs=0.1)
    assert total >= 7
    assert flipped == straight == total


@pytest.mark.data
def test_cervical_spine(test_data):
    found = measure(mended(as_stored(test_data, "verse230")), "spine")
    for bone in ("C1", "C2"):
        assert by_name(found, bone)["anterior_body_height_mm"].status == "not_measurable"
    for bone in ("C3", "C4", "C5", "C6", "C7"):
        row = by_name(found, bone)
        assert row["superior_body_length_mm"].status == "ok"
        assert 12 < row["superior_body_length_mm"].value < 24
        assert 9 < row["posterior_body_height_mm"].value < 18
        assert 10 < row["canal_length_mm"].value < 20


@pytest.mark.data
def test_what_the_grid_cuts_is_not_measured(test_data):
    row = by_name(measure(mended(as_stored(test_data, "0532")), "spine"), "T10")
    assert row["anterior_body_height_mm"].reason == "cut by the grid (superior)"
    assert row["anterior_body_height_mm"].value is None


@pytest.mark.data
def test_coarse_voxels_are_doubted_but_give_plausible_values(test_data):
    found = measure(only_vertebrae(mended(as_stored(test_data, "s0308"))), "spine")
    for bone in ("T8", "T12", "L2", "L3", "L4", "L5"):
        row = by_name(found, bone)
        assert row["posterior_body_height_mm"].status == "low_confidence"
        assert "voxels of 3.7 mm" in row["posterior_body_height_mm"].reason
        assert 17 < row["posterior_contact_height_mm"].value < 30
        assert "too coarse to grade fractures" in row["genant_grade"].reason
    t4 = by_name(found, "T4")["posterior_body_height_mm"]  # a fragment of 24 faces at the edge of the scan
    assert t4.status == "low_confidence" and "scale_implausible" in t4.reason
    assert by_name(found, "spine")["thoracic_kyphosis_deg"].status == "not_measurable"


@pytest.mark.data
def test_every_whole_vertebra_is_measured_in_predictions_of_good_overlap(test_data):
    """Predictions with Dice of 0.85 or more: at least 95 % of what the reference has (target R9)."""
    files = (
        ("spine_CTSpine1K_0532/spine0532_label", "spine_CTSpine1K_0532/spine0532_pred_swinx2sbase"),
        (
            "allbones_TotalSegmentator_s0308/s0308_all_label",
            "allbones_TotalSegmentator_s0308/s0308_all_pred_swinx2sbase",
        ),
    )
    wanted = measured = 0
    for reference_file, prediction_file in files:
        reference, prediction = (
            only_vertebrae(mended(read_labels(test_data / f"{name}.nii.gz")))
            for name in (reference_file, prediction_file)
        )
        found = {(m.bone, m.name): m for m in measure(prediction, "vertebra")}
        for m in measure(reference, "vertebra"):
            if m.value is None:
                continue
            a, b = (labels.mask(BONES[m.bone].bone_id) for labels in (reference, prediction))
            if 2 * np.count_nonzero(a & b) < 0.85 * (a.sum() + b.sum()):
                continue
            wanted += 1
            measured += found[m.bone, m.name].value is not None
    assert wanted > 100
    assert measured >= 0.95 * wanted


@pytest.mark.data
def test_axis_orders_of_a_real_spine(test_data):
    labels = only_vertebrae(mended(as_stored(test_data, "s0308")))
    kept = LabelMap(np.where(labels.data == BONES["L3"].bone_id, labels.data, 0).astype(np.uint8), labels.grid)
    wanted = measure(kept, "vertebra")
    for n, other in enumerate(axis_orders(kept)):
        if n % 5 == 0:
            for a, b in zip(wanted, measure(other, "vertebra"), strict=True):
                assert b.value == pytest.approx(a.value, abs=1e-6)
