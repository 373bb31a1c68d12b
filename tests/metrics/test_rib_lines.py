"""Lines of thin bones against closed forms."""

import math

import numpy as np
import pytest

from boneray.core.errors import ConfigError
from boneray.metrics.facts import mask_facts
from boneray.metrics.registry import METRICS
from boneray.metrics.rib_lines import line_assd_mm, line_chamfer_error, normalised_line_dice

NOTHING = np.zeros((0, 3))


def line(n=500, length_mm=150.0):
    points = np.zeros((n, 3))
    points[:, 0] = np.linspace(0, length_mm, n)
    return points


def arc(half_angle_deg, radius_mm=150.0, n=2000):
    """An arc in the x-z plane, symmetric about the x axis."""
    angle = np.radians(np.linspace(-half_angle_deg, half_angle_deg, n))
    return radius_mm * np.stack([np.cos(angle), np.zeros(n), np.sin(angle)], axis=1)


@pytest.mark.parametrize(("shift_mm", "expected"), [(0, 1), (2, 1), (3, 1), (4, 0), (6, 0)])
def test_line_dice_of_a_straight_line_is_a_step(shift_mm, expected):
    moved = line() + np.array((0, shift_mm, 0))
    assert normalised_line_dice(line(), moved, tolerance_mm=3.0) == expected


@pytest.mark.parametrize(("shift_mm", "expected"), [(0, 1), (2, 1), (3, 1), (4, 0.013), (6, 0)])
def test_line_dice_of_a_shifted_arc(shift_mm, expected):
    # At angle t to the shift s, arcs are s cos t apart: 4 mm become 3 at 41.4 degrees, 1.3 % before the ends of this
    # arc; 6 mm never do.
    half_angle = math.degrees(math.acos(3 / 4)) / (1 - 0.013)
    reference = arc(half_angle, radius_mm=2000.0, n=20000)
    assert normalised_line_dice(reference, reference + np.array((shift_mm, 0, 0)), tolerance_mm=3.0) == pytest.approx(
        expected, abs=0.002
    )


def test_line_dice_counts_both_lines():
    # The prediction has half the points of the reference, all on it: 100 of 200 and 100 of 100 are near.
    reference = line(200, 199.0)
    assert normalised_line_dice(reference, reference[:100], tolerance_mm=0.5) == pytest.approx(200 / 300)


def test_line_distances():
    moved = line() + np.array((0, 3.0, 4.0))
    assert line_assd_mm(line(), moved) == pytest.approx(5.0, abs=1e-12)


def test_chamfer_error_by_hand():
    # Bone: the line itself. CD(reference) = 0 + 0 is no measure, so the bone is a line 2 mm beside it: CD = 2 + 2.
    # The prediction lies 5 mm from the bone: CD = 5 + 5, error (10 - 4) / 4.
    bone = line() + np.array((0, 2.0, 0))
    assert line_chamfer_error(line(), line() + np.array((0, -3.0, 0)), bone) == pytest.approx(1.5, abs=1e-12)
    assert line_chamfer_error(line(), line() + np.array((0, 4.0, 0)), bone) == pytest.approx(0.0, abs=1e-12)
    assert line_chamfer_error(line(), line() + np.array((0, 2.0, 0)), bone) == pytest.approx(1.0, abs=1e-12)
    assert math.isnan(line_chamfer_error(line(), line(), line()))


def test_empty_lines():
    assert normalised_line_dice(line(), NOTHING) == normalised_line_dice(NOTHING, line()) == 0.0
    assert line_chamfer_error(line(), NOTHING, line() + 1) == math.inf
    assert math.isnan(line_chamfer_error(NOTHING, line(), line()))
    assert line_assd_mm(line(), NOTHING) == math.inf
    assert math.isnan(normalised_line_dice(NOTHING, NOTHING))
    assert math.isnan(line_assd_mm(NOTHING, NOTHING))


def test_tolerance_must_be_positive():
    with pytest.raises(ConfigError, match="0 mm"):
        normalised_line_dice(line(), line(), tolerance_mm=0)


def test_skeleton_overlap_of_rods():
    # A rod 3 voxels thick thins to its axis. One voxel aside both axes stay inside; two aside neither does.
    rod = np.zeros((40, 12, 12), bool)
    rod[4:36, 3:6, 3:6] = True
    cldice = METRICS.get("cldice").value
    beside = [np.roll(rod, shift, axis=1) for shift in (1, 2)]
    assert cldice(mask_facts(rod, beside[0], (1.0, 1.0, 1.0))) == 1.0
    assert METRICS.get("dice").value(mask_facts(rod, beside[0], (1.0, 1.0, 1.0))) == pytest.approx(2 / 3)
    assert cldice(mask_facts(rod, beside[1], (1.0, 1.0, 1.0))) == 0.0


def test_skeleton_overlap_of_half_a_rod():
    # Predicted: the first half. Its whole axis is inside (precision 1), half of the reference's is found (1/2): 2/3.
    rod = np.zeros((48, 9, 9), bool)
    rod[4:44, 3:6, 3:6] = True
    half = rod.copy()
    half[24:] = False
    assert METRICS.get("cldice").value(mask_facts(rod, half, (1.0, 1.0, 1.0))) == pytest.approx(2 / 3, abs=0.03)
