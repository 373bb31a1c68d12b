"""Measurements: a number with a unit, a status and the points it rests on."""

import json

from boneray.core.measurement import Landmark, Measurement


def test_json_keeps_a_measurement() -> None:
    marks = (Landmark("femoral_head_centre", (1, 2, 3)), Landmark("neck_centre", (4.5, 5, 6)))
    angle = Measurement("neck_shaft_angle_deg", "femur_left", "left", 127.5, "deg", landmarks=marks)
    assert Measurement.from_dict(json.loads(json.dumps(angle.to_dict()))) == angle


def test_json_shape_is_the_one_of_the_command_line() -> None:
    values = Measurement("femoral_head_radius_mm", "femur_left", "left", 24, "mm").to_dict()
    assert list(values) == ["name", "bone", "side", "value", "unit", "status", "reason", "confidence", "landmarks"]
    assert values["status"] == "ok"
    assert values["landmarks"] == {}


def test_a_failure_keeps_its_reason_and_has_no_value() -> None:
    failed = Measurement("wedge_angle_deg", "L1", "none", None, "deg", "not_measurable", "the bone touches the edge")
    read = Measurement.from_dict(json.loads(json.dumps(failed.to_dict())))
    assert read.value is None
    assert (read.status, read.reason) == ("not_measurable", "the bone touches the edge")
