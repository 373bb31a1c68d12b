"""Centrelines of tubes along arcs, whose length and course are known in closed form."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from boneray.core.grid import Grid
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, to_canonical
from boneray.geometry.centrelines import centreline, mesh_centreline
from boneray.geometry.surface import bone_mesh

RADIUS_MM = 5.0


def helix(bend_mm, turn_rad, rise_mm=0.0, rotation=None, shift=(0.0, 0.0, 0.0), count=2001):
    """Points of a helix of radius `bend_mm`, and its length sqrt((R t)^2 + rise^2)."""
    t = np.linspace(0, turn_rad, count)
    points = np.stack([bend_mm * np.cos(t), bend_mm * np.sin(t), rise_mm * t / turn_rad], axis=1)
    turned = points @ (np.eye(3) if rotation is None else rotation).T + shift
    return turned, float(np.hypot(bend_mm * turn_rad, rise_mm))


def tube(course, spacing_mm, radius_mm=RADIUS_MM, gaps=()):
    """Label 1 within `radius_mm` of a course; `gaps` are (from, to) shares of the course without bone."""
    low, high = course.min(axis=0) - radius_mm - 3 * spacing_mm, course.max(axis=0) + radius_mm + 3 * spacing_mm
    shape = tuple(np.ceil((high - low) / spacing_mm).astype(int))
    grid = Grid(shape, (spacing_mm,) * 3, tuple(low))
    points = grid.to_world(np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3))
    distance, nearest = cKDTree(course).query(points, distance_upper_bound=radius_mm)
    share = nearest / (len(course) - 1)
    bone = distance <= radius_mm
    for start, stop in gaps:
        bone &= ~((share > start) & (share < stop))
    return LabelMap(bone.reshape(shape).astype(np.uint8), grid)


def off_mm(line, course):
    return cKDTree(course).query(line.points_mm)[0]


@pytest.mark.parametrize("spacing_mm", [1.0, 1.5, 2.0, 2.5])
@pytest.mark.parametrize("number", range(3))
def test_arcs_have_their_length_and_course(spacing_mm, number):
    rng = generator(number, "arc", spacing_mm)
    rotation = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
    bend, turn = rng.uniform(50, 110), rng.uniform(1.2, 2.8)
    course, length = helix(bend, turn, rng.uniform(0, 60), rotation, rng.uniform(-1, 1, 3))
    line = centreline(tube(course, spacing_mm))
    assert line.length_mm == pytest.approx(length, rel=0.02)
    assert off_mm(line, course).mean() < 0.7
    assert line.radius_mm == pytest.approx(RADIUS_MM, abs=0.15)
    assert min(np.linalg.norm(line.points_mm[0] - end) for end in course[[0, -1]]) < 1.5
    assert min(np.linalg.norm(line.points_mm[-1] - end) for end in course[[0, -1]]) < 1.5


def test_steps_are_even_and_a_millimetre():
    line = centreline(tube(helix(80, 2.0)[0], 1.5))
    steps = np.linalg.norm(np.diff(line.points_mm, axis=0), axis=1)
    assert steps.mean() == pytest.approx(1.0, abs=0.02)
    assert np.ptp(steps) < 0.1


def test_a_straight_rod_is_its_axis():
    grid = Grid((100, 12, 12), (1.5,) * 3, (-74.25, -8.25, -8.25))  # symmetric about the axis
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    off = np.linalg.norm(points - [1, 0, 0] * np.clip(points[..., :1], -60, 60), axis=-1)
    line = centreline(LabelMap((off <= RADIUS_MM).astype(np.uint8), grid))
    assert line.length_mm == pytest.approx(120.0, rel=0.02)
    assert line.chord_mm == pytest.approx(line.length_mm, rel=1e-3)
    assert np.abs(line.points_mm[:, 1:]).max() < 0.15  # a tenth of a voxel


def test_voxels_need_not_be_cubes():
    course, length = helix(70, 2.2, 40.0)
    fine = tube(course, 1.0)
    grid = Grid(fine.data[:, ::2].shape, (1.0, 2.0, 1.0), fine.grid.origin_mm)
    line = centreline(LabelMap(np.ascontiguousarray(fine.data[:, ::2]), grid))
    assert line.length_mm == pytest.approx(length, rel=0.02)
    assert off_mm(line, course).mean() < 0.7


def test_lines_at_1_and_2_5_mm_agree_within_half_a_millimetre():
    course, _ = helix(90, 2.5, 30.0)
    fine, coarse = centreline(tube(course, 1.0)), centreline(tube(course, 2.5))
    assert cKDTree(fine.points_mm).query(coarse.points_mm)[0].mean() < 0.5
    assert coarse.length_mm == pytest.approx(fine.length_mm, rel=0.015)


@pytest.mark.parametrize(("shift_mm", "share"), [(3.0, 1.0), (7.0, 0.0)])
def test_shifted_arcs_have_the_share_of_near_points_that_geometry_says(shift_mm, share):
    """Arcs shifted along their own normal are everywhere that far apart: at 5 mm all or none is near."""
    course, _ = helix(90, 2.5)
    first, second = (centreline(tube(course + np.array([0, 0, z]), 1.5)) for z in (0.0, shift_mm))
    near = cKDTree(second.points_mm).query(first.points_mm)[0] <= 5.0
    assert near.mean() == pytest.approx(share, abs=0.01)


def test_a_part_broken_off_is_joined_when_it_goes_on():
    course, length = helix(90, 2.5)
    line = centreline(tube(course, 1.5, gaps=[(0.6, 0.63)]))
    assert (line.parts, line.kept_share) == (2, 1.0)
    assert line.length_mm == pytest.approx(length, rel=0.02)


def test_a_part_far_off_or_beside_is_left_out_and_counted():
    course, length = helix(90, 2.5)
    far = centreline(tube(course, 1.5, gaps=[(0.6, 0.72)]))
    assert far.parts == 1
    assert far.kept_share == pytest.approx(0.6 / 0.88, abs=0.03)
    assert far.length_mm < 0.65 * length
    labels = tube(course, 1.5)
    labels.data[-6:, :20, :] = 1  # a lump beside the end
    assert centreline(LabelMap(labels.data, labels.grid)).kept_share <= 1.0


@pytest.mark.parametrize("shape", ["empty", "one voxel", "block", "ball"])
def test_what_is_not_long_has_no_line(shape):
    data = np.zeros((24, 24, 24), np.uint8)
    if shape == "one voxel":
        data[3, 3, 3] = 1
    elif shape == "block":
        data[2:-2, 2:-2, 2:-2] = 1
    elif shape == "ball":
        data[np.linalg.norm(np.indices(data.shape) - 12.0, axis=0) < 9] = 1
    assert centreline(LabelMap(data, Grid.cube(24, 36.0))) is None


@pytest.mark.parametrize("number", range(3))
def test_a_sponge_has_no_line(number):
    """A third of the voxels of a slab, at random: all joined, and no way through it is its middle."""
    data = (generator(number, "sponge").uniform(size=(64, 64, 16)) < 0.33).astype(np.uint8)
    assert centreline(LabelMap(data, Grid((64, 64, 16), (5.6,) * 3, (0.0, 0.0, 0.0)))) is None


def test_other_labels_are_passed_over():
    labels = tube(helix(90, 2.5)[0], 2.0)
    both = LabelMap(labels.data * 7, labels.grid)
    both.data[:4, :4, :4] = 3
    assert centreline(both, 3) is None
    assert centreline(both, 7).length_mm == pytest.approx(centreline(labels).length_mm)


def test_axis_order_changes_little_and_canonical_order_nothing():
    labels = tube(helix(80, 2.0, 30.0)[0], 2.0)
    swapped = np.ascontiguousarray(labels.data.transpose(2, 0, 1)[::-1])
    affine = labels.grid.world_from_voxel
    affine[:3, :3] = affine[:3, [2, 0, 1]]
    affine[:3, 3] += affine[:3, 0] * (swapped.shape[0] - 1)
    affine[:3, 0] *= -1
    other = LabelMap(swapped, Grid.from_affine(swapped.shape, affine))
    first, second = centreline(labels), centreline(other)
    places = np.linspace(0, len(first.points_mm) - 1, 4000)  # so fine that steps along the line do not count
    course = [np.interp(places, np.arange(len(first.points_mm)), first.points_mm[:, axis]) for axis in range(3)]
    assert cKDTree(np.stack(course, axis=1)).query(second.points_mm)[0].max() < 0.2
    back = centreline(LabelMap(*to_canonical(other.data, other.grid)))
    assert back.points_mm == pytest.approx(first.points_mm, abs=1e-9)


def test_mesh_gives_the_line_of_its_labels_and_turns_with_it():
    course, length = helix(80, 2.0, 30.0)
    mesh = bone_mesh(tube(course, 1.5), 1)
    line = mesh_centreline(mesh)
    assert line.length_mm == pytest.approx(length, rel=0.02)
    assert off_mm(line, course).mean() < 0.7
    rotation = Rotation.from_rotvec([0.7, -1.9, 0.4]).as_matrix()
    turned = mesh_centreline(type(mesh)(mesh.vertices_mm @ rotation.T + [5, -8, 30], mesh.faces))
    assert turned.points_mm == pytest.approx(line.points_mm @ rotation.T + [5, -8, 30], abs=1e-3)
