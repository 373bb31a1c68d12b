"""Pictures of measurements: what is drawn lies where it is, and everything is named."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import trimesh
from PIL import Image

from boneray.core.measurement import Landmark, Measurement
from boneray.core.mesh import Mesh
from boneray.report.measurement_marks import figures_of, number_with_unit
from boneray.report.measurement_pictures import (
    BONE,
    MARK,
    Sheet,
    measurement_drawing,
    measurement_sheets,
    write_measurement_pictures,
)

SVG = "{http://www.w3.org/2000/svg}"
HEAD, NECK = (0.0, 0.0, 60.0), (20.0, 0.0, 50.0)
TOP, BOTTOM = (40.0, 0.0, 0.0), (40.0, 0.0, -60.0)
AXES = (("femoral_head_centre", HEAD), ("neck_centre", NECK), ("shaft_proximal", TOP), ("shaft_distal", BOTTOM))


def ball(centre=(0.0, 0.0, 0.0), radius=50.0):
    sphere = trimesh.creation.icosphere(3, radius)
    return Mesh(np.asarray(sphere.vertices) + centre, np.asarray(sphere.faces, dtype=np.int64))


def number(name, value, marks=(), *, unit="mm", bone="femur_right", status="ok", reason=""):
    landmarks = tuple(Landmark(key, point) for key, point in marks)
    return Measurement(name, bone, "right", value, unit, status, reason, landmarks)


def sheet(*measurements, mesh=None):
    return Sheet({"femur_right": mesh or ball()}, measurements)


def texts(drawing):
    return [element.text for element in ET.fromstring(drawing.svg()).iter(f"{SVG}text")]


def discs(drawing):
    """Places of the landmarks, first those of the front view."""
    return np.array([stroke.points[0] for stroke in drawing.strokes if stroke.kind == "disc"])


def test_landmarks_lie_as_an_eye_in_front_and_on_the_right_sees_them():
    marks = [("middle", (0, 0, 0)), ("to_the_right", (30, 0, 0)), ("to_the_front", (0, 20, 0)), ("up", (0, 0, 10))]
    drawing = measurement_drawing("a", sheet(number("x_mm", 1.0, marks)))
    front, side = np.split(discs(drawing), 2)
    scale = (front[0, 1] - front[3, 1]) / 10  # units per mm
    assert np.allclose(front - front[0], scale * np.array([(0, 0), (-30, 0), (0, 0), (0, -10)]))
    assert np.allclose(side - side[0], scale * np.array([(0, 0), (0, 0), (20, 0), (0, -10)]))
    (left, top), (right, bottom) = next(stroke.points for stroke in drawing.strokes if stroke.kind == "picture")
    assert np.allclose(front[0], ((left + right) / 2, (top + bottom) / 2))


def test_the_bone_is_painted_where_its_landmarks_say():
    drawing = measurement_drawing("a", sheet(number("x_mm", 1.0, [("edge", (0, 0, 48))]), mesh=ball(radius=50.0)))
    image = np.asarray(Image.open(io.BytesIO(drawing.png())).convert("RGB")).astype(int)
    (x, y), _ = discs(drawing)
    picture = next(stroke for stroke in drawing.strokes if stroke.kind == "picture")
    middle = (picture.points[0][1] + picture.points[1][1]) / 2
    units = (middle - y) / 48  # units per mm

    def is_bone(height_mm):
        pixel = image[round(2 * (middle - units * height_mm)), round(2 * (x + 12))]
        return bool(pixel.max() < 250 and pixel[0] > pixel[2] and BONE[0] > BONE[2])

    assert is_bone(-47.0) and is_bone(0.0) and not is_bone(-51.5)


def test_a_length_is_drawn_only_where_its_landmarks_are_that_far_apart():
    ends = [("one", (0, 0, 0)), ("two", (30, 0, 40))]
    (line,) = figures_of([number("chord_mm", 50.0, ends)])
    assert line.title == "chord 50.0 mm" and np.allclose(line.points, [ends[0][1], ends[1][1]])
    assert figures_of([number("chord_mm", 55.0, ends)]) == []
    assert figures_of([number("chord_mm", None, ends)]) == []
    (chord,) = figures_of([number("chord_mm", 50.0, [*ends, ("three", (9, 9, 9))])])
    assert np.allclose(chord.points, line.points)


def test_the_axes_of_a_femur_are_led_on_to_where_they_meet():
    """Neck from (0, 0, 60) by (2, 0, -1), shaft along x = 40: they meet at (40, 0, 40); offset 40 mm."""
    found = [
        number("neck_shaft_angle_deg", 116.6, AXES, unit="deg"),
        number("femoral_offset_mm", 40.0, (AXES[0], *AXES[2:])),
        number("femoral_head_radius_mm", 23.0, AXES[:1]),
    ]
    by_title = {figure.title: figure for figure in figures_of(found)}
    assert np.allclose(by_title["neck axis, neck shaft angle 116.6°"].points, [HEAD, (40, 0, 40)])
    assert np.allclose(by_title["shaft axis"].points, [(40, 0, 40), (40, 0, -69)])
    assert np.allclose(by_title["femoral offset 40.0 mm"].points, [HEAD, (40, 0, 60)])
    head = by_title["femoral head radius 23.0 mm"]
    assert head.kind == "ball" and head.radius_mm == 23.0 and np.allclose(head.points, [HEAD])


def test_the_planes_of_a_pelvis_need_their_landmarks():
    front = [(f"anterior_superior_iliac_spine_{s}", (x, 80.0, 90.0)) for s, x in (("left", -110.0), ("right", 110.0))]
    back = [(f"posterior_superior_iliac_spine_{s}", (x, -60.0, 90.0)) for s, x in (("left", -45.0), ("right", 45.0))]
    low = [("pubic_symphysis", (0.0, 80.0, 0.0))]

    def planes(marks):
        found = figures_of([number("t_deg", 1.0, marks, unit="deg")])
        return {figure.title.partition("(")[2].rstrip(")"): figure.points for figure in found}

    both = planes([*front, *back, *low])
    assert np.allclose(both["APP"], [p for _, p in [*front, *low]])
    assert np.allclose(both["SISP"], [front[0][1], front[1][1], back[1][1], back[0][1]])
    assert set(planes([*front, *back])) == {"SISP"} and planes([*front[:1], *low]) == {}


def test_everything_is_named_once_and_no_two_names_overlap():
    crowd = [(f"mark_{i}", (0.2 * i, 0.3 * i, 0.1 * i)) for i in range(14)]
    drawing = measurement_drawing("case 7", sheet(number("x_mm", 9.0, [*AXES, *crowd])))
    shown = texts(drawing)
    for name in (*dict(AXES), *dict(crowd)):
        assert shown.count(name.replace("_", " ")) == 1, name
    labels = [stroke for stroke in drawing.strokes if stroke.kind == "text" and stroke.colour == MARK]
    for anchor_x in {label.points[0][0] for label in labels}:
        heights = sorted(label.points[0][1] for label in labels if label.points[0][0] == anchor_x)
        assert np.all(np.diff(heights) >= 11.0)
    assert all(0 < x < drawing.width and 0 < y < drawing.height for s in drawing.strokes for x, y in s.points)


def test_a_number_that_failed_says_so_and_why():
    found = number("femoral_version_deg", None, unit="deg", status="not_measurable", reason="no condyles: too short")
    shown = texts(measurement_drawing("a", sheet(found)))
    assert "-" in shown and "not measurable 1" in shown and "1 no condyles: too short" in shown


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("deg", -3.26, "-3.3°"),
        ("mm", 12.0, "12.0 mm"),
        ("mm3", 123456.7, "123457 cu mm"),
        ("grade", 1.0, "1"),
        ("percent", 150.0, "150.0 %"),
        ("mm", None, "-"),
    ],
)
def test_numbers_carry_their_unit_in_letters_every_font_has(unit, value, text):
    assert number_with_unit(number("x", value, unit=unit)) == text


def test_numbers_of_several_bones_share_a_picture():
    meshes = {name: ball((x, 0, 0)) for name, x in (("sacrum", 0), ("hip_right", 60), ("hip_left", -60))}
    width = number("inter_asis_distance_mm", 230.0, [("a", (0, 0, 0))], bone="sacrum")
    volumes = [number("bone_volume_mm3", 5.0, unit="mm3", bone=name) for name in meshes]
    sheets = measurement_sheets(meshes, [width, *volumes])
    assert set(sheets) == {"pelvis"} and set(sheets["pelvis"].meshes) == set(meshes)
    assert "bone volume (hip left)" in texts(measurement_drawing("a", sheets["pelvis"]))
    own = number("x_mm", 1.0, [("b", (0, 0, 0))], bone="hip_left")
    assert set(measurement_sheets(meshes, [width, own, *volumes])) == {"pelvis", "hip_left"}
    assert measurement_sheets({}, [width]) == {}


def test_files_are_called_by_case_and_bone(tmp_path):
    written = write_measurement_pictures(tmp_path, "p1", {"femur_right": ball()}, [number("x_mm", 1.0)])
    assert sorted(path.name for path in written) == ["p1_femur_right.png", "p1_femur_right.svg"]
    svg = (tmp_path / "p1_femur_right.svg").read_text()
    assert len(re.findall("<image ", svg)) == 2 and ET.fromstring(svg).tag == f"{SVG}svg"
    assert Image.open(tmp_path / "p1_femur_right.png").size[0] > 1000


def test_the_report_shows_them_within_its_budget(plain_case):
    from dataclasses import replace

    from boneray.report.page import DRAWN_PER_PAGE, _drawn_of, report_html

    found = Measurement(
        "neck_shaft_angle_deg", "femur_left", "left", 127.3, "deg", landmarks=(Landmark("neck_centre", (-20, 0, -10)),)
    )
    page = report_html("t", [replace(plain_case, measurements=(found,))], (), (), None)
    assert page.count('alt="femur left from the front and from the right with its landmarks') == 1
    assert "left out to keep this page small" not in page
    assert '<details class="drawn">' not in report_html("t", [plain_case], (), (), None)  # no landmark, no picture
    assert sum(_drawn_of(place, 40) for place in range(40)) == DRAWN_PER_PAGE
