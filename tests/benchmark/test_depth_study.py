"""The depth study: errors of known clouds, and every line at toy size."""

import numpy as np
import pytest

from boneray.benchmark.depth_study import DepthStudy, cloud_errors, depth_study, table


def test_errors_of_two_parallel_lines():
    """Points 10 mm apart on a line, and the same 3 mm beside: all distances are 3, the squares add to 18."""
    line = np.stack([10.0 * np.arange(8), np.zeros(8), np.zeros(8)], axis=1)
    found = cloud_errors(line, line + np.array([0.0, 3.0, 0.0]), 8, "x")
    assert found == pytest.approx({"assd_mm": 3.0, "hd95_mm": 3.0, "emd_mm": 3.0, "chamfer_l2_mm2": 18.0})


def test_every_line_gives_every_bone_its_row():
    lines = [
        {"name": "front", "loss": "si_indep", "faces": "front", "printed_as": "256, SI, independent, single face"},
        {"name": "both", "loss": "casi_dep"},
    ]
    small = {"train": 2, "test": 1, "voxels": 16, "steps": 1, "batch_size": 2, "emd_points": 16}
    study = DepthStudy.model_validate({"lines": [{**line, "pixels": 32} for line in lines], **small})
    scores = depth_study(study)
    assert {(s.anatomy, s.line) for s in scores} == {(a, n) for a in study.anatomies for n in ("front", "both")}
    assert all(np.isfinite(list(s.values.values())).all() for s in scores)
    assert len({s.bone for s in scores if s.anatomy == "pelvis"}) == 3
    text = table(study, scores)
    assert "| pelvis | front |" in text and "| 4.78 |" in text
