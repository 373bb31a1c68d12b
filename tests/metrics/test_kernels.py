"""The compiled loops against plain numpy and scipy."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from boneray.metrics import distances, kernels
from boneray.metrics.counts import class_counts, packed
from boneray.metrics.surfels import CORNERS, surfel_areas_mm2, surfels


def lattice_points(rng, n, size):
    return np.unique(rng.integers(0, size, (n, 3)), axis=0).astype(np.int32)  # unique rows are in raster order


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 2.4, 1.1), (3.0, 0.5, 0.5)])
@pytest.mark.parametrize(("n", "size"), [(1, 5), (40, (6, 6, 200)), (300, 12), (2000, (4, 4, 300)), (60, 90)])
def test_nearest_is_that_of_a_tree(spacing, n, size):
    rng = np.random.default_rng(n)
    targets, queries = lattice_points(rng, n, size), lattice_points(rng, 300, np.array(size) + 20)
    expected = cKDTree(targets * spacing).query(queries * spacing)[0]
    np.testing.assert_allclose(distances.nearest_mm(queries, targets, spacing), expected, atol=1e-12)


def test_nearest_in_a_box_too_large_to_be_marked():
    targets = np.array([[0, 0, 0], [0, 0, 9], [5000, 5000, 5000]], np.int32)
    queries = np.array([[0, 0, 0], [0, 0, 4], [4998, 5000, 5001], [0, 3, 13]], np.int32)
    np.testing.assert_allclose(
        distances.nearest_mm(queries, targets, (1.0, 1.0, 1.0)), [0.0, 4.0, np.sqrt(5), 5.0], atol=1e-12
    )


def test_what_is_out_of_reach_is_left_to_the_tree():
    targets = np.array([[0, 0, 0]], np.int32)
    queries = np.array([[0, 0, 7], [0, 3, 0], [30, 5, 0], [40, 40, 0]], np.int32)
    points = distances.offsets_by_distance((1.0, 1.0, 1.0), distances.NEAR)
    rows = distances.offsets_by_distance((1.0, 1.0), distances.REACH)
    found = np.empty(4)
    n_far = kernels.nearest(queries, targets, 1.0, *points, *rows, distances.NEAR, found)
    np.testing.assert_allclose(found, [7.0, 3.0, -1.0, -1.0])
    assert n_far == 2
    np.testing.assert_allclose(
        distances.nearest_mm(queries, targets, (1.0, 1.0, 1.0)), [7.0, 3.0, np.sqrt(925), 40 * np.sqrt(2)]
    )


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_percentile_is_that_of_the_sorted_list(share):
    rng = np.random.default_rng(3)
    for n in (1, 2, 7, 5000):
        d, areas = rng.exponential(2.0, n), rng.random(n) + 0.01
        order = np.argsort(d)
        covered = np.cumsum(areas[order])
        expected = d[order][min(int(np.searchsorted(covered / covered[-1], share - 1e-13)), n - 1)]
        assert percentile(d, areas, share) == expected


def percentile(d, areas, share):
    return kernels.area_percentile(d, areas, share, areas.sum(), d.max())


def test_percentile_by_hand():
    d, areas = np.array([3.0, 1.0, 2.0, 10.0]), np.array([1.0, 1.0, 17.0, 1.0])
    assert percentile(d, areas, 0.95) == 3.0  # 1 and 2 and 3 cover 19 of 20
    assert percentile(d, areas, 0.90) == 2.0
    assert percentile(d, areas, 0.951) == 10.0
    assert percentile(np.zeros(3), np.ones(3), 0.95) == 0.0
    assert percentile(np.full(3, np.inf), np.ones(3), 0.95) == np.inf


@pytest.mark.parametrize("top", [9, 900])  # 8 and 16 bits per label
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (5, 4, 7), (4, 4, 8), (2, 3, 17)])
def test_counts_and_surface_elements_are_those_of_plain_loops(shape, top):
    rng = np.random.default_rng(11)
    a, b = (rng.choice(np.array([0, 0, 0, 1, 2, top]), shape) for _ in range(2))
    rows = packed(a, b)
    counts = class_counts(*rows)
    assert set(counts.ids) == {0} | set(np.unique(a)) | set(np.unique(b))
    for rank, label in enumerate(counts.ids):
        assert counts.voxels[:, rank].tolist() == [(a == label).sum(), (b == label).sum()]
        for other, second in enumerate(counts.ids):
            assert counts.confusion[rank, other] == ((a == label) & (b == second)).sum()
    for side, labels in enumerate((a, b)):
        found = surfels(rows[side], counts, side)
        for rank, label in enumerate(counts.ids):
            if label == 0:
                assert found.starts[1] == 0
                continue
            mask = labels == label
            if mask.any():
                index = np.argwhere(mask)
                assert counts.boxes[side, rank].tolist() == [index.min(0).tolist(), index.max(0).tolist()]
                np.testing.assert_allclose(counts.centroids[side, rank], index.mean(0))
            points, codes = found.of(rank)
            expected = plain_codes(mask)
            where = np.argwhere((expected > 0) & (expected < 255))
            np.testing.assert_array_equal(points, where)
            np.testing.assert_array_equal(codes, expected[tuple(where.T)])


def plain_codes(mask):
    padded = np.pad(mask, 1)
    codes = np.zeros([n + 1 for n in mask.shape], int)
    for bit, (i, j, k) in enumerate(CORNERS):
        codes |= padded[i : i + codes.shape[0], j : j + codes.shape[1], k : k + codes.shape[2]] << bit
    return codes


def test_every_element_has_an_area():
    assert (surfel_areas_mm2((1.0, 2.0, 3.0))[1:255] > 0).all()
