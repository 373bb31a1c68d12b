"""Measurements over many subjects: who is who, how numbers are compared, and that nothing is left out silently."""

import pickle
from functools import partial

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.errors import BonerayError, ConfigError, InputError
from boneray.core.grid import Grid
from boneray.core.measurement import Landmark, Measurement
from boneray.core.volume import LabelMap
from boneray.evaluation.measured_subjects import find_subjects
from boneray.evaluation.measurement_errors import STATUSES, compare_measurements, summary_rows
from boneray.evaluation.measurement_tables import (
    case_error_rows,
    cases_json,
    error_rows,
    measurement_rows,
    read_measurements,
)
from boneray.evaluation.measuring import MeasuredCase, MeasuringSettings, MeasuringTask, measure_path, measure_subjects
from boneray.evaluation.normal_ranges import normal_flag, normal_range
from boneray.geometry.surface import bone_mesh
from boneray.io.files import write_json
from boneray.io.meshes import write_mesh
from boneray.io.nifti import write_labels
from boneray.morphometry.registry import MEASUREMENTS

INF = float("inf")


def block(path, bone="L3", edge=10, spacing_mm=1.0):
    """A label map of one cube of bone in 24^3 voxels."""
    grid = Grid((24,) * 3, (spacing_mm,) * 3, (0.0,) * 3)
    data = np.zeros(grid.shape, np.uint8)
    data[4 : 4 + edge, 4 : 4 + edge, 4 : 4 + edge] = BONES[bone].bone_id
    labels = LabelMap(data, grid)
    write_labels(path, labels)
    return labels


def number(name, value, unit="mm", *, status="ok", bone="femur_left", marks=(), reason=""):
    return Measurement(
        name, bone, "left", value, unit, status, reason, tuple(Landmark(key, point) for key, point in marks)
    )


def case(case_id, *found):
    return MeasuredCase(case_id, "ok", "", found)


def volume(found):
    return {m.bone: m.value for m in found if m.name == "bone_volume_mm3"}


@pytest.mark.parametrize(
    ("words", "bone", "expected"),
    [
        ("20-27 mm (19 adults, mean 23.7)", "femur_left", (20, 27)),
        ("122-133 degrees; coxa vara below 120, valga above 140", "femur_left", (122, 133)),
        ("about 35-50 mm", "femur_left", (35, 50)),
        ("235 +- 18 mm (205-265)", "sacrum", (205, 265)),
        ("-4 +- 6 degrees lying (-17 to 7)", "sacrum", (-17, 7)),
        ("below 10 degrees; scoliosis from 10", "spine", (-INF, 10)),
        ("lumbar 25-30 mm, thoracic 17-24 mm", "L3", (25, 30)),
        ("lumbar 25-30 mm, thoracic 17-24 mm", "T7", (17, 24)),
        ("lumbar 25-30 mm, thoracic 17-24 mm", "C4", None),
        ("L5 8-10 degrees, others below 8", "L5", (8, 10)),
        ("L5 8-10 degrees, others below 8", "L4", (-INF, 8)),
        ("0", "L3", (0, 0)),
        ("median 14, quartiles 7-20 degrees; other definitions differ by up to 18", "femur_left", None),
        ("to S1 40-60 degrees; to L5 less by the segment L5-S1", "spine", None),
        ("about 197 mm", "sacrum", None),
        ("rib 1 about 105 mm, rib 7 about 300 mm, rib 12 about 110 mm", "rib_left_7", None),
        ("", "L3", None),
    ],
)
def test_a_normal_range_is_what_the_words_say_and_no_more(words, bone, expected):
    assert normal_range(words, bone) == expected


def test_a_value_is_below_within_or_above_its_range():
    words = "20-27 mm (19 adults, mean 23.7)"
    assert [normal_flag(v, words, "femur_left") for v in (19.9, 20.0, 27.0, 27.1, None)] == [
        "below",
        "within",
        "within",
        "above",
        "",
    ]
    assert normal_flag(5.0, "about 197 mm", "sacrum") == ""


def test_no_range_in_the_table_is_upside_down():
    for entry in MEASUREMENTS:
        for bone in (*entry.facts["bones"], "femur_left", "L1"):
            limits = normal_range(str(entry.facts["normal"]), bone)
            assert limits is None or limits[0] <= limits[1], entry.name


