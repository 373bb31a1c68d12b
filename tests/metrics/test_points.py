"""Point clouds, depth maps and volume correlation against closed forms."""

import math

import numpy as np
import pytest
import trimesh

from boneray.core.errors import DataError, GeometryError
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.metrics.points import (
    aligned_in_depth,
    chamfer_l1_mean_mm,
    chamfer_l2_sum_mm2,
    depth_errors,
    earth_mover_mm,
    nearest_distances,
    point_assd_mm,
    point_hd95_mm,
    sample_surface,
    surface_earth_mover,
)
from boneray.metrics.volume_correlation import volume_correlation


def lattice():
    """1000 points 10 mm apart, so that a small shift finds the same neighbours."""
    return 10.0 * np.stack(np.meshgrid(*[np.arange(10.0)] * 3, indexing="ij"), -1).reshape(-1, 3)


def sphere(radius_mm):
    body = trimesh.creation.icosphere(subdivisions=4, radius=radius_mm)
    return Mesh(np.asarray(body.vertices), np.asarray(body.faces, dtype=np.int64))


def test_earth_mover_of_a_cloud_and_its_translate():
    cloud = np.random.default_rng(0).random((512, 3)) * 50
    assert earth_mover_mm(cloud, cloud + np.array((3.0, 0.0, 0.0))) == pytest.approx(3.0, abs=1e-5)


def test_earth_mover_is_exact_and_needs_equal_numbers():
    # Matching greedily would take 0-1 and leave 10 for the other; the best total is 5 + 4 either way.
    line = np.array([[0.0, 0, 0], [5, 0, 0]])
    other = np.array([[4.0, 0, 0], [-5, 0, 0]])
    assert earth_mover_mm(line, other) == pytest.approx((1 + 5) / 2)
    with pytest.raises(DataError, match="2 and 1 points"):
        earth_mover_mm(line, other[:1])


def test_chamfer_of_a_small_shift():
    cloud = lattice()
    moved = cloud + np.array((0.1, 0.0, 0.0))
    assert chamfer_l2_sum_mm2(cloud, moved) == pytest.approx(2 * 0.01, abs=1e-9)
    assert chamfer_l1_mean_mm(cloud, moved) == pytest.approx(0.1, abs=1e-9)


def test_point_distances_by_hand():
    # Reference at 0..99, prediction only at 0: distances 0..99 one way, 0 the other.
    reference = np.zeros((100, 3))
    reference[:, 1] = np.arange(100)
    prediction = np.zeros((1, 3))
    assert point_assd_mm(reference, prediction) == pytest.approx(4950 / 101)
    assert point_hd95_mm(reference, prediction) == 94.0  # 95 of the 100 points are within it
    assert point_hd95_mm(prediction, reference) == 94.0
    assert chamfer_l1_mean_mm(reference, prediction) == pytest.approx(49.5 / 2)
    assert chamfer_l2_sum_mm2(reference, prediction) == pytest.approx(sum(n * n for n in range(100)) / 100)


def test_concentric_spheres():
    # True values: distance 5, Chamfer 2 x 25; evenly sampled clouds come near from above.
    a, b = (sample_surface(sphere(r), 20000, generator(1, r)) for r in (40.0, 45.0))
    assert chamfer_l2_sum_mm2(a, b) == pytest.approx(50.7, abs=0.4)
    assert point_assd_mm(a, b) == pytest.approx(5.0, abs=0.1)
    assert point_hd95_mm(a, b) == pytest.approx(5.1, abs=0.2)


def test_earth_mover_of_surfaces_states_its_number_and_its_floor():
    found = surface_earth_mover(sphere(40.0), sphere(45.0), n_points=512)
    assert found.n_points == 512
    assert found.emd_mm == pytest.approx(8.74, abs=0.6)  # true distance 5.00, 512 points
    assert 4.0 < found.self_emd_mm < found.emd_mm
    assert surface_earth_mover(sphere(40.0), sphere(45.0), n_points=512) == found
    assert surface_earth_mover(sphere(40.0), sphere(45.0), n_points=512, seed=1) != found


