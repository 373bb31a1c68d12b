"""Ribs of real label maps: TotalSegmentator s0308 (24 ids) and the union mask of s0046."""

import numpy as np
import pytest
from scipy import ndimage

from boneray.core.bones import BONES, RIBS
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.centrelines import centreline
from boneray.io.nifti import read_labels
from boneray.morphometry.measure import measure
from tests.morphometry.patients import by_name

S0308 = "allbones_TotalSegmentator_s0308/s0308_all_{}.nii.gz"
WHOLE = [f"rib_{side}_{n}" for side in ("left", "right") for n in (6, 7, 8, 9, 10, 11, 12)]


def ribs_of(labels):
    ids = [BONES[name].bone_id for name in RIBS]
    return LabelMap(np.where(np.isin(labels.data, ids), labels.data, 0).astype(np.uint8), labels.grid)


@pytest.fixture(scope="module")
def s0308(test_data):
    """As stored; its second axis is flipped."""
    return ribs_of(read_labels(test_data / S0308.format("label")))


def mended(labels):
    return LabelMap(np.ascontiguousarray(labels.data[:, ::-1]), labels.grid)


@pytest.mark.data
def test_whole_ribs_of_s0308(s0308):
    """Left and right of one person agree within a tenth, and volume = section x length holds along the line."""
    found = measure(mended(s0308), "ribs")
    for name in WHOLE:
        row = by_name(found, name)
        assert row["rib_arc_length_mm"].status in ("ok", "low_confidence")
        assert "implausible" not in row["rib_arc_length_mm"].reason
        other = by_name(found, name.replace("left", "right") if "left" in name else name.replace("right", "left"))
        assert row["rib_arc_length_mm"].value == pytest.approx(other["rib_arc_length_mm"].value, rel=0.11)
    lengths = [by_name(found, f"rib_right_{n}")["rib_arc_length_mm"].value for n in (6, 7, 8, 9, 10, 11, 12)]
    assert 270 < max(lengths) < 310
    assert np.all(np.diff(lengths[2:]) < 0)


@pytest.mark.data
def test_the_line_runs_inside_the_rib(s0308):
    labels = mended(s0308)
    for name in WHOLE[:3]:
        line = centreline(labels, BONES[name].bone_id)
        index = np.rint(labels.grid.to_index(line.points_mm)).astype(int)
        inside = labels.data[tuple(index.T)] == BONES[name].bone_id
        assert inside.mean() > 0.97
        voxels = labels.grid.to_world(np.argwhere(labels.data == BONES[name].bone_id))
        ends = [np.linalg.norm(voxels - end, axis=1).min() for end in line.points_mm[[0, -1]]]
        assert max(ends) < 1.5 * labels.grid.spacing_mm[0]


@pytest.mark.data
def test_the_flipped_file_is_reported(s0308):
    told = [m for m in measure(s0308, "ribs") if m.name == "rib_arc_length_mm" and m.bone in WHOLE]
    assert sum("frame_implausible" in m.reason for m in told) >= 0.5 * len(told)
    right = [m for m in measure(mended(s0308), "ribs") if m.name == "rib_arc_length_mm" and m.bone in WHOLE]
    assert not any("frame_implausible" in m.reason for m in right)


@pytest.mark.data
def test_stumps_at_the_edge_of_the_scan_are_doubted(s0308):
    found = measure(mended(s0308), "ribs")
    assert by_name(found, "rib_left_2")["rib_arc_length_mm"].status == "not_measurable"
    for name in ("rib_left_3", "rib_right_3"):
        row = by_name(found, name)["rib_arc_length_mm"]
        assert row.status == "low_confidence" and "incomplete" in row.reason


def longest_parts(labels, count=6):
    """The largest parts of a union mask as ribs 4-9 of one side, a label map each."""
    parts, _ = ndimage.label(labels.data > 0, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    for n, part in enumerate(np.argsort(-sizes, kind="stable")[:count] + 1):
        yield f"rib_left_{4 + n}", part, parts


@pytest.mark.data
def test_the_header_of_s0046_gives_short_thin_ribs_and_its_true_spacing_whole_ones(test_data):
    """The header says 1.5 mm, the paper 2.5: lengths scale by 5/3 exactly, and only then are they a rib's."""
    labels = read_labels(test_data / "masks_xrayto3D/s0046_rib_msk_gt.nii.gz")
    true = Grid(labels.grid.shape, (2.5,) * 3, labels.grid.origin_mm, labels.grid.direction)
    short = []
    for name, part, parts in longest_parts(labels):
        mask = (parts == part).astype(np.uint8)
        one = centreline(LabelMap(mask, true))
        two = centreline(LabelMap(mask, labels.grid))
        assert two.length_mm * 5 / 3 == pytest.approx(one.length_mm, rel=0.03)
        assert 200 < one.length_mm < 360 and 4.0 < one.radius_mm < 7.0
        wrong = measure(LabelMap(mask * np.uint8(BONES[name].bone_id), labels.grid), "ribs")
        short.append("scale_implausible" in by_name(wrong)["rib_arc_length_mm"].reason)
    assert not all(short)  # one rib alone cannot tell: 60 % of a long rib is a short one


@pytest.mark.data
def test_predicted_ribs_have_a_status_each(test_data):
    prediction = ribs_of(mended(read_labels(test_data / S0308.format("pred_swinx2sbase"))))
    found = measure(prediction, "ribs")
    assert {m.status for m in found} <= {"ok", "low_confidence", "not_measurable", "failed"}
    for m in found:
        assert (m.value is not None) == (m.status in ("ok", "low_confidence"))