def test_a_folder_is_taken_apart_by_its_names(tmp_path):
    for name in ("p1_femur_left.stl", "p1_femur_right.stl", "p2-L3.ply", "p2-L3.stl", "what.obj", ".hidden.stl"):
        (tmp_path / name).touch()
    for name in ("p3.nii.gz", "p4/labels.nii.gz", "p5/hip_left.stl", "p5/sacrum.ply", "p6/case.json", "notes/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_subjects(tmp_path)
    assert found.collection
    by_id = {subject.case_id: subject for subject in found.members}
    assert list(by_id) == ["p1", "p2", "p3", "p4", "p5", "p6", "what"]
    assert set(by_id["p1"].meshes) == {"femur_left", "femur_right"}
    assert by_id["p2"].meshes == {"L3": tmp_path / "p2-L3.stl"}  # the first of the formats
    assert set(by_id["p5"].meshes) == {"hip_left", "sacrum"}
    assert "names no bone" in by_id["what"].problem and by_id["p6"].labels == tmp_path / "p6"
    one = find_subjects(tmp_path / "p5")
    assert not one.collection and one.members[0].case_id == "p5"
    assert [s.meshes for s in find_subjects(tmp_path, "L3").members if s.case_id == "what"] == [
        {"L3": tmp_path / "what.obj"}
    ]
    (tmp_path / "p3_femur_left.stl").touch()
    with pytest.raises(InputError, match=r"both case p3"):
        find_subjects(tmp_path)
    with pytest.raises(InputError, match="neither case folders"):
        find_subjects(tmp_path / "notes")


def test_volumes_of_files_meshes_and_repaired_headers(tmp_path):
    labels = block(tmp_path / "a.nii.gz")
    names = {BONES["L3"].bone_id: "L3"}

    def volumes(**settings):
        found = measure_subjects(find_subjects(tmp_path / "a.nii.gz"), MeasuringSettings("vertebra", names, **settings))
        return volume(found[0].measurements)

    assert volumes() == {"L3": 1000.0}
    assert volumes(spacing_mm=(2.0,)) == {"L3": 8000.0}
    assert volumes(spacing_mm=(1.0, 2.0, 0.5)) == {"L3": 1000.0}
    affine = np.diag([3.0, 1.0, 1.0, 1.0])
    assert volumes(affine=tuple(map(tuple, affine.tolist()))) == {"L3": 3000.0}
    mesh = bone_mesh(labels, BONES["L3"].bone_id)
    write_mesh(tmp_path / "b_L3.stl", mesh)
    assert volume(measure_path(tmp_path / "b_L3.stl", "vertebra"))["L3"] == pytest.approx(mesh.volume_mm3, rel=1e-5)
    many = measure_subjects(find_subjects(tmp_path), MeasuringSettings("vertebra", names, spacing_mm=(1.0,)))
    assert [(c.case_id, c.status) for c in many] == [("a", "ok"), ("b", "failed")]
    assert "a mesh is in mm already" in many[1].reason


def test_settings_that_contradict_themselves_are_refused():
    with pytest.raises(ConfigError, match="give one of them"):
        MeasuringSettings("femur", spacing_mm=(1.0,), affine=tuple(map(tuple, np.eye(4).tolist())))
    with pytest.raises(ConfigError, match="does not belong"):
        MeasuringSettings("femur", target="L3")
    with pytest.raises(BonerayError, match="positive"):
        MeasuringSettings("femur", spacing_mm=(0.0,))


def test_surfaces_for_pictures_carry_the_names_of_the_measurements(tmp_path):
    block(tmp_path / "a.nii.gz")
    seen = {}

    def keep(case_id, meshes, found):
        seen.update(case=case_id, meshes=dict(meshes), bones={m.bone for m in found})

    measure_subjects(find_subjects(tmp_path / "a.nii.gz"), MeasuringSettings("vertebra"), illustrate=keep)
    name = f"label_{BONES['L3'].bone_id}"
    assert seen["case"] == "a" and set(seen["meshes"]) == seen["bones"] == {name}
    assert np.allclose(seen["meshes"][name].vertices_mm.mean(axis=0), 8.5, atol=0.2)


def test_a_task_with_pictures_can_go_to_another_process(tmp_path):
    from boneray.report.measurement_pictures import write_measurement_pictures

    block(tmp_path / "a.nii.gz")
    (subject,) = find_subjects(tmp_path / "a.nii.gz").members
    task = MeasuringTask(subject, MeasuringSettings("vertebra"), partial(write_measurement_pictures, tmp_path))
    again = pickle.loads(pickle.dumps(task))
    assert again.subject == task.subject and again.illustrate.args == (tmp_path,)


@pytest.fixture
def compared():
    """Five references: a-c are measured (1, -2, 4 mm off, c not surely), d fails, e is not there; x is extra."""
    truth = [
        case(name, number("offset_mm", 40.0, marks=[("head", (0, 0, 0))]), number("turn_deg", 179.0, "deg"))
        for name in "abcde"
    ]
    found = [
        case("a", number("offset_mm", 41.0, marks=[("head", (3, 4, 0))]), number("turn_deg", -179.0, "deg")),
        case("b", number("offset_mm", 38.0, marks=[("neck", (0, 0, 0))]), number("turn_deg", 170.0, "deg")),
        case(
            "c",
            number("offset_mm", 44.0, status="low_confidence", reason="short"),
            number("turn_deg", None, "deg", status="not_measurable", reason="no shaft"),
        ),
        MeasuredCase("d", "failed", "not a readable NIfTI"),
        case("x", number("offset_mm", 1.0)),
    ]
    return compare_measurements(found, truth)


def test_errors_are_signed_and_every_side_is_counted(compared):
    rows = {(row["name"], row["bone"]): row for row in summary_rows(compared)}
    offset = rows["offset_mm", "all"]
    errors = np.array([1.0, -2.0, 4.0])
    assert (offset["n_rows"], offset["n"], offset["n_ok"]) == (6, 3, 2)
    assert offset["mean"] == pytest.approx(errors.mean()) and offset["sd"] == pytest.approx(errors.std(ddof=1))
    assert offset["mean_abs"] == pytest.approx(7 / 3) and offset["median_abs"] == 2.0 and offset["max_abs"] == 4.0
    assert offset["p95_abs"] == pytest.approx(2.0 + 0.9 * 2.0)  # rank 1 + 0.95 * 2 of 1, 2, 4
    assert offset["mean_abs_ok"] == 1.5
    assert [offset[f"prediction_{status}"] for status in STATUSES] == [3, 1, 0, 1, 1]
    assert [offset[f"reference_{status}"] for status in STATUSES] == [5, 0, 0, 0, 1]
    turn = rows["turn_deg", "all"]
    assert turn["n"] == 2 and turn["mean"] == pytest.approx((2.0 - 9.0) / 2)  # the shorter way round
    head = rows["head", "all"]
    assert (head["n_rows"], head["n"], head["mean_abs"], head["prediction_absent"]) == (5, 1, 5.0, 4)
    assert rows["neck", "all"]["reference_absent"] == 1 and rows["neck", "all"]["n"] == 0
    assert (compared.without_reference, compared.without_prediction) == (("x",), ("e",))
    reasons = {(d.case_id, d.name): d.reason for d in compared.differences}
    assert reasons["d", "offset_mm"] == "prediction: not a readable NIfTI"
    assert reasons["c", "turn_deg"] == "prediction: no shaft" and "no such case" in reasons["e", "offset_mm"]


def test_wide_tables_leave_what_is_missing_empty(compared):
    rows = {row["case"]: row for row in error_rows(compared, "unet")}
    assert (rows["b"]["offset_mm_error"], rows["b"]["offset_mm_abs_error"]) == (-2.0, 2.0)
    assert rows["a"]["landmark_head_mm"] == 5.0 and rows["b"]["landmark_head_mm"] is None
    assert rows["d"]["offset_mm_error"] is None and rows["a"]["method"] == "unet"
    two = [number("offset_mm", 10.0, bone=bone) for bone in ("femur_left", "femur_right")]
    half = compare_measurements([case("a", number("offset_mm", 11.0))], [case("a", *two)])
    assert np.isnan(case_error_rows(half, "")[0]["offset_mm_abs_error"])  # the bone that failed is not hidden
    both = [number("offset_mm", value, bone=m.bone) for value, m in zip((11.0, 7.0), two, strict=True)]
    full = compare_measurements([case("a", *both)], [case("a", *two)])
    assert case_error_rows(full, "")[0]["offset_mm_abs_error"] == 2.0


def test_cases_that_share_no_name_are_refused_and_single_ones_belong_together():
    first, second = case("a", number("offset_mm", 1.0)), case("b", number("offset_mm", 3.0))
    with pytest.raises(InputError, match="no case has a reference"):
        compare_measurements([first], [second])
    (difference,) = compare_measurements([first], [second], by_name=False).differences
    assert difference.error == -2.0


def test_measurements_come_back_from_their_json(tmp_path):
    cases = [case("a", number("offset_mm", 1.0, marks=[("head", (1, 2, 3))])), MeasuredCase("b", "failed", "broken")]
    write_json(tmp_path / "many.json", cases_json(cases, collection=True))
    assert read_measurements(tmp_path / "many.json") == (cases, True)
    write_json(tmp_path / "one.json", cases_json(cases[:1], collection=False))
    found, many = read_measurements(tmp_path / "one.json")
    assert not many and found[0].measurements == cases[0].measurements
    write_json(tmp_path / "other.json", {"measurements": [{"value": 3}]})
    with pytest.raises(InputError, match="holds no measurements"):
        read_measurements(tmp_path / "other.json")


def test_a_failed_case_is_a_row_with_its_reason():
    rows = measurement_rows([case("a", number("femoral_head_radius_mm", 29.0)), MeasuredCase("b", "failed", "broken")])
    assert (rows[0]["normal_flag"], rows[0]["value"]) == ("above", 29.0)
    assert (rows[1]["case"], rows[1]["status"], rows[1]["reason"]) == ("b", "failed", "broken")
