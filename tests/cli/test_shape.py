"""Depth and shape from the command line, on phantoms and on real films."""

import json

import numpy as np
import pytest
import torch
import trimesh

from boneray.core.camera import orbit_camera
from boneray.core.mesh import Mesh
from boneray.io.cameras import write_cameras
from boneray.io.meshes import read_mesh, write_mesh
from boneray.models.checkpoint import CheckpointCard, build_network, save_checkpoint
from boneray.models.depth_3ddx import NARROW

BALL = trimesh.creation.icosphere(3, 1.0)
DIRECTIONS, FACES = np.asarray(BALL.vertices, float), np.asarray(BALL.faces, np.int64)
BONES = ("hip_left", "hip_right", "femur_left", "femur_right")


@pytest.fixture
def eggs(tmp_path):
    """Four ellipsoids in correspondence, as files."""
    sizes = ((40, 25, 15), (46, 25, 15), (43, 28, 15), (41, 24, 18))
    return [write_mesh(tmp_path / f"egg{n}.ply", Mesh(DIRECTIONS * size, FACES)) for n, size in enumerate(sizes)]


def checkpoints(folder, *, views=("ap",)):
    """Untrained narrow depth and mask networks for both hips and femora; the masks say bone everywhere."""
    out = []
    for name, settings in (
        ("depth_3ddx", NARROW.model_dump(mode="json")),
        ("mask_3ddx", {"channels": [8, 12, 16, 24], "start_bias": 5.0}),
    ):
        card = CheckpointCard(name, settings, "femora", BONES, (32,) * 3, (320.0,) * 3, (64, 64), views)
        torch.manual_seed(0)
        out.append(folder / f"{name}.safetensors")
        save_checkpoint(out[-1], build_network(card), card)
    return out


def test_a_model_is_built_shown_and_fitted(boneray, eggs, tmp_path):
    model, done = tmp_path / "egg.npz", tmp_path / "done.ply"
    built = boneray("shape", "build", *eggs, "--corresponding", "--out", model, "--json")
    assert built.code == 0, built.err
    facts = json.loads(built.out)
    assert facts["members"] == 4 and facts["modes"] == 3 and facts["compactness"][-1] == pytest.approx(1.0)
    shown = boneray("shape", "inspect", model)
    assert shown.code == 0 and "share of variance" in shown.out and len(shown.out.splitlines()) == 4
    front = DIRECTIONS[DIRECTIONS[:, 1] > 0] * (44, 26, 16)
    np.save(tmp_path / "front.npy", front)
    fitted = boneray("shape", "fit", model, tmp_path / "front.npy", "--faces", "front", "-o", done, "--json")
    assert fitted.code == 0, fitted.err
    assert json.loads(fitted.out)["target_to_shape_mm"] < 0.5
    off = np.abs(np.linalg.norm(read_mesh(done).vertices_mm / (44, 26, 16), axis=1) - 1)
    assert off.max() < 0.08
    again = boneray("shape", "fit", model, tmp_path / "front.npy", "-o", done)
    assert again.code == 2 and "--force" in again.err


def test_depth_of_a_mesh_from_the_command_line(boneray, eggs, tmp_path):
    camera = orbit_camera(0.0, detector_shape=(128, 128), detector_mm=(180.0, 180.0))
    write_cameras(tmp_path / "cameras.json", {"ap": camera})
    ran = boneray("depth", eggs[0], "--camera", tmp_path / "cameras.json", "--out", tmp_path / "d", "--json")
    assert ran.code == 0, ran.err
    bone = json.loads(ran.out)["bones"][0]
    # 4/3 pi 40 25 15 mm^3 = 62.8 ml, less for the flat triangles and for the pixels of the rim
    assert bone["volume_ml"] == pytest.approx(62.8, rel=0.02) and bone["hidden_share"] == 0.0
    cloud = np.load(tmp_path / "d" / "egg0_points.npy")
    assert np.abs(np.linalg.norm(cloud / (40, 25, 15), axis=1) - 1).max() < 0.02
    assert read_mesh(tmp_path / "d" / "egg0.ply").volume_mm3 > 55000


def test_what_cannot_be_used_is_one_line(boneray, eggs, tmp_path):
    near = orbit_camera(0.0, source_object_mm=1000.0, source_detector_mm=900.0)
    write_cameras(tmp_path / "near.json", {"ap": near})
    hole = write_mesh(tmp_path / "hole.ply", Mesh(DIRECTIONS * 30.0, FACES[5:]))
    boneray("shape", "build", *eggs, "--corresponding", "--out", tmp_path / "m.npz")
    np.save(tmp_path / "two.npy", DIRECTIONS[:2])
    near = tmp_path / "near.json"
    cases = {
        "beyond the detector at 900 mm": ("depth", eggs[0], "--camera", near, "--out", tmp_path / "a"),
        "not closed": ("depth", hole, "--camera", near, "--out", tmp_path / "a"),
        "no view lat": ("depth", eggs[0], "--camera", near, "--view", "lat", "--out", tmp_path / "a"),
        "2 target points cannot determine 3 modes": (
            "shape", "fit", tmp_path / "m.npz", tmp_path / "two.npy", "-o", tmp_path / "b.ply",
        ),
        "use both or front": (
            "shape", "fit", tmp_path / "m.npz", tmp_path / "two.npy", "--faces", "back", "-o", tmp_path / "b.ply",
        ),
        "at least two": ("shape", "build", eggs[0], "-o", tmp_path / "c.npz"),
        "holds no PNG": ("pretrain", tmp_path / "nowhere", "-o", tmp_path / "e.safetensors"),
    }  # fmt: skip
    for words, arguments in cases.items():
        got = boneray(*arguments)
        assert got.code == 2 and words in got.err and len(got.err.splitlines()) == 1, (words, got.err)


