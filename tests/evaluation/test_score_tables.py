"""Summaries over cases and the CSV file."""

import csv

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.evaluation.cases import evaluate_case
from boneray.evaluation.tables import bone_rows, bone_summary_rows, case_rows, summary_rows, write_csv


def case(case_id, shift):
    """A cube of 4 voxels predicted `shift` voxels off: dice 1 - shift / 4; 4 or more is a miss."""
    grid = Grid.cube(12, 12.0)
    reference, prediction = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    reference[2:6, 2:6, 2:6] = BONES["L1"].bone_id
    if shift < 4:
        prediction[2 + shift : 6 + shift, 2:6, 2:6] = BONES["L1"].bone_id
    return evaluate_case(case_id, LabelMap(reference, grid), LabelMap(prediction, grid))


@pytest.fixture(scope="module")
def scores():
    return [case("a", 0), case("b", 1), case("c", 4)]


def test_summary_of_dice(scores):
    row = next(row for row in summary_rows(scores) if row["metric"] == "dice")
    assert row["mean"] == pytest.approx((1 + 0.75 + 0) / 3)
    assert row["median"] == pytest.approx(0.75)
    assert row["sd"] == pytest.approx(np.std([1, 0.75, 0], ddof=1))
    assert (row["worst"], row["worst_case"], row["n"], row["n_cases"]) == (0.0, "c", 3, 3)
    assert (row["n_reference"], row["n_missed"]) == (3, 1)


def test_summary_of_a_distance_shows_its_coverage(scores):
    rows = {row["metric"]: row for row in summary_rows(scores)}
    assert (rows["hd_mm"]["mean"], rows["hd_mm"]["n"]) == (pytest.approx(0.5), 2)
    assert rows["hd_mm"]["worst_case"] == "b"
    assert rows["hd_mm_penalised"]["mean"] == pytest.approx((0 + 1 + 12 * np.sqrt(3)) / 3)
    assert rows["hd_mm_penalised"]["worst_case"] == "c"


def test_bone_summary(scores):
    row = next(row for row in bone_summary_rows(scores) if row["bone"] == "L1" and row["metric"] == "hd_mm")
    assert (row["mean"], row["n"], row["n_reference"], row["n_missed"]) == (pytest.approx(0.5), 2, 3, 1)


def test_csv_leaves_cells_without_a_number_empty(scores, tmp_path):
    path = tmp_path / "tables" / "bones.csv"
    write_csv(path, bone_rows(scores))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["present", "present", "missed"]
    assert float(rows[1]["dice"]) == 0.75
    assert rows[2]["hd_mm"] == ""
    assert [p.name for p in path.parent.iterdir()] == ["bones.csv"]


def test_case_rows_hold_means_and_counts(scores):
    assert [row["case"] for row in case_rows(scores)] == ["a", "b", "c"]
    assert case_rows(scores)[2]["n_missed"] == 1


def test_no_cases_is_an_error():
    with pytest.raises(DataError, match="no case"):
        summary_rows([])
