"""Paired data: every bone of an articulated phantom is found where it was put, and what was not found is left out."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boneray.core.bones import bone
from boneray.core.errors import InputError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.bone_poses import PoseLimits, moved_labels, register_bones
from boneray.datasets.collection import prepare_collection
from boneray.datasets.paired import (
    articulated_patient,
    cases,
    read_pose,
    with_bone_moved,
    write_faulty,
    write_miniature,
    write_patient,
    write_pose,
)
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS
from boneray.datasets.splits import k_fold
from boneray.datasets.views import standard_cameras
from boneray.io.case_folder import read_case, read_dataset
from boneray.io.files import read_json, write_json
from boneray.phantom.raster import rasterise
from boneray.projection.registration import register_motion
from boneray.projection.render import attenuation_per_mm, render

FEMUR, HIP = "femur_right", "hip_right"


def error(found, true, points):
    """(mean distance of the points mm, angle degrees) between two motions."""
    a, b = (points @ m[:3, :3].T + m[:3, 3] for m in (found, true))
    turn = Rotation.from_matrix(found[:3, :3].T @ true[:3, :3]).magnitude()
    return float(np.linalg.norm(a - b, axis=1).mean()), float(np.rad2deg(turn))


def body_motion(angles_deg, shift_mm):
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    return motion


def other_tissue(scene, rng):
    """The same skeleton another day: muscles moved, the outline a little wider or narrower, other noise."""
    outline = replace(
        scene.outline,
        semi_axes_mm=tuple(np.array(scene.outline.semi_axes_mm) * rng.uniform(0.95, 1.05, 2)),
        noise_seed=int(rng.integers(2**31)),
    )
    blobs = tuple(
        replace(b, centre_mm=tuple(b.centre_mm + rng.uniform(-8, 8, 3)), hu=b.hu + rng.uniform(-15, 15))
        for b in scene.blobs
    )
    return replace(scene, outline=outline, blobs=blobs)


class Patient:
    """CT, labels, two noisy pictures of unknown scale after the femur turned and the body moved, and the truth."""

    def __init__(self, number, femur_deg, *, voxels=72, pixels=96):
        scene = articulated_patient(number)
        self.grid = Grid.cube(voxels, 180.0)
        self.hu, self.ids = rasterise(scene, self.grid)
        moved, turn = with_bone_moved(scene, FEMUR, femur_deg)
        hu, self.moved_ids = rasterise(other_tissue(moved, generator(number, "tissue")), self.grid)
        body = body_motion((3, -4, 5), (5, -6, 8))
        self.true = {HIP: body, FEMUR: body @ turn}
        self.radiographs = {}
        for name, camera in standard_cameras(self.grid, ("ap", "lat"), pixels=pixels).items():
            seen = np.exp(-render(Volume(hu, self.grid), camera).line_integrals.astype(float))
            counts = generator(number, "noise", name).poisson(seen * 1e5) / 1e5
            grey = 3 * np.maximum(-np.log(np.maximum(counts, 5e-6)), 0) ** 0.9 + 1
            self.radiographs[name] = Radiograph(grey.astype(np.float32), camera.moved(body), scaled=False)

    def points(self, name):
        return self.grid.to_world(np.argwhere(self.ids == bone(name).bone_id)[::50])


@pytest.fixture(scope="module")
def flexed():
    return Patient(0, (8.0, 4.0, 6.0))  # 10.8 degrees


@pytest.fixture(scope="module")
def found(flexed):
    return register_bones(
        Volume(flexed.hu, flexed.grid), LabelMap(flexed.ids, flexed.grid), flexed.radiographs, seed_name="flexed"
    )


def test_every_bone_of_an_articulated_patient_is_found_on_its_own(flexed, found):
    body, poses = found
    for name, true in flexed.true.items():
        start_mm, _ = error(np.eye(4), true, flexed.points(name))
        assert start_mm > 8
        mm, deg = error(poses[name].world_from_ct, true, flexed.points(name))
        assert mm < 0.5 and deg < 0.5, name
        assert poses[name].reason == ""
    # the whole body taken as one piece would leave the femur where the hip is
    assert error(body, flexed.true[FEMUR], flexed.points(FEMUR))[0] > 4
    assert poses[FEMUR].moved_deg == pytest.approx(10.8, abs=1.0)


def test_the_moved_labels_are_those_of_the_moved_patient(flexed, found):
    number = bone(FEMUR).bone_id
    back = np.linalg.inv(flexed.true[HIP])  # into the frame in which the moved patient was made
    motions = {name: back @ pose.world_from_ct for name, pose in found[1].items()}
    labels, overlap_mm3 = moved_labels(LabelMap(flexed.ids, flexed.grid), motions, flexed.grid)
    assert dice(labels.data == number, flexed.moved_ids == number) > 0.97
    assert dice(flexed.ids == number, flexed.moved_ids == number) < 0.8
    assert overlap_mm3 < 0.05 * (labels.data == number).sum() * flexed.grid.voxel_volume_mm3


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_bone_without_its_surroundings_is_not_found(flexed, found):
    """Why other bones and soft tissue are left in: alone, the femur ends ten times further from the truth."""
    mask = flexed.ids == bone(FEMUR).bone_id
    soft = attenuation_per_mm(np.array([40.0]))[0]
    alone = np.where(mask, attenuation_per_mm(flexed.hu) - soft, 0).astype(np.float32)
    centre = flexed.points(FEMUR).mean(0)
    made = register_motion(
        alone, flexed.grid, list(flexed.radiographs.values()), start=found[0], centre_mm=centre, near_mm=20.0
    )
    with_all = error(found[1][FEMUR].world_from_ct, flexed.true[FEMUR], flexed.points(FEMUR))[0]
    assert error(made.matrix, flexed.true[FEMUR], flexed.points(FEMUR))[0] > 10 * with_all


def test_motions_that_are_none_stay_none():
    """A body registered to its own pictures does not move."""
    patient = articulated_patient(0)
    grid = Grid.cube(48, 180.0)
    ct = Volume(rasterise(patient, grid)[0], grid)
    views = [render(ct, camera) for camera in standard_cameras(grid, ("ap", "lat"), pixels=64).values()]
    made = register_motion(attenuation_per_mm(ct.data), grid, views, edges=False, factors=(1,))
    assert made.correlation > 0.999999
    assert error(made.matrix, np.eye(4), grid.to_world(np.argwhere(ct.data > 300)[::50]))[0] < 0.01


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("paired")
    write_miniature(root / "raw")
    options = PrepareOptions("femur", voxels=48)
    made = prepare_collection(list(cases(root / "raw")), options, name="paired", out=root / "out", single=False)
    assert made["rejected"] == 0
    return root


def test_a_pose_becomes_a_case_with_the_real_pictures(prepared):
    names = [f"{pose}-{FEMUR}" for pose in ("P001-lying", "P001-standing", "P002-standing")]
    assert [row["case_id"] for row in read_dataset(prepared / "out")] == names
    case = read_case(prepared / "out" / names[1])
    assert case.patient_id == "P001" and case.ct is None and list(case.radiographs) == ["ap", "lat"]
    assert case.groups == {"grade": "2", "age_years": 61.0, "pose": "standing"}
    taken = read_pose(prepared / "raw" / "P001" / "standing")[0]
    for view, radiograph in case.radiographs.items():
        assert radiograph.camera == taken[view].camera
        correlation = np.corrcoef(radiograph.line_integrals.ravel(), taken[view].line_integrals.ravel())[0, 1]
        assert correlation > 0.99999 and not radiograph.scaled
    told = case.provenance["registration"]["bones"]
    assert set(told) == {FEMUR, HIP} and told[FEMUR]["correlation"] > 0.9
    assert told[FEMUR]["moved_deg"] == pytest.approx(np.hypot(6, 3), abs=1.5)


def test_two_poses_of_a_patient_hold_the_same_bone_in_two_places(prepared):
    lying, standing = (read_case(prepared / "out" / f"P001-{p}-{FEMUR}") for p in ("lying", "standing"))
    volumes = [(c.labels.data > 0).sum() for c in (lying, standing)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
    truth = with_bone_moved(articulated_patient(0), FEMUR, (6.0, 0.0, 3.0))[1]
    motions = [np.array(c.provenance["registration"]["bones"][FEMUR]["world_from_ct"]) for c in (lying, standing)]
    assert error(motions[0], np.eye(4), np.zeros((1, 3)))[1] < 1.0
    stand = body_motion((2, -3, 4), (3, -4, 5))
    points = standing.labels.grid.to_world(np.argwhere(lying.labels.data > 0)[::50])
    assert error(motions[1], stand @ truth, points)[0] < 1.5  # with voxels of 3.75 mm and 64 pixels


def test_native_keeps_the_bones_own_voxels_and_moves_the_cameras(prepared, tmp_path):
    pair = list(cases(prepared / "raw"))[1]
    prepare_collection([pair], PrepareOptions("femur", region="native"), name="p", out=tmp_path, single=True)
    case = read_case(tmp_path / f"P001-standing-{FEMUR}")
    placed = read_case(prepared / "out" / f"P001-standing-{FEMUR}")
    motion = np.array(case.provenance["registration"]["bones"][FEMUR]["world_from_ct"])
    centre_ct = case.labels.grid.to_world(np.argwhere(case.labels.data > 0).mean(0))
    for view in ("ap", "lat"):
        there = motion[:3, :3] @ centre_ct + motion[:3, 3]
        np.testing.assert_allclose(
            case.radiographs[view].camera.project(centre_ct), placed.radiographs[view].camera.project(there), atol=1e-3
        )


def test_folds_are_by_patient(prepared):
    patients = {f"P{n:03d}-{pose}": f"P{n:03d}" for n in range(9) for pose in ("lying", "standing")}
    grade = {case_id: str(int(patient[1:]) % 3) for case_id, patient in patients.items()}
    for parts in k_fold(patients, folds=3, seed=0, strata=grade):
        sides = [{patients[c] for c in parts[part]} for part in ("train", "validation", "test")]
        assert all(a.isdisjoint(b) for a, b in ((sides[0], sides[1]), (sides[0], sides[2]), (sides[1], sides[2])))
        assert sorted({grade[c] for c in parts["test"]}) == ["0", "1", "2"]


def test_what_was_not_found_is_rejected_with_the_reason(tmp_path):
    wanted = write_faulty(tmp_path / "raw")
    made = prepare_collection(
        list(cases(tmp_path / "raw")), PrepareOptions("femur", voxels=48), name="p", out=tmp_path / "out", single=False
    )
    rows = {row["case_id"].removesuffix(f"-{FEMUR}"): row for row in made["cases"]}
    assert {case_id: row.get("rule", "") for case_id, row in rows.items()} == wanted
    assert "of its shadow is in the pictures, 60 % needed" in rows["P012-lying"]["reason"]
    assert rows["P011-lying"]["reason"].startswith(f"registration: {FEMUR}: ")
    assert "registration" in (tmp_path / "out" / "curation.csv").read_text()
    assert made["faults"] == 0  # a curation result, not a failure to read


def test_a_far_body_is_found_from_the_stated_guess(tmp_path):
    scene = articulated_patient(1)
    far = body_motion((0, 0, 90), (400, 0, 0))
    write_patient(tmp_path / "P1", scene, voxels=48)
    write_pose(tmp_path / "P1" / "lying", scene, pixels=64, voxels=64, world_from_body=far)
    file = tmp_path / "P1" / "lying" / "cameras.json"
    guess = far @ body_motion((2, -2, 1), (4, 3, -4))
    write_json(file, read_json(file, "cameras") | {"world_from_ct": guess.tolist()})
    made = prepare_collection(
        list(cases(tmp_path)), PrepareOptions("femur", voxels=48), name="p", out=tmp_path / "out", single=False
    )
    assert made["made"] == 1
    case = read_case(tmp_path / "out" / f"P1-lying-{FEMUR}")
    found = np.array(case.provenance["registration"]["bones"][FEMUR]["world_from_ct"])
    assert error(found, far, np.zeros((1, 3)))[1] < 0.7
    assert case.labels.grid.centre_mm[0] == pytest.approx(400, abs=80)
    write_json(file, read_json(file, "cameras") | {"world_from_ct": np.diag([2.0, 1, 1, 1]).tolist()})
    with pytest.raises(InputError, match="world_from_ct must be a rigid 4x4"):
        read_pose(tmp_path / "P1" / "lying")


def test_dark_bones_are_turned_bright(tmp_path):
    write_miniature(tmp_path)
    folder = tmp_path / "P002" / "standing"
    bright = read_pose(folder)[0]["ap"].line_integrals
    values = json.loads((folder / "cameras.json").read_text())
    for view in values["views"]:
        view["polarity"] = "bone_dark"
    (folder / "cameras.json").write_text(json.dumps(values))
    np.testing.assert_allclose(read_pose(folder)[0]["ap"].line_integrals, bright.max() - bright, atol=1e-6)


def test_it_is_a_data_set_like_any_other(tmp_path):
    spec = DATASETS.get("paired").value
    spec.write_miniature(tmp_path)
    found = list(spec.cases(tmp_path, None))
    assert [(p.case_id, p.patient_id) for p in found] == [
        ("P001-lying", "P001"), ("P001-standing", "P001"), ("P002-standing", "P002"),
    ]  # fmt: skip
    (tmp_path / "patients.csv").write_text("name,grade\nP001,2\n")
    with pytest.raises(InputError, match="has no column patient_id"):
        list(spec.cases(tmp_path, None))
    assert PoseLimits().sweeps == 2
