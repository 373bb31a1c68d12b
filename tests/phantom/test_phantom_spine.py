"""Vertebra and spine phantoms against geometry: corners, canal, places of the parts."""

from dataclasses import replace

import numpy as np
import pytest

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.phantom.patient import make_patient
from boneray.phantom.pose import Pose
from boneray.phantom.raster import rasterise
from boneray.phantom.scene import Material, Outline, Scene
from boneray.phantom.vertebra_shape import drawn_vertebra, vertebra_solid, vertebra_truth

OUTLINE = Outline((0.0, 0.0), (200.0, 200.0), 10.0, 40.0, 0.0, 1)


@pytest.fixture(scope="module")
def section():
    """Mid-sagittal section (y, z) of an upright vertebra without tilt, 0.5 mm voxels, with its shape."""
    shape = replace(drawn_vertebra(np.random.default_rng(4), 3), top_tilt_deg=0.0, bottom_tilt_deg=0.0, hollow_mm=0.0)
    solid = vertebra_solid(shape, "L3", Material(1200.0, 200.0, 2.0), Pose())
    grid = Grid.cube(192, 96.0)
    scene = Scene("L3", (solid,), OUTLINE, (), (), ())
    return shape, grid, rasterise(scene, grid)[1][96] > 0


def axis_mm(grid):
    return grid.to_world(np.stack([np.arange(grid.shape[0])] * 3, axis=1))[:, 1]


def run_mm(line, grid):
    """Length of the True voxels of a line in mm."""
    return line.sum() * grid.spacing_mm[0]


def test_body_height_and_depth_in_the_section(section):
    shape, grid, mask = section
    y = axis_mm(grid)
    middle = mask[np.argmin(np.abs(y))]
    assert run_mm(middle, grid) == pytest.approx(shape.height_mm, abs=1.0)
    level = np.argmin(np.abs(y - 0.35 * shape.height_mm))
    in_front = mask[:, level] & (y > shape.back_mm - 3.0)
    assert run_mm(in_front, grid) == pytest.approx(shape.depth_mm, abs=2.0)


def test_canal_is_a_hole_of_the_true_length(section):
    shape, grid, mask = section
    y = axis_mm(grid)
    level = np.argmin(np.abs(y + 0.22 * shape.height_mm))
    line = mask[:, level]
    canal = (y < shape.back_mm) & (y > shape.back_mm - shape.canal_mm)
    assert not line[canal].any()
    behind, before = y[line & (y < shape.back_mm - 5)].max(), y[line & (y > shape.back_mm - 5)].min()
    assert before - behind - grid.spacing_mm[0] == pytest.approx(shape.canal_mm, abs=0.6)


def test_truth_of_a_hand_made_wedge():
    shape = replace(
        drawn_vertebra(np.random.default_rng(4), 3),
        height_mm=26.0,
        depth_mm=30.0,
        top_tilt_deg=10.0,
        bottom_tilt_deg=0.0,
        top_overhang_mm=0.0,
        canal_mm=15.0,
    )
    truth = {m.name: m.value for m in vertebra_truth(shape, "L3", Pose(scale=2.0))[0]}
    rise = 15.0 * np.tan(np.deg2rad(10.0))
    assert truth["anterior_body_height_mm"] == pytest.approx(2 * (26.0 + rise))
    assert truth["posterior_body_height_mm"] == pytest.approx(2 * (26.0 - rise))
    assert truth["superior_body_length_mm"] == pytest.approx(2 * 30.0 / np.cos(np.deg2rad(10.0)))
    assert truth["inferior_body_length_mm"] == pytest.approx(60.0)
    assert truth["canal_length_mm"] == pytest.approx(30.0)
    assert truth["wedge_angle_deg"] == pytest.approx(10.0)


def test_landmarks_lie_in_and_on_the_vertebra():
    for number in range(6):
        case = make_patient("vertebra", seed=5, number=number, voxels=96)
        mark = {m.name: np.array(m.point_mm) for m in case.landmarks}
        index = tuple(np.rint(case.labels.grid.to_index(mark["body_centre"])).astype(int))
        assert case.labels.data[index] == BONES[case.target].bone_id
        voxels = case.labels.grid.to_world(np.argwhere(case.labels.data > 0))
        distance = np.linalg.norm(voxels - mark["spinous_process_tip"], axis=1).min()
        assert distance < 1.5 * case.labels.grid.spacing_mm[0]
        assert mark["body_centre"][1] > mark["spinous_process_tip"][1] + 25.0


def test_fractures_change_the_heights():
    def heights(deformity):
        truth = {m.name: m.value for m in make_patient("vertebra", seed=5, number=1, deformity=deformity).truth}
        return truth["anterior_body_height_mm"], truth["posterior_body_height_mm"]

    plain, wedge, crush = heights("none"), heights("wedge"), heights("crush")
    assert wedge[0] / wedge[1] < 0.8 < plain[0] / plain[1]
    assert crush[1] < 0.8 * plain[1]


def test_a_biconcave_fracture_hollows_the_middle():
    masks = {d: make_patient("vertebra", seed=5, number=1, deformity=d).labels.data > 0 for d in ("none", "biconcave")}
    assert masks["biconcave"].sum() < 0.95 * masks["none"].sum()


@pytest.mark.parametrize("deformity", ["none", "scoliosis", "crush"])
def test_spine_is_stacked_in_order_with_measurements_per_vertebra(deformity):
    case = make_patient("spine", seed=5, number=0, deformity=deformity)
    centres = {m.name.removeprefix("body_centre_"): m.point_mm for m in case.landmarks if m.name.startswith("body_")}
    heights = [centres[level][2] for level in ("L5", "L4", "L3", "L2", "L1", "T12")]
    assert np.all(np.diff(heights) > 10.0)
    for level in ("L5", "L3", "T12"):
        mask = case.labels.mask(BONES[level].bone_id)
        index = tuple(np.rint(case.labels.grid.to_index(centres[level])).astype(int))
        assert mask[index]
        assert sum(m.bone == level for m in case.truth) == 6
