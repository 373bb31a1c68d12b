"""The centreline of a long thin bone: an ordered curve in the world, in even steps.

A minimal path through the deepest voxels gives order and ends; then the curve moves onto the
centroids of the bone's cross-sections, which average over many voxels and so lie between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.boxes import cropped
from boneray.geometry.interior import inside
from boneray.geometry.lines import angle_deg, unit

STEP_MM = 1.0
LEAST_VOXELS = 30
LEAST_SLENDERNESS = 3.0
DEPTH_POWER = 3
# Widths of the Gaussian along the line: below 0.6 radii of the bone the line begins to swing between its walls.
WIDTH_RADII, WIDTH_VOXELS = 0.7, 1.2
ROUNDS = 4
MOST_GROWTH = 1.5  # of the line while it is centred: those of bones stay within 1.2, in a sponge it doubles every round
END_PART_MM = 15.0
AREA_VOXELS = 1.0
GAP_MM, BEND_DEG = 10.0, 40.0
END_REACH_MM = (6.0, 20.0)
LEAST_PART = 0.02
PATH_MM, PATH_SMOOTH_MM = 2.0, 4.0
MESH_SPACING_MM = 1.0
MOST_VOXELS = 50_000_000


@dataclass(frozen=True)
class Centreline:
    """The line in the middle of a long bone.

    Attributes:
        points_mm: (n, 3) RAS mm, about 1 mm apart. The ends are the centres of half balls that would
            close a tube of the bone's section and volume: a rod with round ends has just its axis.
        radius_mm: radius of a circle of the bone's median cross-section.
        kept_share: share of the voxels that belong to the line's parts.
        parts: how many separate parts were joined.
    """

    points_mm: NDArray[np.float64]
    radius_mm: float
    kept_share: float = 1.0
    parts: int = 1

    @property
    def length_mm(self) -> float:
        """Length along the line."""
        return float(np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1).sum())

    @property
    def chord_mm(self) -> float:
        """Distance of the ends."""
        return float(np.linalg.norm(self.points_mm[-1] - self.points_mm[0]))


def centreline(labels: LabelMap, bone_id: int = 1) -> Centreline | None:
    """The centreline of one label; None if it is absent, tiny (30 voxels) or not longer than thrice its radius.

    None as well for a sponge, as an untrained network draws it: a line that winds through it has no middle to find.
    Parts broken off are joined to the largest where the gap is below 10 mm and the directions agree
    within 40 degrees; the rest is left out and lowers `kept_share`. Which end comes first follows
    from the array only; callers that need an order take it from the anatomy.
    """
    boxes = ndimage.find_objects((labels.data == bone_id).astype(np.uint8))
    if not boxes:
        return None
    part = cropped(labels, boxes[0])
    mask = part.data == bone_id
    whole = int(mask.sum())
    if whole < LEAST_VOXELS:
        return None
    found, count = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    least = max(LEAST_VOXELS, LEAST_PART * whole)
    large = [int(n) + 1 for n in order if sizes[n] >= least]
    if not large:
        return None
    main = np.argwhere(found == large[0])
    others = [np.argwhere(found == n) for n in large[1:]]
    joined, links, parts = _joined(main, others, part.grid)
    points = _curve(joined, links, part.grid)
    if points is None:
        return None
    line, radius = points
    result = Centreline(line, radius, len(joined) / whole, parts)
    return result if result.length_mm > LEAST_SLENDERNESS * radius else None


def mesh_centreline(mesh: Mesh, spacing_mm: float = MESH_SPACING_MM) -> Centreline | None:
    """The centreline of a closed surface, from voxels of `spacing_mm` inside of it; None as for labels.

    The voxels lie along the principal axes of the surface and so turn with it.
    """
    offset = mesh.vertices_mm - mesh.vertices_mm.mean(axis=0)
    axes = np.linalg.eigh(offset.T @ offset)[1]
    axes = axes * np.where(np.sum((offset @ axes) ** 3, axis=0) < 0, -1.0, 1.0)
    local = mesh.vertices_mm @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    i, j, k = (int(n) for n in np.ceil((high - low) / spacing_mm) + 3)
    if i * j * k > MOST_VOXELS:
        return None
    grid = Grid((i, j, k), (spacing_mm,) * 3, tuple(axes @ (low - spacing_mm)), tuple(axes.ravel()))
    return centreline(LabelMap(inside(mesh, grid).astype(np.uint8), grid))


def _joined(
    main: NDArray[np.int64], others: list[NDArray[np.int64]], grid: Grid
) -> tuple[NDArray[np.int64], list[tuple[NDArray[np.int64], NDArray[np.int64]]], int]:
    """Voxels of the main part and of those that continue it, the voxel pairs that bridge the gaps, and how many."""
    voxels, links, parts = main, [], 1
    left = list(others)
    while left:
        for n, other in enumerate(left):
            link = _link(voxels, other, grid)
            if link is not None:
                voxels, parts = np.concatenate([voxels, other]), parts + 1
                links.append(link)
                left.pop(n)
                break
        else:
            break
    return voxels, links, parts


def _link(
    first: NDArray[np.int64], second: NDArray[np.int64], grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The nearest voxels of two parts, if one goes on where the other ends."""
    a, b = grid.to_world(first), grid.to_world(second)
    distance, index = cKDTree(a).query(b)
    nearest = int(distance.argmin())
    if distance[nearest] > GAP_MM + max(grid.spacing_mm):
        return None
    start, stop = a[index[nearest]], b[nearest]
    ahead, behind = _direction(a, start), _direction(b, stop)
    if ahead is None or behind is None or angle_deg(-ahead, behind) > BEND_DEG:
        return None
    return first[index[nearest]], second[nearest]


