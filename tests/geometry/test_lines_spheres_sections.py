"""Lines, spheres and plane sections against closed forms."""

import numpy as np
import pytest
import trimesh

from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.geometry.lines import Line, angle_deg, axis_angle_deg, fit_line
from boneray.geometry.sections import plane_section
from boneray.geometry.spheres import fit_sphere, fit_sphere_trimmed


def mesh_of(body):
    return Mesh(np.array(body.vertices), np.array(body.faces, dtype=np.int64))


def test_line_points_where_it_is_told():
    points = np.array([1.0, 2.0, 3.0]) + np.outer(np.arange(5), [0.0, 3.0, 4.0])
    line = fit_line(points, toward=(1, 100, 100))
    assert line.direction == pytest.approx([0, 0.6, 0.8])
    assert fit_line(points, toward=(1, -100, -100)).direction == pytest.approx([0, -0.6, -0.8])
    assert line.distance_mm([[1, 2 + 0.8, 3 - 0.6], [5, 2, 3]]) == pytest.approx([1.0, 4.0])
    assert line.at(line.along_mm(points[4])) == pytest.approx(points[4])


def test_weights_of_a_line():
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 50, 0]], dtype=float)
    assert fit_line(points, [1, 1, 1, 0], toward=(9, 0, 0)).direction == pytest.approx([1, 0, 0])


@pytest.mark.parametrize(("angle", "acute"), [(0, 0), (30, 30), (90, 90), (120, 60), (180, 0)])
def test_angles(angle, acute):
    turned = [5 * np.cos(np.deg2rad(angle)), 5 * np.sin(np.deg2rad(angle)), 0]
    assert angle_deg([2, 0, 0], turned) == pytest.approx(angle, abs=1e-9)
    assert axis_angle_deg([2, 0, 0], turned) == pytest.approx(acute, abs=1e-9)


def test_distance_from_a_line():
    line = Line(np.array([0.0, 0.0, 5.0]), np.array([1.0, 0.0, 0.0]))
    assert line.distance_mm([7, 3, 1]) == pytest.approx(5.0)


def test_sphere_through_part_of_its_surface():
    points = trimesh.creation.icosphere(subdivisions=3, radius=23.5).vertices
    cap = points[points[:, 2] > 5] + [300, -200, 100]
    sphere = fit_sphere(cap)
    assert sphere.centre_mm == pytest.approx([300, -200, 100], abs=1e-6)
    assert sphere.radius_mm == pytest.approx(23.5, abs=1e-6)


def test_trimmed_sphere_forgets_outliers():
    points = np.array(trimesh.creation.icosphere(subdivisions=3, radius=20).vertices)
    points[:60] *= 1.4
    assert fit_sphere_trimmed(points, keep=0.85).radius_mm == pytest.approx(20.0, abs=1e-6)
    assert fit_sphere(points).radius_mm > 20.2


def test_plane_points_have_no_sphere():
    with pytest.raises(DataError, match="one plane"):
        fit_sphere([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [2, 3, 0]])
    with pytest.raises(DataError, match="at least 4"):
        fit_sphere([[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_section_of_a_ball():
    # R = 20 cut 12 above its centre: a circle of radius 16.
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=5, radius=20))
    (loop,) = plane_section(ball, (0, 0, 12), (0, 0, 3))
    assert loop.area_mm2 == pytest.approx(256 * np.pi, rel=2e-3)
    assert loop.perimeter_mm == pytest.approx(32 * np.pi, rel=1e-3)
    assert loop.centroid_mm == pytest.approx([0, 0, 12], abs=1e-2)


def test_oblique_section_of_a_box():
    # The plane x = z through a unit cube is the rectangle 1 x sqrt(2).
    box = mesh_of(trimesh.creation.box(bounds=[[10, 10, 10], [11, 11, 11]]))
    (loop,) = plane_section(box, (10.5, 10.5, 10.5), (1, 0, -1))
    assert loop.area_mm2 == pytest.approx(np.sqrt(2))
    assert loop.perimeter_mm == pytest.approx(2 + 2 * np.sqrt(2))
    assert loop.centroid_mm == pytest.approx([10.5, 10.5, 10.5])


def test_hollow_has_an_inner_loop_of_negative_area():
    ring = mesh_of(trimesh.creation.annulus(5, 10, 30, sections=256))
    outer, inner = plane_section(ring, (0, 0, 1), (0, 0, 1))
    assert outer.area_mm2 == pytest.approx(100 * np.pi, rel=1e-3)
    assert inner.area_mm2 == pytest.approx(-25 * np.pi, rel=1e-3)


def test_plane_beside_the_body_has_no_loops_and_open_ones_are_left_out():
    box = mesh_of(trimesh.creation.box(extents=(1, 1, 1)))
    assert plane_section(box, (0, 0, 9), (0, 0, 1)) == []
    assert plane_section(Mesh(box.vertices_mm, box.faces[:-4]), (0, 0, 0), (1, 1, 1)) == []
