"""Meshes in four formats keep their volume; pictures keep their values; bad files are refused."""

import numpy as np
import pytest
import trimesh
from PIL import Image

from boneray.core.errors import InputError
from boneray.core.mesh import Mesh
from boneray.io.images import read_picture, write_picture
from boneray.io.meshes import FORMATS, read_mesh, write_mesh, write_meshes


@pytest.mark.parametrize("kind", FORMATS)
def test_a_box_keeps_volume_place_and_outward_faces(tmp_path, kind):
    box = trimesh.creation.box((10.0, 20.0, 30.0), transform=trimesh.transformations.translation_matrix((5, 6, 7)))
    mesh = Mesh(np.asarray(box.vertices), np.asarray(box.faces))
    back = read_mesh(write_mesh(tmp_path / f"box.{kind}", mesh))
    assert back.volume_mm3 == pytest.approx(6000.0, rel=1e-5)
    np.testing.assert_allclose(back.vertices_mm.mean(0), (5, 6, 7), atol=1e-4)


def test_bad_meshes_are_one_clear_line(tmp_path):
    (tmp_path / "a.stl").write_bytes(b"solid nothing")
    with pytest.raises(InputError):
        read_mesh(tmp_path / "a.stl")
    with pytest.raises(InputError, match="unknown"):
        read_mesh((tmp_path / "a.stl").rename(tmp_path / "a.xyz"))


def test_a_picture_keeps_its_values_within_half_a_grey_level(tmp_path):
    values = np.random.default_rng(0).random((20, 30), np.float32) * 7
    scale = write_picture(tmp_path / "p.png", values)
    np.testing.assert_allclose(read_picture(tmp_path / "p.png") * scale, values, atol=0.51 * scale)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_every_common_kind_of_picture_is_grey_afterwards(tmp_path, mode):
    picture = Image.new(mode, (16, 12), 100 if mode != "RGB" else (100, 100, 100))
    picture.save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").shape == (12, 16)


@pytest.mark.parametrize("content", [b"", b"GIF", b"\x89PNG\r\n\x1a\n123"])
def test_what_is_no_picture_is_one_clear_line(tmp_path, content):
    (tmp_path / "p.png").write_bytes(content)
    with pytest.raises(InputError, match="not a readable picture"):
        read_picture(tmp_path / "p.png")


@pytest.mark.parametrize("kind", FORMATS)
def test_bones_together_keep_their_volume_and_say_what_they_are_for(tmp_path, kind):
    boxes = [trimesh.creation.box((n, n, n), transform=np.diag([1.0, 1, 1, 1])) for n in (4.0, 10.0)]
    meshes = {
        name: Mesh(np.asarray(box.vertices) + 50 * n, np.asarray(box.faces))
        for n, (name, box) in enumerate(zip(("sacrum", "femur_left"), boxes, strict=True))
    }
    path = write_meshes(tmp_path / f"bones.{kind}", meshes)
    assert read_mesh(path).volume_mm3 == pytest.approx(64.0 + 1000.0, rel=1e-5)
    raw = path.read_bytes()
    assert b"not a medical device" in raw
    if kind in ("obj", "glb"):
        assert b"sacrum" in raw and b"femur_left" in raw
    if kind == "glb":
        scene = trimesh.load(path)
        assert sorted(scene.geometry) == ["femur_left", "sacrum"]
        assert scene.geometry["sacrum"].volume == pytest.approx(64.0, rel=1e-5)


def test_a_file_of_no_bone_is_not_written(tmp_path):
    with pytest.raises(InputError, match="no bone"):
        write_meshes(tmp_path / "bones.stl", {})
