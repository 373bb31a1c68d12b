"""The femur on real surfaces: VSDFullBody z013 against its raters, LibHip m4 against its authors."""

import numpy as np
import pytest

from boneray.core.mesh import Mesh
from boneray.geometry.surface import simplified
from boneray.morphometry.measure import measure_mesh

# Side: radius and angle of facts/morphometry-reference.json; head centre (RAS mm) from the raters or the reference.
Z013 = {"left": ("Femur_L", 20.27, 124.0), "right": ("Femur_R", 19.60, 128.0)}
CENTRE_OF_REFERENCE = {"left": (227.49, -281.72, -592.37), "right": (383.84, -310.47, -585.66)}


def z013_mesh(test_data, name):
    from scipy.io import loadmat

    bones = loadmat(test_data / "meshes_VSD_z013" / "z013.mat", squeeze_me=True, struct_as_record=False)["B"]
    body = next(bone.mesh for bone in bones if bone.name == name)
    ras_from_lps = np.array([-1.0, -1.0, 1.0])
    return Mesh(np.asarray(body.vertices, dtype=float) * ras_from_lps, np.asarray(body.faces, dtype=np.int64) - 1)


@pytest.mark.data
@pytest.mark.parametrize("side", Z013)
def test_z013_agrees_with_the_reference(test_data, side):
    name, radius_mm, nsa_deg = Z013[side]
    found = {m.name: m for m in measure_mesh(z013_mesh(test_data, name), f"femur_{side}", "femur")}
    head = found["femoral_head_radius_mm"]
    assert head.value == pytest.approx(radius_mm, abs=0.5)
    offset = np.subtract(head.landmarks[0].point_mm, CENTRE_OF_REFERENCE[side])
    assert np.linalg.norm(offset) < 1.0
    assert found["neck_shaft_angle_deg"].value == pytest.approx(nsa_deg, abs=2.0)
    assert found["femoral_offset_mm"].value == pytest.approx(33.2, abs=1.0)


@pytest.mark.data
@pytest.mark.parametrize(("side", "centre"), [("left", (78.34, 28.85, -365.2)), ("right", (-92.6, 18.49, -356.62))])
def test_libhip_head_agrees_with_its_authors(test_data, side, centre):
    import trimesh

    body = trimesh.load(test_data / "meshes_libhip_m4" / f"m4_{side[0]}femur_mm.stl")
    ras_from_lps = np.array([-1.0, -1.0, 1.0])
    mesh = Mesh(np.array(body.vertices) * ras_from_lps, np.array(body.faces, dtype=np.int64))
    found = {m.name: m for m in measure_mesh(simplified(mesh, 20_000), f"femur_{side}", "femur")}
    head = found["femoral_head_radius_mm"]
    assert head.status == "ok"
    assert head.value == pytest.approx(25.0, abs=1.0)
    assert np.linalg.norm(np.subtract(head.landmarks[0].point_mm, np.array(centre) * ras_from_lps)) < 1.0
    assert found["neck_shaft_angle_deg"].value is not None
