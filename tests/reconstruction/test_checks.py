"""What is refused, what is flagged, and what passes: phantoms, turned and swapped ones, real films."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from boneray.core.camera import orbit_camera
from boneray.core.errors import DataError
from boneray.core.radiograph import Radiograph
from boneray.io.dicom import DicomFacts
from boneray.projection.render import render
from boneray.reconstruction.answer import Wishes, answered
from boneray.reconstruction.checks import (
    checks_of_films,
    checks_of_geometry,
    checks_of_pictures,
    heights,
    require,
)
from boneray.reconstruction.radiographs import LoadedRadiographs, LoadedView, load_radiographs
from tests.reconstruction import films

PLAIN = Wishes(confidence=False)


def loaded(radiographs, **facts) -> LoadedRadiographs:
    return LoadedRadiographs(
        {v: LoadedView(r, f"{v}.png", "picture", "display", facts=DicomFacts(**facts)) for v, r in radiographs.items()}
    )


def grid():
    return films.reconstructor().card.grid_at((0.0, 0.0, 0.0))


def found(radiographs, target):
    return {f.check: f for f in checks_of_pictures(radiographs, grid(), target, films.calibration())}


def same(radiograph: Radiograph, values) -> Radiograph:
    return Radiograph(np.ascontiguousarray(values, dtype=np.float32), radiograph.camera, scaled=False)


@pytest.mark.parametrize("number", range(6))
def test_phantoms_pass(number):
    case = films.femur(number)
    assert found(films.exposed(case), case.target) == {}


def test_turned_and_swapped_films_are_flagged_and_mostly_named_rightly():
    named = []
    for number in range(4):
        case = films.femur(number)
        ap, lat = films.exposed(case).values()
        other = {"femur_left": "femur_right", "femur_right": "femur_left"}[case.target]
        fallen = {"ap": same(ap, ap.line_integrals[::-1]), "lat": same(lat, lat.line_integrals[::-1])}
        swapped = {"ap": same(ap, lat.line_integrals), "lat": same(lat, ap.line_integrals)}
        for views, target, says in (
            (swapped, case.target, "AP and LAT swapped"),
            ({"ap": same(ap, ap.line_integrals[:, ::-1]), "lat": lat}, case.target, "the AP picture is mirrored"),
            (fallen, case.target, "upside down"),
            ({"ap": ap, "lat": lat}, other, "the other side"),
        ):
            findings = found(views, target)
            assert {"orientation", "familiarity"} & set(findings), (number, says)
            named.append("orientation" in findings and says in findings["orientation"].text)
    assert np.mean(named) >= 0.75, named


def test_heights_of_two_views_agree_or_do_not():
    """A lateral view of the same patient held 15 mm higher shows everything 15 mm lower."""
    case = films.femur(1)
    ap = case.radiographs["ap"]
    lat = case.radiographs["lat"]
    assert abs(heights([ap, lat], grid())[0]) <= 2
    lift = np.eye(4)
    lift[2, 3] = 15.0
    higher = Radiograph(render(case.ct, lat.camera.moved(lift)).line_integrals, lat.camera)
    assert abs(heights([ap, higher], grid())[0]) == pytest.approx(15, abs=2)
    assert "disagree in height" in found({"ap": ap, "lat": higher}, case.target)["heights"].text
    tilted = Radiograph(lat.line_integrals, orbit_camera(90.0, cranial_deg=10.0, detector_shape=(128, 128)))
    assert heights([ap, tilted], grid()) is None


def test_films_of_two_patients_are_mostly_flagged_and_no_dice_is_promised():
    sides = {side: [n for n in range(10) if films.femur(n).target == side] for side in ("femur_left", "femur_right")}
    flagged = []
    for side, numbers in sides.items():
        for one, other in pairwise(numbers):
            views = {"ap": films.exposed(films.femur(one))["ap"], "lat": films.exposed(films.femur(other))["lat"]}
            flagged.append(bool(found(views, side)))
    assert len(flagged) >= 6 and np.mean(flagged) >= 0.7, flagged
    one, other = sides["femur_right"][:2]
    views = {"ap": films.exposed(films.femur(one))["ap"], "lat": films.exposed(films.femur(other))["lat"]}
    wishes = Wishes((0.0, 0.0, 0.0), anyway=True)
    reconstructor, calibration = films.reconstructor(), films.calibration()
    answer = answered(reconstructor, loaded(views), target="femur_right", calibration=calibration, wishes=wishes)
    assert ("expected_dice" in answer.confidence["femur_right"]) == (not answer.findings)


def test_files_of_other_people_parts_and_sides_are_refused():
    case = films.femur(0)
    card = films.reconstructor().card
    two = loaded(case.radiographs)
    assert checks_of_films(two, card, case.target) == []
    one, other = two.views.values()
    people = LoadedRadiographs({"ap": replace(one, patient_key="a"), "lat": replace(other, patient_key="b")})
    assert "different patient ids" in checks_of_films(people, card, case.target)[0].text
    chest = checks_of_films(loaded(case.radiographs, body_part="CHEST"), card, case.target)
    assert [f.verdict for f in chest] == ["refuse", "refuse"] and "shows chest" in chest[0].text
    assert checks_of_films(loaded(case.radiographs, body_part="HIP"), card, case.target) == []
    side = {"femur_left": "right", "femur_right": "left"}[case.target]
    assert "the files say" in checks_of_films(loaded(case.radiographs, laterality=side), card, case.target)[0].text
    sides = LoadedRadiographs(
        {
            "ap": replace(one, facts=DicomFacts(laterality="left")),
            "lat": replace(other, facts=DicomFacts(laterality="right")),
        }
    )
    assert "different sides" in checks_of_films(sides, card, "")[0].text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source_detector_mm": 90.0}, "source-detector distance"),
        ({"pixel_mm": (0.001, 0.001)}, "pixel pitch"),
        ({"pixel_mm": (9.5, 9.5), "detector_shape": (512, 512)}, "field at the bone"),
    ],
)
def test_geometry_that_no_room_has_is_refused(change, says):
    camera = replace(films.femur(0).radiographs["ap"].camera, **change)
    view = Radiograph(np.ones(camera.detector_shape, np.float32), camera)
    findings = checks_of_geometry({"ap": view}, grid())
    assert findings[0].verdict == "refuse" and says in findings[0].text
    with pytest.raises(DataError, match=r"refused: .*--anyway"):
        require(findings, anyway=False)
    assert require(findings, anyway=True) == (findings[0].text,)


def test_one_picture_for_two_views_is_refused():
    ap, lat = films.femur(0).radiographs.values()
    assert found({"ap": ap, "lat": same(lat, ap.line_integrals)}, "femur_left")["two pictures"].verdict == "refuse"


@pytest.mark.parametrize("name", ["camera", "coins", "moon", "page", "text", "brick", "grass", "gravel"])
def test_photographs_are_refused(name):
    data = pytest.importorskip("skimage.data")
    try:
        photograph = getattr(data, name)().astype(np.float32)
    except OSError:
        pytest.skip("this picture is not installed")
    views = {}
    for view, angle in (("ap", 0.0), ("lat", 90.0)):
        values = photograph if view == "ap" else photograph[:, ::-1].T
        camera = orbit_camera(angle, detector_shape=values.shape, detector_mm=(240.0, 240.0))
        views[view] = Radiograph(np.ascontiguousarray(values), camera, scaled=False)
    with pytest.raises(DataError, match="look unlike those the network knows"):
        answered(
            films.reconstructor(), loaded(views), target="femur_left", calibration=films.calibration(), wishes=PLAIN
        )


@pytest.mark.data
def test_a_real_chest_is_refused_by_its_words_and_by_its_looks(test_data):
    file = test_data / "xray_dicom" / "RG1_J2KI.dcm"
    chest = load_radiographs({"ap": file}, pixel_mm=0.2)
    shared = {"target": "femur_left", "calibration": films.calibration(), "wishes": PLAIN}
    with pytest.raises(DataError, match="shows chest"):
        answered(
            films.reconstructor(),
            chest,
            **shared,
        )
    silent = LoadedRadiographs({"ap": replace(chest.views["ap"], facts=DicomFacts())})
    with pytest.raises(DataError, match="look unlike"):
        answered(films.reconstructor(), silent, **{**shared, "wishes": Wishes((0.0, 0.0, 0.0), confidence=False)})


@pytest.mark.data
def test_a_real_hip_is_flagged_and_not_refused(test_data):
    """A frog-leg view, far from the phantoms: an answer, if any, must come with a warning."""
    hip = load_radiographs({"ap": test_data / "xray_dicom" / "RG2_J2KR.dcm"}, sdd_mm=1150.0)
    centre = (0.0, 0.0, 60.0)  # where the head of the femur is on this film
    wishes = Wishes(centre, confidence=False)
    answer = answered(films.reconstructor(), hip, target="femur_left", calibration=films.calibration(), wishes=wishes)
    assert {"familiarity", "orientation"} & {f.check for f in answer.findings}
    assert any("1 view(s) given" in w for w in answer.result.warnings)