def _direction(points: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Unit vector from an end of a part into it, between the middles of its first 6 mm and its first 20; or None."""
    away = np.linalg.norm(points - end, axis=1)
    first, more = (points[away < reach] for reach in END_REACH_MM)
    inwards = more.mean(axis=0) - first.mean(axis=0)
    return unit(inwards) if np.linalg.norm(inwards) > 1.0 else None


def _curve(
    voxels: NDArray[np.int64], links: list[tuple[NDArray[np.int64], NDArray[np.int64]]], grid: Grid
) -> tuple[NDArray[np.float64], float] | None:
    """The line (n, 3) and the radius of its section."""
    path = _path(voxels, links, grid)
    if len(path) < 2:
        return None
    points = grid.to_world(voxels)
    line = _resampled(_smoothed_path(grid.to_world(path)))
    if len(line) < 3:
        return None
    volume = len(voxels) * grid.voxel_volume_mm3
    thick = float(np.sqrt(volume / (np.pi * STEP_MM * len(line))))
    width = max(WIDTH_RADII * thick, WIDTH_VOXELS * max(grid.spacing_mm))
    most = MOST_GROWTH * len(line)
    for _ in range(ROUNDS):
        line, area = _centred(line, points, grid.voxel_volume_mm3, width, thick)
        if not 3 <= len(line) <= most:
            return None
    radius = float(np.sqrt(np.median(area[area > 0]) / np.pi))
    line = _trimmed(line, area, radius)
    return (_resampled(line), radius) if len(line) >= 2 else None


def _path(
    voxels: NDArray[np.int64], links: list[tuple[NDArray[np.int64], NDArray[np.int64]]], grid: Grid
) -> NDArray[np.float64]:
    """Voxel places (n, 3) of the way between the two ends that are furthest apart within the bone, through its depth.

    Small voxels are taken together to about 2 mm: the path only gives order and ends.
    """
    from skimage.graph import MCP_Geometric

    block = np.maximum(np.rint(PATH_MM / np.array(grid.spacing_mm)), 1).astype(int)
    spacing = tuple((block * np.array(grid.spacing_mm)).tolist())
    low = voxels.min(axis=0) - block
    mask = np.zeros((voxels.max(axis=0) - low) // block + 2, dtype=bool)
    mask[tuple(((voxels - low) // block).T)] = True
    for start, stop in links:
        steps = int(np.abs(stop - start).max()) + 1
        bridge = (np.rint(np.linspace(start, stop, steps)).astype(int) - low) // block
        mask[tuple(bridge.T)] = True
    depth = ndimage.distance_transform_edt(mask, spacing)
    section = np.pi * float(depth.max()) ** 2
    if float(np.prod(spacing)) * np.count_nonzero(mask) < LEAST_SLENDERNESS * section * float(depth.max()):
        return np.zeros((0, 3))  # a clod, in which a path would be long to find and mean nothing

    def furthest(start: Any) -> tuple[int, ...]:
        walk = MCP_Geometric(np.where(mask, 1.0, -1.0), sampling=spacing)
        costs, _ = walk.find_costs([start])
        return tuple(int(v) for v in np.unravel_index(np.where(np.isfinite(costs), costs, -1.0).argmax(), mask.shape))

    first = furthest(tuple(int(v) for v in np.unravel_index(depth.argmax(), mask.shape)))
    last = furthest(first)
    cost = np.where(mask, (np.maximum(depth, 1e-6) / depth.max()) ** -DEPTH_POWER, -1.0)
    walk = MCP_Geometric(cost, sampling=spacing)
    walk.find_costs([first], [last])
    return np.array(walk.traceback(last)) * block + low + (block - 1) / 2


def _smoothed_path(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The path in even steps, after a Gaussian of 4 mm along it."""
    return ndimage.gaussian_filter1d(_resampled(points), PATH_SMOOTH_MM / STEP_MM, axis=0, mode="nearest")


def _resampled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in even steps of about 1 mm along a polyline; both ends stay."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0.0, along[-1], max(2, round(along[-1] / STEP_MM) + 1))
    return np.column_stack([np.interp(at, along, points[:, axis]) for axis in range(3)])


def _centred(
    line: NDArray[np.float64], points: NDArray[np.float64], voxel_mm3: float, width_mm: float, end_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The line moved onto the centroids of the sections across it, over the whole reach of the bone, with their areas.

    Every voxel belongs to a place along the line; the new line is the local linear mean of the
    voxels there under a Gaussian of `width_mm`. Within `end_mm` of its ends there are too few voxels
    for that, and the line goes straight on.

    Returns:
        Points (n, 3) in even steps and the area of the bone across each, mm2 (n,).
    """
    line = _resampled(line)
    step = float(np.linalg.norm(np.diff(line, axis=0), axis=1).mean())
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    _, index = cKDTree(line).query(points)
    place = index * step + np.einsum("ij,ij->i", points - line[index], tangent[index])
    first = int(np.floor(place.min() / step))
    bins = np.floor(place / step).astype(int) - first
    count = int(bins.max()) + 1
    at = (np.arange(count) + first + 0.5) * step
    mass = np.bincount(bins, minlength=count).astype(float)
    area = ndimage.gaussian_filter1d(mass, AREA_VOXELS * voxel_mm3 ** (1 / 3) / step) * voxel_mm3 / step
    sums = [np.bincount(bins, weights=values, minlength=count) for values in (place, *points.T)]
    mean_place = np.divide(sums[0], mass, out=at.copy(), where=mass > 0)
    off = mean_place[None] - at[:, None]
    weight = np.exp(-0.5 * ((at[:, None] - at[None]) / width_mm) ** 2)
    share = weight * mass[None]
    s0, s1, s2 = share.sum(axis=1), (share * off).sum(axis=1), (share * off**2).sum(axis=1)
    determinant = s0 * s2 - s1**2
    inner = (at >= at[0] + end_mm) & (at <= at[-1] - end_mm) & (determinant > 1e-6)
    if np.count_nonzero(inner) < 2:
        return line[:0], area[:0]
    moved, slopes = np.zeros((count, 3)), np.zeros((count, 3))
    for axis, total in enumerate(sums[1:]):
        t0, t1 = weight @ total, (weight * off) @ total
        moved[inner, axis] = ((s2 * t0 - s1 * t1) / np.where(inner, determinant, 1.0))[inner]
        slopes[inner, axis] = ((s0 * t1 - s1 * t0) / np.where(inner, determinant, 1.0))[inner]
    inside = np.flatnonzero(inner)
    for end, beyond in ((inside[0], np.arange(inside[0])), (inside[-1], np.arange(inside[-1] + 1, count))):
        moved[beyond] = moved[end] + np.multiply.outer(at[beyond] - at[end], unit(slopes[end]))
    gaps = np.setdiff1d(np.arange(inside[0], inside[-1] + 1), inside)
    for axis in range(3):
        moved[gaps, axis] = np.interp(gaps, inside, moved[inside, axis])
    return moved, area


def _trimmed(line: NDArray[np.float64], area: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The line between the centres of its round ends.

    Beyond the centre of its last ball a rod of section A and radius r holds 2/3 r A. So each end is
    where the volume beyond it, in lengths of the section next to the end, is 2/3 r.
    """
    step = float(np.linalg.norm(np.diff(line, axis=0), axis=1).mean())
    low = _end_place(area, step, radius)
    high = len(line) - 1 - _end_place(area[::-1], step, radius)
    if high - low < 1:
        return line[:0]
    at = np.concatenate([[low], np.arange(np.ceil(low + 1e-6), high), [high]])
    places = np.arange(len(line))
    return np.column_stack([np.interp(at, places, line[:, axis]) for axis in range(3)])


def _end_place(area: NDArray[np.float64], step: float, radius: float) -> float:
    """Place of the first end in samples of the line; may be negative by no more than 0."""
    skip, length = round(1.5 * radius / step), max(3, round(END_PART_MM / step))
    section = float(np.mean(area[skip : skip + length])) if len(area) > skip else float(np.median(area))
    own = float(np.sqrt(section / np.pi))
    inner = min(skip + length, len(area) // 2)
    beyond = float(area[:inner].sum()) * step / section
    # samples stand for the step about them, so the first begins half a step before its place
    return max((inner * step - beyond + 2 / 3 * own) / step - 0.5, 0.0)
