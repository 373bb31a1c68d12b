"""Logs that papers ship give the papers' figures."""

import json

import pytest

from boneray.benchmark.published import published
from boneray.benchmark.published_logs import angle_curves
from boneray.core.errors import DataError, InputError
from boneray.evaluation.association import associate
from boneray.evaluation.metric_table import read_score_table
from boneray.report.published_figures import angle_figure, published_figures

ANGLES = (0.0, 1.0, 2.0, 5.0, 10.0)


def test_a_log_that_is_not_one_is_refused(tmp_path):
    file = tmp_path / "log.json"
    file.write_text(json.dumps({"UNet": {"DSC": {"0": 90.0, "5": [80.0]}}}))
    (curve,) = angle_curves(file)
    assert (curve.model, curve.angles_deg, curve.means, curve.loss) == ("unet", (0.0, 5.0), (90.0, 80.0), -10.0)
    file.write_text(json.dumps({"UNet": {"DSC": {"0": [90.0, 80.0]}}}))
    with pytest.raises(DataError, match="where a mean is expected"):
        angle_curves(file)
    with pytest.raises(InputError, match="none of the published logs"):
        list(published_figures(tmp_path))


@pytest.mark.data
@pytest.mark.parametrize("anatomy", ["femur", "hip"])
def test_angle_curves_begin_where_table_1_stands(anatomy, test_data):
    """At 0 degrees they are the printed Table 1, to its digits; the text states the hip's curve of SwinUNETR."""
    file = test_data / f"tables_xrayto3D_benchmark/{anatomy}_angle_perturbation.json"
    found = {(curve.model, curve.metric): curve for curve in angle_curves(file)}
    assert len(found) == 8 * 4 and all(curve.angles_deg == ANGLES for curve in found.values())
    names = {"DSC": "dice", "HD95": "hd95_voxels", "ASD": "asd_voxels", "NSD": "nsd_1.5voxels"}
    rows = published("xrayto3d", "Table 1", data=f"xrayto3d-{anatomy}")
    off = []
    for row in rows:
        for metric, name in names.items():
            unit = 100 if metric == "DSC" else 1
            if abs(found[row.model, metric].means[0] - unit * row.values[name]) > 0.0051:
                off.append((row.model, metric, found[row.model, metric].means[0], unit * row.values[name]))
    assert not off
    dice = {model: curve for (model, metric), curve in found.items() if metric == "DSC"}
    assert all(curve.loss < 0 and curve.means[3] > curve.means[4] for curve in dice.values())
    if anatomy == "hip":
        assert [round(value, 1) for value in dice["swin_unetr"].means] == [85.8, 85.6, 85.0, 82.7, 78.6]


@pytest.mark.data
def test_the_curve_is_drawn_through_its_values(test_data):
    """Points lie on one straight scale: equal steps of Dice are equal steps on the sheet."""
    file = test_data / "tables_xrayto3D_benchmark/hip_angle_perturbation.json"
    sheet = angle_figure(file, "hip", "DSC")
    first = next(s for s in sheet.strokes if s.kind == "line" and len(s.points) == 5)
    y = [point[1] for point in first.points]
    means = next(c for c in angle_curves(file) if c.metric == "DSC").means
    per_unit = (y[-1] - y[0]) / (means[-1] - means[0])
    assert per_unit < 0
    assert y == pytest.approx([y[0] + per_unit * (m - means[0]) for m in means], abs=1e-9)


@pytest.mark.data
def test_every_clinical_point_of_the_log_is_in_the_scatter(test_data):
    """Every pelvis that both methods have, with the values of the file."""
    files = [test_data / f"clinical_metrics_SwinX2S/pelvic_{m}.json" for m in ("swinx2sbase", "unet")]
    logs = [json.loads(file.read_text()) for file in files]
    shared = [case for case in logs[0] if case in logs[1]]
    both = read_score_table(files)
    found = associate(both, both, "Dice", "PT_L", resamples=20)
    wanted = sorted((log[case]["Dice"], log[case]["PT_L"]) for log in logs for case in shared)
    assert sorted(map(tuple, found.points.tolist())) == wanted and len(wanted) == 2 * 66


@pytest.mark.data
@pytest.mark.slow
def test_all_panels_of_the_shipped_logs_are_drawn(test_data):
    names = [name for name, drawing in published_figures(test_data) if drawing.strokes]
    assert len(names) == 2 * 4 + 6 + 8 + 7 + 2
