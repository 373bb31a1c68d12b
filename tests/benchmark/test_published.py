"""The numbers of the papers: whole, named as boneray names things, and equal to the logs where these exist."""

import csv
from collections import defaultdict

import pytest

from boneray.benchmark.published import published
from boneray.core.errors import ConfigError
from boneray.datasets.registry import DATASETS
from boneray.models.registry import MODELS

COUNTS = {
    ("xrayto3d", "Table 1"): 40,
    ("swin-x2s", "Table 2"): 9,
    ("swin-x2s", "Table 3"): 36,
    ("swin-x2s", "Table 4"): 5,
    ("swin-x2s", "Table 5"): 9,
    ("ear", "Table 1"): 5,
    ("ear", "Table 2"): 4,
    ("ear", "Table 3"): 4,
    ("3ddx", "Table 1"): 26,
}


def test_every_table_is_whole():
    rows = published()
    found = defaultdict(int)
    for row in rows:
        found[row.paper, row.table] += 1
        assert row.protocol and row.differs and row.data and row.model
        assert set(row.sd) <= set(row.values)
        shares = [v for name, v in row.values.items() if name in ("dice", "id_rate", "ssim") and v is not None]
        assert all(0.0 < v <= 1.0 for v in shares)
    assert dict(found) == COUNTS


def test_cells_that_did_not_survive_are_null():
    lost = [row for row in published("ear", "Table 1") if row.model != "ear"] + published("ear", "Table 2")
    assert lost and all(value is None for row in lost for value in row.values.values())


def test_models_are_those_of_the_registry():
    known = {entry.name for entry in MODELS}
    assert {row.model for row in published() if row.paper in ("xrayto3d", "swin-x2s", "ear")} <= known


def test_data_sets_are_those_of_the_registry():
    known = {entry.name for entry in DATASETS}
    rows = [row for row in published() if row.paper != "3ddx" and row.data != "aggregate"]  # 3DDX's are private
    assert {row.data for row in rows} <= known


def test_the_aggregate_is_the_mean_of_the_four_data_sets():
    """Table 1 states means over its four sets; a slip of a row or column would not add up (rounding 0.0001)."""
    rows = published("xrayto3d")
    for model in {row.model for row in rows}:
        of = {row.data: row.values["dice"] for row in rows if row.model == model}
        whole = of.pop("aggregate")
        assert len(of) == 4
        assert sum(of.values()) / 4 == pytest.approx(whole, abs=1.5e-4), model


@pytest.mark.data
def test_table_1_is_what_the_shipped_log_gives(test_data):
    """Means of the per-case log of the authors, as printed (0.5 of the last digit, and their rounding)."""
    with (test_data / "tables_xrayto3D_benchmark" / "merged-metric-log.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    values = defaultdict(list)
    for row in log:
        values[f"xrayto3d-{row['anatomy']}", MODELS.get(row["model"]).name].append(float(row["DSC"]))
    printed = {(row.data, row.model): row.values["dice"] for row in published("xrayto3d") if row.data != "aggregate"}
    assert {key: f"{sum(v) / len(v):.4f}" for key, v in values.items()} == {k: f"{v:.4f}" for k, v in printed.items()}


def test_unknown_names_are_one_line():
    with pytest.raises(ConfigError, match="swin-x2s"):
        published("swinx2s")
