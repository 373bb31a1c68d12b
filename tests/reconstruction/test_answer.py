"""From films to an answer: the same as in memory, good in noise, located, refined, and sure of itself as it may be."""

import json

import numpy as np
import pytest

from boneray.core.bones import bone
from boneray.core.camera import jittered, orbit_camera
from boneray.core.errors import InputError
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import phantom_case
from boneray.datasets.views import standard_cameras
from boneray.io.case_folder import read_case
from boneray.projection.render import render
from boneray.reconstruction.agreement import agreements, outlines
from boneray.reconstruction.answer import Wishes, answered
from boneray.reconstruction.confidence import overlaps
from boneray.reconstruction.localisation import located
from boneray.reconstruction.radiographs import LoadedRadiographs, LoadedView, load_radiographs
from boneray.reconstruction.refinement import refined
from tests.reconstruction import films

ORIGIN = (0.0, 0.0, 0.0)


def in_memory(radiographs) -> LoadedRadiographs:
    return LoadedRadiographs({v: LoadedView(r, v, "picture", "line integrals") for v, r in radiographs.items()})


def test_dicom_films_give_the_labels_of_the_memory_path(tmp_path, boneray):
    """Full physics, 20,000 photons per pixel, written as DICOM DX: the command and the function agree to the voxel."""
    case = films.femur(0)
    radiographs = films.exposed(case)
    files = films.dicom_films(tmp_path, radiographs)
    done = boneray("reconstruct", "--ap", files["ap"], "--lat", files["lat"], "--bone", case.target,
                   "--checkpoint", films.FEMUR, "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    run = json.loads(done.out)
    labels = read_case(tmp_path / "out").labels
    expected = films.reconstructor().labels(radiographs, target=case.target)
    changed = int((labels.data != expected.data).sum())
    assert changed <= 2  # values are stored in 65,536 steps, and a voxel may lie on the edge of decision
    assert films.dice(case.labels.data, labels.data) > 0.95
    assert run["checks"] == [] and run["assumed"] == [] and run["centre"]["from"] == "rays"
    sure = run["confidence"][case.target]
    assert sure["overlap"] > 0.95 and abs(sure["expected_dice"] - films.dice(case.labels.data, labels.data)) < 0.06
    assert all(one["score"] > 0.2 and one["covered"] == 1.0 for one in run["reprojection"].values())
    assert "P1" not in done.out and "Phantom" not in done.out  # ids of patients stay in their files


def test_png_films_with_a_camera_file_give_nearly_the_same(tmp_path):
    case = films.femur(1)
    radiographs = films.exposed(case)
    files, cameras = films.png_films(tmp_path, radiographs)
    labels = films.reconstructor().labels(load_radiographs(files, cameras=[cameras]).radiographs, target=case.target)
    expected = films.reconstructor().labels(radiographs, target=case.target)
    assert films.dice(expected.data, labels.data) > 0.995


@pytest.mark.slow
def test_noise_costs_less_than_a_hundredth():
    """20,000 photons per pixel, 80 kV, detector blur: mean Dice within 0.01 of the clean monochromatic pictures."""
    clean, noisy = [], []
    for number in range(20):
        case = films.femur(number)
        for found, radiographs in ((clean, case.radiographs), (noisy, films.exposed(case))):
            labels = films.reconstructor().labels(radiographs, target=case.target, centre_mm=ORIGIN)
            found.append(films.dice(case.labels.data, labels.data))
    assert np.mean(noisy) > np.mean(clean) - 0.01, (np.mean(clean), np.mean(noisy))
    assert np.mean(clean) > 0.95


def test_a_large_film_is_cut_to_the_field_of_training():
    """The same patient on a film of twice the size gives the same bone."""
    case = films.femur(2)
    wide = {}
    for view, r in case.radiographs.items():
        camera = orbit_camera(0.0 if view == "ap" else 90.0, detector_shape=(256, 256), detector_mm=(475.2, 475.2))
        wide[view] = Radiograph(render(case.ct, camera).line_integrals, camera)
        assert r.camera.pixel_mm[0] * 128 == pytest.approx(475.2 / 2)
    expected = films.reconstructor().labels(case.radiographs, target=case.target, centre_mm=ORIGIN)
    found = films.reconstructor().labels(wide, target=case.target, centre_mm=ORIGIN)
    assert films.dice(expected.data, found.data) > 0.98


def test_the_bone_is_located_on_a_large_film():
    """The film is centred 50 mm off the bone; the answer must come from where the bone is."""
    case = films.femur(3)
    aside = np.array([18.0, -12.0, -25.0])
    wide = {}
    for view, angle in (("ap", 0.0), ("lat", 90.0)):
        camera = orbit_camera(angle, centre_mm=aside, detector_shape=(256, 256), detector_mm=(420.0, 420.0))
        wide[view] = Radiograph(render(case.ct, camera).line_integrals, camera)
    card = films.reconstructor().card
    centre = located(wide, card, case.target, films.calibration(), aside)
    assert np.linalg.norm(centre) < 0.6 * np.linalg.norm(aside)
    with pytest.raises(InputError, match="give --centre-mm"):
        located(wide, card, case.target, None, aside)


def test_outlines_and_agreement_follow_the_bone():
    case = films.femur(1)
    truth = agreements(case.labels, case.radiographs)
    lines = outlines(case.labels, case.radiographs)
    assert {len(found[bone(case.target).bone_id]) > 0 for found in lines.values()} == {True}
    off = LabelMap(np.roll(case.labels.data, 5, axis=2), case.labels.grid)  # 11 mm higher
    wrong = agreements(off, case.radiographs)
    assert all(truth[view].score > wrong[view].score + 0.1 for view in truth)


def test_repeated_answers_overlap_less_where_pictures_are_poor():
    case = films.femur(0)

    def sure(radiographs):
        first = films.reconstructor().labels(radiographs, target=case.target, centre_mm=ORIGIN)

        def ask(pictures, target):
            return films.reconstructor().labels(pictures, target=target, centre_mm=ORIGIN)

        return overlaps(first, ask, radiographs, case.target)[bone(case.target).bone_id]

    good, poor = sure(films.exposed(case)), sure(films.exposed(case, photons=40.0))
    assert good > 0.95 and poor < good - 0.01
    known = films.calibration()
    assert known.expected_dice(good) > known.expected_dice(poor)


def test_the_reliability_table_is_reliable():
    """By groups of held-out phantoms, expected and true Dice; the table comes with the calibration."""
    for name in ("raylift_tiny_femur", "raylift_tiny_vertebra"):
        rows = films.calibration(name).tables["reliability"]
        assert sum(row["patients"] for row in rows) >= 100
        gaps = [abs(row["expected_dice"] - row["dice"]) for row in rows]
        assert np.mean(gaps) < 0.05, gaps


def test_a_bone_that_was_moved_is_brought_back():
    case = films.femur(1)
    off = LabelMap(np.roll(case.labels.data, (1, 2), axis=(0, 2)), case.labels.grid)  # 2.25 and 4.5 mm
    back, done = refined(off, case.radiographs)
    before, after = films.dice(case.labels.data, off.data), films.dice(case.labels.data, back.data)
    assert done[case.target].kept and done[case.target].shift_mm == pytest.approx(np.hypot(2.25, 4.5), abs=1.5)
    assert after > before + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("how", ["as answered", "5 mm off", "cameras lie"])
def test_refinement_is_never_worse_on_average(how):
    before, after = [], []
    for number in range(12):
        case = films.femur(number)
        radiographs = films.exposed(case)
        if how == "cameras lie":
            rng = generator(films.SEED, "lie", number)
            radiographs = {
                view: Radiograph(
                    r.line_integrals, jittered(r.camera, rng, centre_mm=ORIGIN, rotation_deg=3, shift_mm=4)
                )
                for view, r in radiographs.items()
            }
        labels = films.reconstructor().labels(radiographs, target=case.target, centre_mm=ORIGIN)
        if how == "5 mm off":
            labels = LabelMap(np.roll(labels.data, (1, 2), axis=(0, 2)), labels.grid)
        better, _ = refined(labels, radiographs)
        before.append(films.dice(case.labels.data, labels.data))
        after.append(films.dice(case.labels.data, better.data))
    assert np.mean(after) >= np.mean(before), (np.mean(before), np.mean(after))
    if how == "5 mm off":
        assert np.mean(after) > np.mean(before) + 0.05, (np.mean(before), np.mean(after))


def test_the_answer_says_what_it_assumed_and_did():
    case = films.femur(0)
    wishes = Wishes(ORIGIN, refine=True)
    answer = answered(films.reconstructor(), in_memory(films.exposed(case)), target=case.target, wishes=wishes)
    told = answer.to_dict()
    assert told["centre"] == {"from": "given", "mm": [0.0, 0.0, 0.0]}
    assert set(told["refinement"]) == {case.target} and set(told["reprojection"]) == {"ap", "lat"}
    assert "expected_dice" not in told["confidence"][case.target]
    assert any("no calibration" in warning for warning in answer.result.warnings)
    assert standard_cameras(case.labels.grid, ("ap",), pixels=128)["ap"] == case.radiographs["ap"].camera
    assert phantom_case("femur", seed=films.SEED, number=0, voxels=64, pixels=128).target == case.target
