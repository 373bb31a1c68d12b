"""Numbers and words of the report's tables."""

from __future__ import annotations

from dataclasses import replace

from boneray.report.content import ReportCase, ReportTable
from boneray.report.tables import measurement_table, metric_title, number_text, score_table, summary_table


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_numbers_are_set_with_fixed_digits_and_signs_for_what_is_no_number():
    assert number_text(2.345, 1) == "2.3"
    assert number_text(-1.5, 1) == "\u22121.5"
    assert number_text(61234.4, 0) == "61\u202f234"
    assert number_text(None, 2) == "\u2013"
    assert number_text(float("nan"), 2) == "\u2013"
    assert number_text(float("inf"), 2) == "\u221e"


def test_metric_titles_state_their_unit():
    assert metric_title("hd95_mm") == "HD95 (mm)"
    assert metric_title("nsd_2.0mm") == "NSD at 2.0 mm"
    assert metric_title("localisation_error_mm") == "localisation error (mm)"
    assert metric_title("dice") == "Dice"


def test_a_missed_bone_is_said_and_its_missing_distances_are_dashes(compared_case: ReportCase):
    table = score_table(compared_case)
    assert table is not None
    assert table.columns == ("bone", "Dice", "HD95 (mm)", "ASSD (mm)", "NSD at 2.0 mm", "status")
    assert texts(table)[2] == ["sacrum", "0.000", "\u2013", "\u2013", "0.000", "missed"]
    assert table.rows[2][-1].kind == "problem"
    assert [cell.text for cell in table.foot[0]] == ["mean", "0.594", "\u2013", "\u2013", "0.618", ""]


def test_scores_may_be_null_at_every_level(compared_case: ReportCase):
    bare = replace(
        compared_case, scores={"case": "a", "bones": {"sacrum": None, "hip_left": {"dice": 0.5}}, "mean": None}
    )
    table = score_table(bare)
    assert table is not None
    assert texts(table) == [["sacrum", "\u2013", "not scored"], ["hip left", "0.500", "ok"]]
    assert score_table(replace(compared_case, scores=None)) is None


def test_measurements_stand_beside_those_of_the_reference_with_their_difference(compared_case: ReportCase):
    table = measurement_table(compared_case)
    assert table is not None
    assert texts(table) == [
        ["femur left", "neck shaft angle", "127.3", "125.1", "+2.2", "°", "ok"],
        [
            "femur left",
            "volume",
            "61\u202f234",
            "60\u202f011",
            "+1\u202f223",
            "mm³",
            "low confidence: the shaft leaves the grid",
        ],
        ["femur left", "offset", "\u2013", "\u2013", "\u2013", "mm", "not measurable: no shaft axis"],
    ]


def test_without_reference_the_columns_of_the_comparison_are_left_out(plain_case: ReportCase):
    table = measurement_table(plain_case)
    assert table is not None and table.columns == ("bone", "measurement", "value", "unit", "status")
    assert measurement_table(replace(plain_case, measurements=())) is None


def test_a_measurement_only_in_the_reference_is_kept_and_said(compared_case: ReportCase):
    table = measurement_table(replace(compared_case, measurements=()))
    assert table is not None
    assert [row[-1] for row in texts(table)] == ["not measured in the reconstruction"] * 2


def test_summary_tables_keep_text_and_format_numbers():
    table = summary_table(ReportTable("t", ("method", "cases", "Dice", "HD95"), [("unet", 40, 0.9123, 12.345)]))
    assert texts(table) == [["unet", "40", "0.912", "12.35"]] or texts(table) == [["unet", "40", "0.912", "12.34"]]
