"""What every registered measurement keeps, and the volume."""

import numpy as np
import pytest

from boneray.anatomy.registry import ANATOMIES
from boneray.core.bones import BONES
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.morphometry.measure import measure, measure_mesh
from boneray.morphometry.registry import MEASUREMENTS


@pytest.mark.parametrize("entry", list(MEASUREMENTS), ids=lambda entry: entry.name)
def test_every_measurement_says_what_it_is(entry):
    assert entry.facts["unit"] in ("mm", "mm2", "mm3", "deg", "percent", "per_m", "grade")
    assert entry.name.endswith("_" + entry.facts["unit"])
    assert entry.facts["definition"] and entry.facts["source"] and entry.summary
    assert entry.facts["anatomy"] == "any" or ANATOMIES.get(entry.facts["anatomy"])
    assert all(name in BONES for name in entry.facts["bones"])


def test_volume_counts_voxels():
    data = np.zeros((10, 10, 10), dtype=np.int16)
    data[2:5, 2:6, 2:7] = BONES["L1"].bone_id
    data[7:9, 7:9, 7:9] = BONES["L2"].bone_id
    data[0, 0, 0] = BONES["femur_left"].bone_id
    found = measure(LabelMap(data, Grid((10, 10, 10), (1.0, 2.0, 0.5), (0, 0, 0))), "spine")
    volumes = [m for m in found if m.name == "bone_volume_mm3"]
    assert [(m.name, m.bone, m.value, m.status) for m in volumes] == [
        ("bone_volume_mm3", "L1", 60.0, "ok"),
        ("bone_volume_mm3", "L2", 8.0, "ok"),
    ]


def test_mesh_volume_is_what_it_encloses():
    corners = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3]], dtype=float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    (volume,) = (m for m in measure_mesh(Mesh(corners, faces), "L3", "spine") if m.name == "bone_volume_mm3")
    assert volume.value == pytest.approx(27 / 6)


def test_empty_mesh_fails_without_an_exception():
    found = measure_mesh(Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)), "femur_left", "femur")
    assert {m.status for m in found} == {"failed"}
    assert {m.name for m in found} >= {"bone_volume_mm3", "femoral_head_radius_mm", "neck_shaft_angle_deg"}


def test_unknown_anatomy_names_the_near_ones():
    with pytest.raises(ConfigError, match="femur"):
        measure(LabelMap(np.ones((2, 2, 2), np.uint8), Grid.cube(2, 2.0)), "femurs")


def test_mesh_with_a_broken_point_fails_without_an_exception():
    corners = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, np.nan]])
    found = measure_mesh(Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])), "femur_left", "femur")
    assert {(m.status, m.value) for m in found} == {("failed", None)}
