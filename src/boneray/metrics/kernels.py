"""The loops over voxels and surface elements, compiled.

Label maps come as rows of 64-bit words, lowest bits first, that hold 8 labels of 8 bits or 4 of 16
(`counts.PackedLabels`): most words are all background or all one bone, and that is seen in one step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Columns of the sums that `count` keeps for every class and side.
COUNT, SUM_I, SUM_J, SUM_K, FIRST_I, FIRST_J, FIRST_K, LAST_I, LAST_J, LAST_K = range(10)
# What `summary` says of the distances of one surface to the other.
AREA, MOMENT, LARGEST, PERCENTILE_95 = range(4)
# The place of a lone bit, looked up by the top six bits of its product with a de Bruijn sequence.
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
PLACE_OF_BIT = np.zeros(64, np.uint64)
for _place in range(64):
    PLACE_OF_BIT[((int(DE_BRUIJN) << _place) & (2**64 - 1)) >> 58] = _place
BITS_SET = np.array([bin(code).count("1") for code in range(256)], np.uint64)
LARGEST_BOX = 2**25  # lattice points of the box in which near targets are marked, one byte each


@njit(cache=True, nogil=True)
def count(reference, prediction, bits, capacity):  # pragma: no cover - compiled
    """Everything about all classes that needs one look at each voxel.

    Classes get ranks in the order in which they are met; rank 0 is background. Returns the ids by
    rank, sums (side, rank, column), the joint counts (rank in the reference, rank in the
    prediction) without background in both, and the first and last word of every row that is not
    all background (side, i, j, 2), last < first for an empty row. `capacity` classes or more: the
    ids come back empty.
    """
    size_i, size_j, size_w = reference.shape
    lanes = 64 // bits
    shift = np.uint64(bits)
    carried = np.uint64(64 - bits)
    lowest = np.uint64((1 << bits) - 1)
    within_lane = ~np.uint64(bits - 1)  # from a bit to the first of its lane
    nothing = np.uint64(0)
    rank_of = np.full(1 << bits, -1, np.int64)
    rank_of[0] = 0
    ids = np.zeros(capacity, np.int64)
    known = 1
    sums = np.zeros((2, capacity, 10), np.int64)
    sums[:, :, FIRST_I:LAST_I] = max(size_i, size_j, size_w * lanes)
    sums[:, :, LAST_I:] = -1
    joint = np.zeros((capacity, capacity), np.int64)
    extent = np.zeros((2, size_i, size_j, 2), np.int32)
    for i in range(size_i):
        for j in range(size_j):
            first = reference[i, j]
            second = prediction[i, j]
            low_a, high_a, low_b, high_b = size_w, -1, size_w, -1
            a, b = nothing, nothing  # labels of the run that is open, from `start`
            start = 0
            last_a, last_b = nothing, nothing
            for w in range(size_w + 1):
                word_a = first[w] if w < size_w else nothing
                word_b = second[w] if w < size_w else nothing
                if word_a | word_b | a | b == nothing:
                    last_a, last_b = nothing, nothing
                    continue
                changes = (word_a ^ ((word_a << shift) | (last_a >> carried))) | (
                    word_b ^ ((word_b << shift) | (last_b >> carried))
                )
                last_a, last_b = word_a, word_b
                if word_a != nothing:
                    low_a, high_a = min(low_a, w), w
                if word_b != nothing:
                    low_b, high_b = min(low_b, w), w
                if changes == nothing:
                    continue
                while changes != nothing:
                    place = _first_bit(changes) & within_lane
                    changes &= ~(lowest << place)
                    stop = w * lanes + int(place) // bits
                    if a != nothing or b != nothing:
                        rank_a, rank_b = rank_of[a], rank_of[b]
                        if rank_a < 0:
                            if known == capacity:
                                return ids[:0], sums, joint, extent
                            rank_of[a] = rank_a = known
                            ids[known] = a
                            known += 1
                            rank_b = rank_of[b]
                        if rank_b < 0:
                            if known == capacity:
                                return ids[:0], sums, joint, extent
                            rank_of[b] = rank_b = known
                            ids[known] = b
                            known += 1
                        joint[rank_a, rank_b] += stop - start
                        if rank_a > 0:
                            _add_run(sums[0, rank_a], i, j, start, stop)
                        if rank_b > 0:
                            _add_run(sums[1, rank_b], i, j, start, stop)
                    start = stop
                    a = (word_a >> place) & lowest
                    b = (word_b >> place) & lowest
            extent[0, i, j, 0], extent[0, i, j, 1] = low_a, high_a
            extent[1, i, j, 0], extent[1, i, j, 1] = low_b, high_b
    return ids[:known], sums[:, :known], joint[:known, :known], extent


@njit(cache=True, nogil=True)
def _first_bit(word):  # pragma: no cover - compiled
    """Place of the lowest bit that is set in a word; not of 0."""
    return PLACE_OF_BIT[((word & (~word + np.uint64(1))) * DE_BRUIJN) >> np.uint64(58)]


@njit(cache=True, nogil=True)
def _add_run(row, i, j, start, stop):  # pragma: no cover - compiled
    n = stop - start
    row[COUNT] += n
    row[SUM_I] += i * n
    row[SUM_J] += j * n
    row[SUM_K] += (start + stop - 1) * n // 2
    row[FIRST_I] = min(row[FIRST_I], i)
    row[LAST_I] = max(row[LAST_I], i)
    row[FIRST_J] = min(row[FIRST_J], j)
    row[LAST_J] = max(row[LAST_J], j)
    row[FIRST_K] = min(row[FIRST_K], start)
    row[LAST_K] = max(row[LAST_K], stop - 1)


@njit(cache=True, nogil=True)
def surface_elements(labels, bits, extent, rank_of, class_count):  # pragma: no cover - compiled
    """The surface elements of all classes of a label map, class by class, each in raster order.

    `extent` is that of `count` for this side, `rank_of` gives the rank of a label. Returns where
    each class starts (class_count + 1), the points where eight voxels meet (n, 3), of which point
    p has voxels p - 1 and p around it, and the codes (n,): bit 4 di + 2 dj + dk is set if that
    voxel (0 before the point, 1 behind) is of the class.
    """
    size_i, size_j, size_w = labels.shape
    lanes = 64 // bits
    shift = np.uint64(bits)
    carried = np.uint64(64 - bits)
    lowest = np.uint64((1 << bits) - 1)
    within_lane = ~np.uint64(bits - 1)  # from a bit to the first of its lane
    nothing = np.uint64(0)
    most = 8 * lanes * (size_w + 1)  # elements of one row at most
    capacity = 16384
    points, ranks, codes = _room(capacity)
    n = 0
    beyond = np.zeros(size_w, np.uint64)
    around = np.zeros(8, np.uint64)
    for i in range(size_i + 1):
        for j in range(size_j + 1):
            low, high = size_w, -1
            for di in range(max(i - 1, 0), min(i + 1, size_i)):
                for dj in range(max(j - 1, 0), min(j + 1, size_j)):
                    low = min(low, extent[di, dj, 0])
                    high = max(high, extent[di, dj, 1])
            if high < 0:
                continue
            row0 = labels[i - 1, j - 1] if i > 0 and j > 0 else beyond
            row1 = labels[i - 1, j] if i > 0 and j < size_j else beyond
            row2 = labels[i, j - 1] if i < size_i and j > 0 else beyond
            row3 = labels[i, j] if i < size_i and j < size_j else beyond
            if n + most > capacity:
                capacity = 2 * (n + most)
                more_points, more_ranks, more_codes = _room(capacity)
                more_points[:n], more_ranks[:n], more_codes[:n] = points[:n], ranks[:n], codes[:n]
                points, ranks, codes = more_points, more_ranks, more_codes
            p0, p1, p2, p3, p_differ = nothing, nothing, nothing, nothing, nothing
            for w in range(low, high + 2):
                w0, w1, w2, w3 = nothing, nothing, nothing, nothing
                if w < size_w:
                    w0, w1, w2, w3 = row0[w], row1[w], row2[w], row3[w]
                # Not all eight alike: the four here differ, or the four before do, or one changes from there to here.
                differ = (w0 ^ w1) | (w0 ^ w2) | (w0 ^ w3)
                before = (w0 << shift) | (p0 >> carried)
                mixed = differ | (differ << shift) | (p_differ >> carried) | (w0 ^ before)
                if mixed != nothing:
                    b0, b1 = before, (w1 << shift) | (p1 >> carried)
                    b2, b3 = (w2 << shift) | (p2 >> carried), (w3 << shift) | (p3 >> carried)
                    while mixed != nothing:
                        place = _first_bit(mixed) & within_lane
                        mixed &= ~(lowest << place)
                        v0, v1 = (b0 >> place) & lowest, (w0 >> place) & lowest
                        v2, v3 = (b1 >> place) & lowest, (w1 >> place) & lowest
                        v4, v5 = (b2 >> place) & lowest, (w2 >> place) & lowest
                        v6, v7 = (b3 >> place) & lowest, (w3 >> place) & lowest
                        k = w * lanes + int(place) // bits
                        label = max(max(max(v0, v1), max(v2, v3)), max(max(v4, v5), max(v6, v7)))
                        code = (
                            (v0 == label)
                            | (v1 == label) << 1
                            | (v2 == label) << 2
                            | (v3 == label) << 3
                            | (v4 == label) << 4
                            | (v5 == label) << 5
                            | (v6 == label) << 6
                            | (v7 == label) << 7
                        )
                        points[n, 0], points[n, 1], points[n, 2] = i, j, k
                        ranks[n], codes[n] = rank_of[label], code
                        n += 1
                        if v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7 != label * BITS_SET[code]:  # bones that touch
                            around[0], around[1], around[2], around[3] = v0, v1, v2, v3
                            around[4], around[5], around[6], around[7] = v4, v5, v6, v7
                            done = code
                            for corner in range(8):
                                label = around[corner]
                                if label == nothing or (done >> corner) & 1:
                                    continue
                                code = 0
                                for other in range(corner, 8):
                                    if around[other] == label:
                                        code |= 1 << other
                                done |= code
                                points[n, 0], points[n, 1], points[n, 2] = i, j, k
                                ranks[n], codes[n] = rank_of[label], code
                                n += 1
                p0, p1, p2, p3, p_differ = w0, w1, w2, w3, differ
    points, ranks, codes = points[:n], ranks[:n], codes[:n]
    starts = np.zeros(class_count + 1, np.int64)
    if class_count == 2:  # background and one class: nothing to sort
        starts[2] = n
        return starts, points, codes
    for e in range(n):
        starts[ranks[e] + 1] += 1
    for c in range(class_count):
        starts[c + 1] += starts[c]
    next_of = starts[:-1].copy()
    sorted_points = np.empty((n, 3), np.int32)
    sorted_codes = np.empty(n, np.uint8)
    for e in range(n):
        to = next_of[ranks[e]]
        next_of[ranks[e]] = to + 1
        sorted_points[to, 0], sorted_points[to, 1], sorted_points[to, 2] = points[e, 0], points[e, 1], points[e, 2]
        sorted_codes[to] = codes[e]
    return starts, sorted_points, sorted_codes


@njit(cache=True, nogil=True)
def _room(capacity):  # pragma: no cover - compiled
    return np.empty((capacity, 3), np.int32), np.empty(capacity, np.int32), np.empty(capacity, np.uint8)


@njit(cache=True, nogil=True)
def nearest_by_class(
    queries, query_starts, targets, target_starts, edge_k, points, points_squared, rows, rows_squared, reach
):  # pragma: no cover - compiled
    """`nearest` within every class; class c has the points from starts[c] to starts[c + 1].

    Returns the distances (n,), inf for a class without targets, and how many were not found.
    """
    out = np.full(queries.shape[0], np.inf)
    far = 0
    for c in range(query_starts.shape[0] - 1):
        a, b = query_starts[c], query_starts[c + 1]
        first, last = target_starts[c], target_starts[c + 1]
        if a < b and first < last:
            far += nearest(
                queries[a:b], targets[first:last], edge_k, points, points_squared, rows, rows_squared, reach, out[a:b]
            )
    return out, far


@njit(cache=True, nogil=True)
def nearest(
    queries, targets, edge_k, points, points_squared, rows, rows_squared, reach, out
):  # pragma: no cover - compiled
    """Distance in mm of every query to the nearest target into `out`; how many were not found.

    Both are lattice points (n, 3) in raster order. First the lattice `points` around the query are
    tried in the order of their distance, at most `reach` away along each axis; of these the first
    that is a target is the nearest. What is further away is looked up by rows along k: `rows`
    (m, 2) in i and j, in the order of their distance. A query further from its target than the
    last row comes back as -1. The squared lengths are in mm and ascend.
    """
    count = targets.shape[0]
    low_i, high_i = targets[0, 0], targets[count - 1, 0]
    low_j, high_j = targets[0, 1], targets[0, 1]
    low_k, high_k = targets[0, 2], targets[0, 2]
    for t in range(count):
        low_j, high_j = min(low_j, targets[t, 1]), max(high_j, targets[t, 1])
        low_k, high_k = min(low_k, targets[t, 2]), max(high_k, targets[t, 2])
    # The box of the targets with twice the reach around it: all that is tried from within once the reach lies inside.
    margin = 2 * reach
    size_i, size_j = high_i - low_i + 1 + 2 * margin, high_j - low_j + 1 + 2 * margin
    size_k = high_k - low_k + 1 + 2 * margin
    small = size_i * size_j * size_k <= LARGEST_BOX
    occupied = np.zeros(size_i * size_j * size_k if small else 0, np.uint8)
    height, width = np.uint64(high_i - low_i + 1), np.uint64(high_j - low_j + 1)
    starts = np.zeros(height * width + np.uint64(1), np.int32)
    ks = np.empty(count, np.int32)
    for t in range(count):
        i, j, k = targets[t, 0] - low_i, targets[t, 1] - low_j, targets[t, 2]
        starts[np.uint64(i) * width + np.uint64(j + 1)] += 1
        ks[t] = k
        if small:
            occupied[((i + margin) * size_j + j + margin) * size_k + k - low_k + margin] = 1
    for r in range(starts.shape[0] - 1):
        starts[r + 1] += starts[r]
    jumps = np.empty(points.shape[0], np.int64)
    for p in range(points.shape[0]):
        jumps[p] = (points[p, 0] * size_j + points[p, 1]) * size_k + points[p, 2]
    far = 0
    for q in range(queries.shape[0]):
        i, j, k = queries[q, 0] - low_i, queries[q, 1] - low_j, queries[q, 2]
        box_i, box_j, box_k = i + margin, j + margin, k - low_k + margin
        if (
            small
            and reach <= box_i < size_i - reach
            and reach <= box_j < size_j - reach
            and reach <= box_k < size_k - reach
        ):
            here = (box_i * size_j + box_j) * size_k + box_k
            hit = -1
            for p in range(jumps.shape[0]):
                if occupied[np.uint64(here + jumps[p])]:
                    hit = p
                    break
            if hit >= 0:
                out[q] = np.sqrt(points_squared[hit])
                continue
        best = np.inf
        proven = False
        for r in range(rows_squared.shape[0]):
            planar = rows_squared[r]
            if planar >= best:
                proven = True
                break
            row_i, row_j = np.uint32(i + rows[r, 0]), np.uint32(j + rows[r, 1])  # what is below 0 becomes huge
            if row_i >= height or row_j >= width:
                continue
            row = np.uint64(row_i) * width + np.uint64(row_j)
            a, b = np.uint64(starts[row]), np.uint64(starts[row + np.uint64(1)])
            while b - a > np.uint64(8):  # the targets of a row ascend: halve to the place of k
                middle = (a + b) >> np.uint64(1)
                if ks[middle] <= k:
                    a = middle
                else:
                    b = middle + np.uint64(1)
            for t in range(a, b):
                dk = (ks[t] - k) * edge_k
                best = min(best, planar + dk * dk)
        if proven or best <= rows_squared[-1]:
            out[q] = np.sqrt(best)
        else:
            out[q] = -1.0
            far += 1
    return far


@njit(cache=True, nogil=True)
def summaries(distances, areas, starts):  # pragma: no cover - compiled
    """Area, sum of distance times area, largest distance and 95th percentile by area of every class, (classes, 4)."""
    out = np.zeros((starts.shape[0] - 1, 4))
    for c in range(out.shape[0]):
        a, b = starts[c], starts[c + 1]
        if a == b:
            continue
        for n in range(a, b):
            out[c, AREA] += areas[n]
            out[c, MOMENT] += distances[n] * areas[n]
            out[c, LARGEST] = max(out[c, LARGEST], distances[n])
        out[c, PERCENTILE_95] = area_percentile(distances[a:b], areas[a:b], 0.95, out[c, AREA], out[c, LARGEST])
    return out


@njit(cache=True, nogil=True)
def area_within(distances, areas, tolerance):  # pragma: no cover - compiled
    """Area of the elements not further away than `tolerance`."""
    total = 0.0
    for n in range(distances.shape[0]):
        if distances[n] <= tolerance:
            total += areas[n]
    return total


@njit(cache=True, nogil=True)
def area_percentile(distances, areas, share, total, largest):  # pragma: no cover - compiled
    """The smallest distance within which at least `share` of the area lies; `total` area, `largest` distance.

    A part in 10^12 of the area is given in, so that rounding in the sum does not depend on the order.
    """
    if np.isinf(largest):
        return largest
    bins = 1024
    covered = np.empty(bins)
    wanted = share * total - 1e-12 * total
    below = 0.0  # area nearer than `low`
    low, high = 0.0, largest
    while low < high:  # sort by bins, then the bin that holds the percentile again, until it holds one distance
        covered[:] = 0.0
        scale = (bins - 1) / (high - low)
        for n in range(distances.shape[0]):
            if low <= distances[n] <= high:
                covered[int((distances[n] - low) * scale)] += areas[n]
        chosen = 0
        while chosen < bins - 1 and below + covered[chosen] < wanted:
            below += covered[chosen]
            chosen += 1
        nearest_in, furthest_in = np.inf, -1.0
        for n in range(distances.shape[0]):
            if low <= distances[n] <= high and int((distances[n] - low) * scale) == chosen:
                nearest_in, furthest_in = min(nearest_in, distances[n]), max(furthest_in, distances[n])
        if furthest_in < 0.0:  # only rounding leads past the last distance
            return high
        low, high = nearest_in, furthest_in
    return high
