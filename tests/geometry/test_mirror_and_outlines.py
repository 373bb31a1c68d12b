"""Interior, section outlines and mirror plane of bodies with known shape."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.geometry.interior import inside
from boneray.geometry.lines import axis_angle_deg
from boneray.geometry.outlines import (
    area_mm2,
    box_direction,
    centroid_mm,
    contains,
    edges_mm,
    nearest_pair,
    principal_axes,
    resampled,
)
from boneray.geometry.sections import plane_section, section_outlines
from boneray.geometry.symmetry import mirror_plane, mirrored

RECTANGLE = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 3.0], [1.0, 3.0]])


def of(body):
    return Mesh(np.array(body.vertices, dtype=float), np.array(body.faces, dtype=np.int64))


def shell(outer=20.0, inner=12.0):
    """A ball with a hollow."""
    skin, hollow = trimesh.creation.icosphere(4, outer), trimesh.creation.icosphere(4, inner)
    hollow.invert()
    return of(trimesh.util.concatenate([skin, hollow]))


def test_inside_of_a_hollow_ball_is_the_shell():
    grid = Grid.cube(50, 50.0, (0.3, -0.2, 0.1))
    radius = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), axis=-1)
    found = inside(shell(), grid)
    sure = (np.abs(radius - 20) > 0.2) & (np.abs(radius - 12) > 0.2)
    assert np.array_equal(found[sure], ((radius < 20) & (radius > 12))[sure])


def test_inside_works_on_a_turned_grid_and_beyond_the_mesh():
    body = of(trimesh.creation.box((10.0, 20.0, 30.0)))
    turn = Rotation.from_rotvec([0.3, 0.8, -0.5]).as_matrix()
    grid = Grid((40, 40, 40), (1.1,) * 3, tuple(turn @ [-21.0, -21.0, -21.0]), tuple(turn.ravel()))
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    assert np.array_equal(inside(body, grid), np.all(np.abs(points) < [5, 10, 15], axis=-1))


def test_outlines_of_a_section_are_closed_polygons_with_the_areas_of_the_loops():
    mesh = shell()
    outlines = section_outlines(mesh, (1, 2, 3), (0.2, 1.0, -0.4))
    loops = plane_section(mesh, (1, 2, 3), (0.2, 1.0, -0.4))
    normal = np.array([0.2, 1.0, -0.4]) / np.linalg.norm([0.2, 1.0, -0.4])
    areas = []
    for outline in outlines:
        offset = outline - outline.mean(axis=0)
        assert np.abs((outline - [1, 2, 3]) @ normal).max() < 1e-9
        areas.append(float(np.cross(offset, np.roll(offset, -1, axis=0)).sum(axis=0) @ normal) / 2)
    assert sorted(areas) == pytest.approx(sorted(loop.area_mm2 for loop in loops))
    assert max(areas) > 0 > min(areas)


def test_section_beside_the_mesh_has_no_outline():
    assert section_outlines(shell(), (0, 0, 30), (0, 0, 1)) == []


def test_moments_of_a_rectangle():
    assert area_mm2(RECTANGLE) == pytest.approx(8.0)
    assert area_mm2(RECTANGLE[::-1]) == pytest.approx(-8.0)
    assert centroid_mm(RECTANGLE) == pytest.approx([3.0, 2.0])
    variances, axes = principal_axes(RECTANGLE)
    assert variances == pytest.approx([4**2 / 12, 2**2 / 12])
    assert np.abs(axes) == pytest.approx(np.eye(2))


def test_points_in_and_out_of_a_rectangle():
    inner, left, right = (contains(RECTANGLE, np.array(p)) for p in ((2.0, 2.0), (0.0, 2.0), (6.0, 2.0)))
    assert (inner, left, right) == (True, False, False)


def test_distance_edges_and_steps_of_a_rectangle():
    distance, (a, b) = nearest_pair(RECTANGLE, RECTANGLE + np.array([7.0, 0.0]))
    assert distance == pytest.approx(3.0)
    assert (a[0], b[0]) == pytest.approx((5.0, 8.0))
    middles, normals, lengths = edges_mm(RECTANGLE)
    assert lengths == pytest.approx([4, 2, 4, 2])
    assert normals == pytest.approx(np.array([[0, -1], [1, 0], [0, 1], [-1, 0.0]]))
    assert middles[0] == pytest.approx([3, 1])
    assert len(resampled(RECTANGLE, 0.5)) == 24


def test_smallest_box_finds_the_side_of_a_turned_rectangle():
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = np.degrees(np.arctan2(*box_direction(RECTANGLE @ turn.T)[::-1])) % 90
    assert found == pytest.approx(np.degrees(angle), abs=0.5)


def ellipsoid_with_a_horn():
    """Symmetric about x = 0 only: an ellipsoid with a ball in front of and above its middle."""
    body = trimesh.creation.icosphere(4, 1.0)
    body.apply_scale((30.0, 22.0, 15.0))
    horn = trimesh.creation.icosphere(3, 9.0)
    horn.apply_translation((0.0, 20.0, 12.0))
    return of(trimesh.util.concatenate([body, horn]))


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.1, -0.2, 0.15), (2.0, 1.1, -0.6)])
def test_mirror_plane_of_a_symmetric_body(turn):
    rotation = Rotation.from_rotvec(turn).as_matrix()
    mesh = ellipsoid_with_a_horn()
    moved = Mesh(mesh.vertices_mm @ rotation.T + [3, 4, 5], mesh.faces)
    plane = mirror_plane(moved, near=rotation[:, 0])
    assert plane.normal @ rotation[:, 0] > 0
    assert axis_angle_deg(plane.normal, rotation[:, 0]) < 0.1
    assert abs((np.array([3, 4, 5]) - plane.point_mm) @ plane.normal) < 0.05
    assert plane.residual_mm < 0.1


def test_a_box_has_three_planes_and_near_decides():
    mesh = of(trimesh.creation.box((20.0, 30.0, 40.0)).subdivide().subdivide().subdivide())
    for axis in np.eye(3):
        assert axis_angle_deg(mirror_plane(mesh, near=axis + 0.1).normal, axis) < 0.1


def test_lopsided_body_has_a_residual():
    body = ellipsoid_with_a_horn()
    lopsided = body.vertices_mm + np.outer(np.maximum(body.vertices_mm[:, 0], 0), [0.0, 0.6, 0.3])
    assert mirror_plane(Mesh(lopsided, body.faces), near=(1, 0, 0)).residual_mm > 0.8


def test_mirroring_twice_is_nothing():
    plane = mirror_plane(ellipsoid_with_a_horn(), near=(1, 0, 0))
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]])
    assert mirrored(mirrored(points, plane), plane) == pytest.approx(points)
    assert mirrored(points, plane)[:, 0] == pytest.approx(-points[:, 0], abs=0.1)
