"""Metrics against shapes whose values are known by hand (facts: cubes are exact, spheres are biased by the grid)."""

import numpy as np
import pytest

from boneray.metrics.facts import mask_facts
from boneray.metrics.registry import METRICS
from boneray.metrics.surface import surface_dice, voxel_tolerance_mm
from boneray.metrics.surfels import surfel_areas_mm2


def value(name, facts):
    return METRICS.get(name).value(facts)


def shifted_cubes(spacing, axis, edge_mm=40, shift_mm=5):
    shape = [round((edge_mm + 20) / s) for s in spacing]
    first, second = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    box = [slice(round(10 / s), round((10 + edge_mm) / s)) for s in spacing]
    first[tuple(box)] = True
    step = round(shift_mm / spacing[axis])
    box[axis] = slice(box[axis].start + step, box[axis].stop + step)
    second[tuple(box)] = True
    return mask_facts(first, second, spacing)


def ball(radius_mm, centre_mm, spacing=(1.0, 1.0, 1.0), n=60):
    axes = [np.arange(n) * s - (n - 1) * s / 2 for s in spacing]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    return (i - centre_mm[0]) ** 2 + (j - centre_mm[1]) ** 2 + (k - centre_mm[2]) ** 2 <= radius_mm**2


@pytest.mark.parametrize(
    ("spacing", "nsd_error"), [((1.0, 1.0, 1.0), 0.017), ((2.5, 2.5, 2.5), 0.025), ((1.0, 1.0, 2.5), 0.01)]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shifted_cubes(spacing, nsd_error, axis):
    # a = 40, s = 5: dice (a-s)/a, HD = s, ASSD = s/3 + 2 s^3 / (9 a^2),
    # NSD(tau=2) = (4a^2 - 4as + 8 a tau - 4 tau^2) / (6 a^2).
    facts = shifted_cubes(spacing, axis)
    assert value("dice", facts) == pytest.approx(0.875, abs=1e-12)
    assert value("hd_mm", facts) == pytest.approx(5.0, abs=1e-6)
    assert value("hd95_mm", facts) == pytest.approx(5.0, abs=1e-6)
    assert value("assd_mm", facts) == pytest.approx(5 / 3 + 250 / 14400, abs=0.006)
    assert value("nsd_2.0mm", facts) == pytest.approx((6400 - 800 + 640 - 16) / 9600, abs=nsd_error)


def test_offset_spheres():
    # R = 20, d = 6: distances are uniform on [0, d].
    facts = mask_facts(ball(20, (-3, 0, 0)), ball(20, (3, 0, 0)), (1.0, 1.0, 1.0))
    assert value("dice", facts) == pytest.approx((80 + 6) * 34**2 / (16 * 8000), abs=0.002)
    assert value("hd_mm", facts) == pytest.approx(6.0, abs=0.6)
    assert value("hd95_mm", facts) == pytest.approx(5.7, abs=0.65)
    assert value("assd_mm", facts) == pytest.approx(3.0, abs=0.45)
    assert value("nsd_2.0mm", facts) == pytest.approx(1 / 3, abs=0.1)


def test_concentric_spheres():
    centre = (0.3, 0.2, 0.1)
    facts = mask_facts(ball(20, centre), ball(25, centre), (1.0, 1.0, 1.0))
    assert value("dice", facts) == pytest.approx(2 * 8000 / (8000 + 15625), abs=0.001)
    assert value("hd_mm", facts) == pytest.approx(5.0, abs=0.7)
    assert value("hd95_mm", facts) == pytest.approx(5.0, abs=0.15)
    assert value("assd_mm", facts) == pytest.approx(5.0, abs=0.55)
    assert surface_dice(facts, tolerance_mm=6.0) == pytest.approx(1.0, abs=0.01)
    assert surface_dice(facts, tolerance_mm=4.0) == pytest.approx(0.0, abs=0.06)


def test_overlap_by_hand():
    reference, prediction = np.zeros((4, 1, 1), bool), np.zeros((4, 1, 1), bool)
    reference[:3], prediction[2:] = True, True
    facts = mask_facts(reference, prediction, (1.0, 2.0, 3.0))
    assert value("dice", facts) == pytest.approx(2 / 5)
    assert value("iou", facts) == pytest.approx(1 / 4)
    assert value("precision", facts) == pytest.approx(1 / 2)
    assert value("recall", facts) == pytest.approx(1 / 3)
    assert value("volume_reference_mm3", facts) == pytest.approx(18.0)
    assert value("volume_prediction_mm3", facts) == pytest.approx(12.0)


def test_area_of_a_plane_element_is_the_voxel_face():
    # Corner bits are 4 i + 2 j + k: the lower half along i is 0..3, along j 0, 1, 4, 5, along k 0, 2, 4, 6.
    areas = surfel_areas_mm2((1.0, 2.0, 3.0))
    assert areas[0b00001111] == pytest.approx(6.0)
    assert areas[0b00110011] == pytest.approx(3.0)
    assert areas[0b01010101] == pytest.approx(2.0)


def test_area_of_corner_and_edge_elements():
    # One corner: triangle of legs 1/2, sqrt(3)/8. One edge: rectangle 1 x sqrt(1/2). Three in an L: 1/2 + 3 sqrt(3)/8.
    areas = surfel_areas_mm2((1.0, 1.0, 1.0))
    assert areas[0b00000001] == pytest.approx(np.sqrt(3) / 8)
    assert areas[0b00000011] == pytest.approx(np.sqrt(0.5))
    assert areas[0b00000111] == pytest.approx(0.5 + 3 * np.sqrt(3) / 8)
    assert areas[0b00010111] == pytest.approx(3 * np.sqrt(3) / 4)


def test_area_table_does_not_care_which_side_is_bone():
    areas = surfel_areas_mm2((1.0, 2.0, 3.5))
    assert areas[0] == areas[255] == 0
    np.testing.assert_allclose(areas, areas[::-1], atol=1e-12)


def test_faces_of_a_box_have_its_area():
    # A 6 x 5 x 4 voxel box: its plane elements (not at edges) cover 2 (5*4 + 5*3 + 4*3) voxel faces.
    box = np.ones((6, 5, 4), bool)
    _, codes = mask_facts(box, box, (1.0, 1.0, 1.0)).case.surfels[0].of(1)
    areas = surfel_areas_mm2((1.0, 1.0, 1.0))[codes]
    assert np.isclose(areas, 1.0).sum() == 2 * (5 * 4 + 5 * 3 + 4 * 3)


def test_tolerance_is_a_voxel_once_voxels_exceed_2_mm():
    assert voxel_tolerance_mm((1.0, 1.0, 1.5)) == 2.0
    assert voxel_tolerance_mm((2.5999999, 2.6000001, 2.6)) == 2.6
    assert voxel_tolerance_mm((1.0, 1.0, 3.665)) == 3.7
