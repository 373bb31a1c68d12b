"""The scene that the viewer gets: surfaces and labels that read back as they were."""

from __future__ import annotations

import base64
import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import trimesh

from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.report.content import REFERENCE_COLOUR, ReportCase
from boneray.report.scene import faces_per_mesh, mz3, reference_meshes, scene, simplified_meshes


def test_a_surface_reads_back_from_its_bytes_to_a_hundredth_of_a_millimetre():
    mesh = Mesh(np.array([[0.123, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 2, 1], [0, 1, 3]]))
    raw = gzip.decompress(mz3(mesh))
    assert struct.unpack("<HHIII", raw[:16]) == (0x5A4D, 3, 2, 4, 0)
    assert np.array_equal(np.frombuffer(raw[16:40], "<i4").reshape(2, 3), mesh.faces)
    assert np.allclose(np.frombuffer(raw[40:], "<f4").reshape(4, 3), mesh.vertices_mm, atol=0.0051)


def test_labels_are_numbered_in_order_with_their_names_on_their_grid(compared_case: ReportCase):
    values = scene(compared_case, {}, {})
    labels = values["labels"]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(labels["nifti"])))
    assert labels["names"] == ["hip_left", "femur_left"]
    assert np.allclose(image.affine, compared_case.prediction.grid.world_from_voxel, atol=1e-4)
    femur = np.asarray(image.dataobj) == 2
    assert np.array_equal(femur, compared_case.prediction.mask(53))
    assert values["reference"]["labels"]["colours"] == [list(REFERENCE_COLOUR)] * 3


def test_without_reference_the_scene_says_none(plain_case: ReportCase):
    assert scene(plain_case, {}, {})["reference"] is None
    assert reference_meshes(None, 100) == {}


def test_large_label_maps_are_coarsened_and_keep_their_place():
    data = np.zeros((600, 4, 4), dtype=np.uint8)
    data[300:303] = 9
    case = ReportCase("long", LabelMap(data, Grid((600, 4, 4), (0.5, 0.5, 0.5), (10.0, 0.0, 0.0))), {}, {})
    labels = scene(case, {}, {})["labels"]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(labels["nifti"])))
    assert image.shape[0] == 200
    assert np.allclose(image.affine[:3, 3], (10.0, 0.0, 0.0)) and image.affine[0, 0] == pytest.approx(1.5)
    assert np.asarray(image.dataobj)[100].max() == 1


def test_too_many_labels_for_one_byte_are_an_error():
    grid = Grid((300, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    case = ReportCase("many", LabelMap(np.arange(300, dtype=np.int32).reshape(300, 1, 1), grid), {}, {})
    with pytest.raises(DataError, match="299 labels"):
        scene(case, {}, {})


def test_the_budget_of_faces_is_shared_and_kept():
    assert [faces_per_mesh(n) for n in (0, 1, 15, 30, 10_000)] == [20_000, 20_000, 20_000, 10_000, 600]
    body = trimesh.creation.icosphere(subdivisions=5)
    meshes = {
        "hip_left": Mesh(np.array(body.vertices), np.array(body.faces)),
        "sacrum": Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)),
    }
    kept = simplified_meshes(meshes, 1000)
    assert list(kept) == ["hip_left"] and len(kept["hip_left"].faces) <= 1010
