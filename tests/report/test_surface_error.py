"""A sphere against a larger one: its error is the difference of the radii, on the right side of white."""

import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from boneray.core.errors import ConfigError
from boneray.core.mesh import Mesh
from boneray.report.surface_error import error_colours, error_picture, signed_distances_mm, write_error_mesh


def sphere(radius_mm):
    made = trimesh.creation.icosphere(4, radius_mm)
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces, np.int64))


@pytest.mark.parametrize("radius_mm", [18.0, 22.0])
def test_the_error_of_a_sphere_is_the_difference_of_radii(radius_mm):
    got = signed_distances_mm(sphere(20.0), sphere(radius_mm))
    np.testing.assert_allclose(got, radius_mm - 20.0, atol=0.05)


def test_colours_run_from_red_inside_over_white_to_blue_outside():
    got = error_colours(np.array([-9.0, -3.0, 0.0, 1.5, 3.0]), 3.0)
    assert got[0].tolist() == got[1].tolist() == [178, 24, 43]
    assert got[2].tolist() == [247, 247, 247] and got[4].tolist() == [33, 102, 172]
    assert got[3].tolist() == [140, 174, 210]  # half-way from white to blue
    with pytest.raises(ConfigError, match="positive"):
        error_colours(np.zeros(1), 0.0)


def test_the_picture_and_the_file_show_it(tmp_path):
    picture = np.asarray(Image.open(io.BytesIO(error_picture(sphere(20.0), sphere(17.0), height_px=120))))
    solid = picture[:120][picture[:120, :, 3] == 255][:, :3].astype(int)
    assert ((solid[:, 0] > 2 * solid[:, 1]) & (solid[:, 0] > 2 * solid[:, 2])).mean() > 0.9  # 3 mm inside: red
    file = write_error_mesh(tmp_path / "error.ply", sphere(20.0), sphere(23.0))
    colours = trimesh.load_mesh(file, process=False).visual.vertex_colors[:, :3]
    assert (np.abs(colours.astype(int) - [33, 102, 172]) <= 3).all()
    with pytest.raises(ConfigError, match="ply"):
        write_error_mesh(tmp_path / "error.stl", sphere(20.0), sphere(23.0))