def test_pretraining_from_the_command_line(boneray, tmp_path):
    from boneray.io.images import write_picture

    rng = np.random.default_rng(0)
    for n in range(3):
        write_picture(tmp_path / f"{n}.png", rng.random((80, 70)))
    ran = boneray("pretrain", tmp_path, "-o", tmp_path / "e.safetensors", "--pixels", 64, "--steps", 2, "--narrow",
                  "--batch-size", 2)  # fmt: skip
    assert ran.code == 0, ran.err
    assert "from 3 pictures" in ran.err and (tmp_path / "e.safetensors").is_file()


@pytest.mark.data
def test_real_calibrated_films_go_through(boneray, test_data, tmp_path):
    """A demonstration: the networks are untrained, the camera and the way of the data are real."""
    depth, mask = checkpoints(tmp_path)
    wrist = test_data / "xray_biplane_wrist"
    picture, camera = wrist / "xr_rad_uln_cam01_UND.0002.tif", wrist / "xr_calib_wrist_cam01.txt"
    ran = boneray("depth-predict", picture, "--camera", camera, "--checkpoint", depth, "--masks", mask,
                  "--centre-depth-mm", 800, "--out", tmp_path / "d", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [bone["bone"] for bone in said["bones"]] == list(BONES) and said["camera"]["detector_shape"] == [64, 64]
    maps = np.load(tmp_path / "d" / "depth.npz")
    both = np.stack([maps["front_mm"], maps["back_mm"]])
    assert np.isfinite(both).any() and np.nanmean(both) == pytest.approx(800.0, abs=0.5)
    without = boneray("depth-predict", picture, "--checkpoint", depth, "--out", tmp_path / "e")
    assert without.code == 2 and len(without.err.splitlines()) == 1


@pytest.mark.data
def test_the_hip_film_needs_its_distance(boneray, test_data, tmp_path):
    depth, mask = checkpoints(tmp_path)
    film = test_data / "xray_dicom" / "RG2_J2KR.dcm"
    bare = boneray("depth-predict", film, "--checkpoint", depth, "--out", tmp_path / "a")
    assert bare.code == 2 and "--sdd-mm" in bare.err and len(bare.err.splitlines()) == 1
    given = boneray("depth-predict", film, "--checkpoint", depth, "--masks", mask, "--view", "ap", "--sdd-mm", 1150,
                    "--sod-mm", 1000, "--out", tmp_path / "b", "--json")  # fmt: skip
    assert given.code == 0, given.err
    assert len(json.loads(given.out)["bones"]) == 4
    wrong = boneray("depth-predict", film, "--checkpoint", depth, "--view", "ap", "--sdd-mm", 900, "--sod-mm", 1000,
                    "--out", tmp_path / "c")  # fmt: skip
    assert wrong.code == 2 and "900" in wrong.err and len(wrong.err.splitlines()) == 1
    other = boneray("depth-predict", film, "--checkpoint", mask, "--view", "ap", "--sdd-mm", 1150, "--sod-mm", 1000,
                    "--out", tmp_path / "c")  # fmt: skip
    assert other.code == 2 and "predicts no depth" in other.err


def test_no_pixel_of_bone_and_too_many_views_are_one_line(tmp_path):
    from boneray.core.errors import BonerayError
    from boneray.core.radiograph import Radiograph
    from boneray.reconstruction.depth import predict_depth

    depth, mask = checkpoints(tmp_path)
    camera = orbit_camera(0.0, detector_shape=(64, 64))
    picture = Radiograph(np.random.default_rng(0).random((64, 64)).astype(np.float32), camera)
    card = CheckpointCard("mask_3ddx", {"channels": [8, 12, 16, 24], "start_bias": -50.0}, "femora", BONES, (32,) * 3,
                          (320.0,) * 3, (64, 64), ("ap",))  # fmt: skip
    save_checkpoint(tmp_path / "blind.safetensors", build_network(card), card)
    with pytest.raises(BonerayError, match="no pixel of the radiograph was taken for bone"):
        predict_depth(picture, depth, masks=tmp_path / "blind.safetensors")
    (tmp_path / "two").mkdir()
    both, _ = checkpoints(tmp_path / "two", views=("ap", "lat"))
    with pytest.raises(BonerayError, match="needs 2 views"):
        predict_depth(picture, both)
    found = predict_depth(picture, depth, masks=mask, centre_depth_mm=700.0)
    assert found.names == BONES and found.maps.valid.all()