@pytest.mark.slow
def test_earth_mover_at_its_default_number_of_points():
    found = surface_earth_mover(sphere(40.0), sphere(45.0))
    assert found.n_points == 2048
    assert found.emd_mm == pytest.approx(6.20, abs=0.4)
    assert found.self_emd_mm == pytest.approx(2.98, abs=0.4)


def test_samples_cover_a_surface_by_area():
    # Two triangles of areas 6 and 2 in planes z = 0 and z = 1.
    mesh = Mesh(
        np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 1], [2, 0, 1], [0, 2, 1]]), np.array([[0, 1, 2], [3, 4, 5]])
    )
    points = sample_surface(mesh, 40000, generator(0))
    low = points[points[:, 2] < 0.5]
    assert len(low) / 40000 == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(low.mean(axis=0), (4 / 3, 1.0, 0.0), atol=0.03)
    assert (low[:, 0] / 4 + low[:, 1] / 3 <= 1 + 1e-12).all()
    with pytest.raises(DataError, match="no area"):
        sample_surface(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), 5, generator(0))


def test_an_empty_cloud_is_infinitely_far_and_two_are_an_error():
    cloud, nothing = lattice(), np.zeros((0, 3))
    for measure in (chamfer_l2_sum_mm2, chamfer_l1_mean_mm, point_assd_mm, point_hd95_mm):
        assert measure(cloud, nothing) == measure(nothing, cloud) == math.inf
    with pytest.raises(DataError, match="both point clouds are empty"):
        nearest_distances(nothing, nothing)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        nearest_distances(np.zeros(3), cloud)


def test_alignment_removes_depth_and_nothing_else():
    cloud = lattice()
    moved = aligned_in_depth(cloud, cloud + np.array((1.0, 7.0, 2.0)), (0, -3, 0))
    np.testing.assert_allclose(moved - cloud, np.tile((1.0, 0.0, 2.0), (1000, 1)), atol=1e-9)
    with pytest.raises(GeometryError, match="not a direction"):
        aligned_in_depth(cloud, cloud, (0, 0, 0))


def test_depth_errors_over_common_pixels():
    reference = np.array([[100.0, 101.0, np.nan], [102.0, 103.0, 104.0]])
    prediction = np.array([[101.0, 104.0, 100.0], [np.nan, 103.0, 104.0]])
    found = depth_errors(reference, prediction)
    assert (found.mae_mm, found.n_pixels, found.coverage) == (pytest.approx(1.0), 4, pytest.approx(0.8))
    assert found.rmse_mm == pytest.approx(math.sqrt(10 / 4))
    aligned = depth_errors(reference, prediction + 50, align_centre=True)
    assert aligned.mae_mm == pytest.approx(1.0)  # errors 1 3 0 0 about their mean 1
    assert aligned.rmse_mm == pytest.approx(math.sqrt(6 / 4))
    nothing = depth_errors(reference, np.full((2, 3), np.nan))
    assert (nothing.n_pixels, nothing.coverage) == (0, 0.0)
    assert math.isnan(nothing.mae_mm)
    with pytest.raises(GeometryError, match="cannot be compared"):
        depth_errors(reference, prediction[:1])


def test_volume_correlation_by_hand():
    # y = 2 x: Pearson 1; Lin 2 cov / (var x + var y + (mean difference)^2) = 4/3 * 2 / (2/3 + 8/3 + 4).
    found = volume_correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.pearson == pytest.approx(1.0, abs=1e-12)
    assert found.lin == pytest.approx((8 / 3) / (2 / 3 + 8 / 3 + 4), abs=1e-12)
    assert found.n_cases == 3
    assert volume_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).lin == pytest.approx(1.0, abs=1e-12)
    assert volume_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).pearson == pytest.approx(-1.0, abs=1e-12)


def test_volume_correlation_without_spread_is_nan():
    assert math.isnan(volume_correlation([5.0], [5.0]).pearson)
    assert math.isnan(volume_correlation([1.0, 2.0], [0.0, 0.0]).pearson)
    assert volume_correlation([1.0, 2.0], [0.0, 0.0]).lin == 0.0
    with pytest.raises(DataError, match="2 reference and 1 predicted"):
        volume_correlation([1.0, 2.0], [1.0])
