"""Factors of the rib study against closed forms of cylinders."""

import math

import numpy as np
import pytest

from boneray.benchmark.rib_study import (
    DIRECTIONS,
    BoneRow,
    associations,
    moved_dice,
    overlap_in_views,
    shares_of_sphere,
    surface_per_volume_mm,
    thickness_voxels,
)
from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap

GRID = Grid.cube(64, 64.0)


def cylinder(radius, centre=(32.0, 32.0), first=4, end=60):
    """Upright, in voxels of 1 mm."""
    i, j, k = np.indices((64, 64, 64))
    return (np.hypot(i - centre[0], j - centre[1]) <= radius) & (k >= first) & (k < end)


@pytest.mark.parametrize("radius", [4.0, 8.0, 12.0])
def test_thickness_and_surface_of_a_cylinder(radius):
    mask = cylinder(radius)
    assert thickness_voxels(mask) == pytest.approx(2 * radius, abs=1.0)
    wanted = 2 / radius + 2 / 56  # the mantle, and the two ends of a bone 56 mm long
    assert surface_per_volume_mm(mask, 1.0) == pytest.approx(wanted, rel=0.06)
    assert surface_per_volume_mm(mask, 2.0) == surface_per_volume_mm(mask, 1.0) / 2


def test_the_directions_share_the_sphere():
    """Thirteen of them; those alike have equal shares, the three axes the largest."""
    assert len(DIRECTIONS) == 13 and sum(shares_of_sphere()) == pytest.approx(1.0)
    kinds = {}
    for step, share in zip(DIRECTIONS, shares_of_sphere(), strict=True):
        kinds.setdefault(sum(map(abs, step)), []).append(share)
    assert [len(kinds[n]) for n in (1, 2, 3)] == [3, 6, 4]
    assert all(max(shares) - min(shares) < 1e-9 for shares in kinds.values())
    assert min(kinds[1]) > max(kinds[2] + kinds[3])


def test_surface_of_a_ball():
    i, j, k = np.indices((64, 64, 64))
    ball = np.sqrt((i - 31.5) ** 2 + (j - 31.5) ** 2 + (k - 31.5) ** 2) <= 20.0
    assert surface_per_volume_mm(ball, 1.0) == pytest.approx(3 / 20, rel=0.03)


@pytest.mark.parametrize(("radius", "shift"), [(4.0, 2.0), (8.0, 2.0), (8.0, 4.0)])
def test_the_price_of_a_shift_is_that_of_two_circles(radius, shift):
    """Four of the six moves go across, two along: then the Dice is 1 - d / length."""
    x = shift / (2 * radius)
    across = 2 / math.pi * (math.acos(x) - x * math.sqrt(1 - x * x))
    along = 1 - shift / 56
    got = moved_dice(cylinder(radius), np.full(3, shift))
    assert got == pytest.approx((4 * across + 2 * along) / 6, abs=0.02)


def test_a_thin_bone_pays_more_for_the_same_shift():
    thin, thick = (moved_dice(cylinder(r), np.full(3, 2.0)) for r in (3.0, 12.0))
    assert thin < thick - 0.2


def test_overlap_is_the_shadow_of_one_cylinder_on_the_other():
    """Equal cylinders one behind the other hide each other from in front and not from the side."""
    data = cylinder(6.0, (32.0, 16.0)).astype(np.uint8) + 2 * cylinder(6.0, (32.0, 48.0)).astype(np.uint8)
    labels = LabelMap(data, GRID)
    screen = {"detector_shape": (96, 96), "detector_mm": (96.0, 96.0), "kind": "parallel"}
    front, side = (orbit_camera(angle, centre_mm=GRID.centre_mm, **screen) for angle in (0.0, 90.0))
    assert overlap_in_views(labels, 1, [front]) == 1.0 and overlap_in_views(labels, 1, [side]) == 0.0
    assert overlap_in_views(labels, 2, [front, side]) == 0.5


def test_associations_are_ranks():
    rows = [BoneRow("ribs", f"p{n % 5}", "x", 1.0, float(n), 1.0 / (n + 1), 0.1 * n, n**2 / 400) for n in range(20)]
    found = associations(rows)
    assert found["thickness_voxels"].rho == pytest.approx(1.0)
    assert found["surface_per_volume_mm"].rho == pytest.approx(-1.0)
    assert found["overlap"].n == 20 and found["overlap"].n_cases == 5
