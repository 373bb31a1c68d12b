"""Where the grid goes, what is warned about, and what is written."""

import numpy as np
import pytest
import torch
from torch import nn

from boneray.core.camera import jittered, orbit_camera
from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.radiograph import Radiograph
from boneray.io.case_folder import read_case
from boneray.io.meshes import read_mesh
from boneray.models.batch import LabelLogits
from boneray.models.checkpoint import CheckpointCard
from boneray.reconstruction.reconstruct import Reconstructor, meeting_point, write_reconstruction

CARD = CheckpointCard(
    "raylift_tiny", {}, "pelvis", ("sacrum", "hip_right"), (16,) * 3, (64.0,) * 3, (16, 16), ("ap", "lat")
)


class Fixed(nn.Module):
    """A network that always answers the same class map."""

    def __init__(self, classes):
        super().__init__()
        self.classes = torch.from_numpy(classes)

    def forward(self, batch):
        return LabelLogits(nn.functional.one_hot(self.classes, 3).movedim(-1, 0)[None].float())


def pictures(*angles, centre=(10.0, 20.0, 30.0)):
    rng = np.random.default_rng(0)
    cameras = [orbit_camera(a, centre_mm=centre, detector_shape=(16, 16), detector_mm=(110.0, 110.0)) for a in angles]
    return {f"{a:g}": Radiograph(rng.random((16, 16), np.float32), c) for a, c in zip(angles, cameras, strict=True)}


def block(*places):
    classes = np.zeros((16, 16, 16), np.int64)
    for number, box in places:
        classes[box] = number
    return classes


INNER = (slice(4, 9),) * 3
OUTER = (slice(10, 16), slice(10, 14), slice(10, 14))


def test_the_grid_lies_where_the_central_rays_meet():
    centre = np.array([12.0, -7.0, 33.0])
    rng = np.random.default_rng(1)
    cameras = [jittered(orbit_camera(a, centre_mm=centre), rng, centre_mm=centre, shift_mm=0) for a in (0, 70, 120)]
    np.testing.assert_allclose(meeting_point(cameras), centre, atol=1e-6)
    skew = [orbit_camera(0.0, centre_mm=(0, 0, 0)), orbit_camera(90.0, centre_mm=(0, 0, 8))]
    np.testing.assert_allclose(meeting_point(skew), (0, 0, 4), atol=1e-6)
    with pytest.raises(GeometryError, match="--centre-mm"):
        meeting_point([orbit_camera(0.0), orbit_camera(180.0)])


def test_labels_and_meshes_lie_in_the_world():
    result = Reconstructor(Fixed(block((1, INNER), (2, OUTER))), CARD)(pictures(0.0, 90.0))
    assert result.labels.ids == (50, 51) and set(result.meshes) == {"sacrum", "hip_right"}
    np.testing.assert_allclose(result.labels.grid.centre_mm, (10, 20, 30), atol=1e-6)
    centre = result.labels.grid.to_world((6.0, 6.0, 6.0))
    np.testing.assert_allclose(result.meshes["sacrum"].vertices_mm.mean(0), centre, atol=0.5)


def test_what_a_user_must_know_is_said():
    result = Reconstructor(Fixed(block((2, OUTER))), CARD)(pictures(0.0, 10.0, 15.0))
    text = "; ".join(result.warnings)
    assert "not found: sacrum" in text and "hip_right is cut by the grid (right)" in text
    assert "5 degrees apart" in text and "3 view(s) given" in text


def test_one_bone_checkpoints_need_to_know_the_bone():
    card = CheckpointCard("raylift_tiny", {}, "femur", ("target",), (16,) * 3, (64.0,) * 3, (16, 16), ("ap", "lat"))
    reconstructor = Reconstructor(nn.Identity(), card)
    assert reconstructor.bone_ids("femur_left") == (53,)
    for target in ("", "L3", "femur"):
        with pytest.raises(ConfigError):
            reconstructor.bone_ids(target)
    with pytest.raises(ConfigError, match="vertebra"):
        reconstructor.require_anatomy("vertebra")


def test_what_is_written_is_a_case_folder_with_meshes(tmp_path):
    views = pictures(0.0, 90.0)
    reconstructor = Reconstructor(Fixed(block((1, INNER))), CARD)
    result = reconstructor(views)
    write_reconstruction(tmp_path, result, CARD, case_id="x", radiographs=views, target="", formats=("stl", "glb"))
    case = read_case(tmp_path)
    assert np.array_equal(case.labels.data, result.labels.data) and set(case.radiographs) == {"0", "90"}
    for kind in ("stl", "glb"):
        mesh = read_mesh(tmp_path / "meshes" / f"sacrum.{kind}")
        assert mesh.volume_mm3 == pytest.approx(result.meshes["sacrum"].volume_mm3, rel=1e-3)


def test_an_empty_answer_is_an_error_and_not_an_empty_file(tmp_path):
    views = pictures(0.0, 90.0)
    result = Reconstructor(Fixed(block()), CARD)(views)
    with pytest.raises(DataError, match="found no bone"):
        write_reconstruction(tmp_path / "o", result, CARD, case_id="x", radiographs=views, target="")
    assert not (tmp_path / "o" / "labels.nii.gz").exists()


def test_a_blank_picture_is_refused():
    views = pictures(0.0, 90.0)
    blank = {n: Radiograph(np.full((16, 16), 3.0, np.float32), r.camera) for n, r in views.items()}
    with pytest.raises(DataError, match="blank"):
        Reconstructor(Fixed(block()), CARD)(blank)
