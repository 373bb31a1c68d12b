"""Where every bone of a CT was when real radiographs of the same patient were taken.

First the whole body is registered, then each bone on its own in front of everything else: soft tissue and the other
bones stay in the picture where they were found last, twice round. Leaving them out does not work: on articulated
phantoms a femur alone is found only to many mm, with the other bones but without soft tissue to 1 mm, with all to
0.2 mm (docs/datasets.md). What was found is checked: is the bone in the pictures, do they agree, is the move one a
body can make, and does another start end at the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from boneray.core.bones import bone_name
from boneray.core.camera import Camera
from boneray.core.config import Settings
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.boxes import bone_boxes
from boneray.geometry.resample import resample_labels
from boneray.projection.joseph import line_integrals
from boneray.projection.render import attenuation_per_mm
from boneray.projection.resize import resized

SOFT_TISSUE_HU = 40.0  # what lies where a bone has gone
POINTS = 2000  # of a bone, to tell how far it moved
PIXELS = 256  # longest edge of the pictures that are compared
FACTORS = (4, 2, 1)
SHADOW_FACTOR = 8  # coarser pictures, to tell how much of a bone they show


class PoseLimits(Settings):
    """How bones are registered, and what is believed.

    `near_mm`: pixels compared around a bone's shadow; `sweeps`: rounds over all bones. A pose is believed if `seen`
    of the bone's shadow is in the pictures, the gradients of the pictures have a `correlation`, the bone moved at most
    `most_mm` and `most_deg` against the body, and a start off by `off_deg` and `off_mm` ends within `repeat_mm`.
    """

    near_mm: float = 20.0
    sweeps: int = 2
    seen: float = 0.6
    correlation: float = 0.9
    most_mm: float = 80.0
    most_deg: float = 60.0
    off_deg: float = 3.0
    off_mm: float = 3.0
    repeat_mm: float = 2.0


@dataclass(frozen=True)
class BonePose:
    """One bone's motion from the CT to the radiographs, and how far it is to be believed.

    Attributes:
        world_from_ct: (4, 4) rigid, RAS mm of the CT to those of the radiographs' cameras.
        correlation: of the pictures' gradients around the bone.
        seen: share of the bone's shadow within the pictures, mean of the views.
        repeat_mm: mean distance of its points to where they end from another start.
        moved_mm, moved_deg: against the body as a whole.
        reason: why it is not believed; empty if it is.
    """

    bone: str
    world_from_ct: NDArray[np.float64]
    correlation: float
    seen: float
    repeat_mm: float
    moved_mm: float
    moved_deg: float
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for case.json."""
        return {key: value for key, value in vars(self).items() if key != "bone"} | {
            "world_from_ct": self.world_from_ct.tolist()
        }


@dataclass(frozen=True)
class _Part:
    """One bone: what it adds to soft tissue in its place, cut out of the CT."""

    excess: NDArray[np.float32]
    grid: Grid
    points_mm: NDArray[np.float64]

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        return np.asarray(self.points_mm.mean(0))

    def picture(self, camera: Camera, motion: NDArray) -> NDArray[np.floating]:
        return line_integrals(self.excess, self.grid, camera.moved(np.linalg.inv(motion)))


def register_bones(
    ct: Volume,
    labels: LabelMap,
    radiographs: Mapping[str, Radiograph],
    *,
    start: NDArray | None = None,
    limits: PoseLimits | None = None,
    seed_name: str = "",
) -> tuple[NDArray[np.float64], dict[str, BonePose]]:
    """(motion of the body, pose of every labelled bone by name).

    Args:
        ct: HU.
        labels: bones, ids of the table, on the CT's grid.
        radiographs: of one moment, by view; bone bright on any grey scale, cameras calibrated.
        start: 4x4 guess of how the body lies in the cameras' frame; default: as in the CT.
        seed_name: of the case, for the second start.
    """
    from boneray.projection.registration import register_motion

    limits = limits or PoseLimits()
    views = [_small(radiograph) for radiograph in radiographs.values()]
    tissue = attenuation_per_mm(ct.data)
    middle = ct.grid.to_world(np.mean([[(s.start + s.stop) / 2 for s in b] for b in bone_boxes(labels).values()], 0))
    body = register_motion(tissue, ct.grid, views, start=start, centre_mm=middle.tolist(), edges=False).matrix
    parts = _taken_out(tissue, labels)
    behind = [line_integrals(tissue, ct.grid, view.camera.moved(np.linalg.inv(body))) for view in views]
    del tissue
    motions = dict.fromkeys(parts, body)
    pictures = {name: [part.picture(v.camera, body) for v in views] for name, part in parts.items()}
    correlations: dict[str, float] = {}

    def found(name: str, first: NDArray) -> tuple[NDArray[np.float64], float]:
        part = parts[name]
        others = [other for other in parts if other != name]
        rest = [behind[n] + sum(pictures[other][n] for other in others) for n in range(len(views))]
        made = register_motion(
            part.excess, part.grid, views, rest=rest, start=first, centre_mm=part.centre_mm.tolist(),
            near_mm=limits.near_mm, factors=FACTORS,
        )  # fmt: skip
        return made.matrix, made.correlation

    for _ in range(limits.sweeps):
        for name in sorted(parts, key=lambda n: -parts[n].excess.sum()):
            try:
                motions[name], correlations[name] = found(name, motions[name])
            except DataError:  # it is not in the pictures; `seen` will say so
                correlations[name] = 0.0
            pictures[name] = [parts[name].picture(v.camera, motions[name]) for v in views]
    poses = {}
    for name, part in parts.items():
        off = _disturbed(motions[name], part.centre_mm, limits, generator(0, "paired", seed_name, name))
        try:
            again = found(name, off)[0]
        except DataError:
            again = off
        pose = _judged(name, part, body, motions[name], again, correlations[name], views, limits)
        poses[name] = pose
    return body, poses


def moved_labels(labels: LabelMap, motions: Mapping[str, NDArray], grid: Grid) -> tuple[LabelMap, float]:
    """The bones where their motions take them, on `grid`, and how much of them overlaps, mm3.

    Bones that have no motion are left out. Where two bones want a voxel the lower id has it: a
    large overlap says that one of the poses is wrong.
    """
    out = np.zeros(grid.shape, np.uint8)
    twice = 0
    for bone_id, box in bone_boxes(labels).items():
        name = bone_name(bone_id)
        if name not in motions:
            continue
        place = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        mask = (labels.data[place] == bone_id).astype(np.uint8)
        mask = np.pad(mask, 1)
        there = resample_labels(LabelMap(mask, _moved(_cut(labels.grid, place, mask.shape, 1), motions[name])), grid)
        twice += int(np.count_nonzero((there.data > 0) & (out > 0)))
        out[(there.data > 0) & (out == 0)] = bone_id
    return LabelMap(out, grid), twice * grid.voxel_volume_mm3


def box_grid(labels: LabelMap, motions: Mapping[str, NDArray]) -> Grid:
    """An isotropic grid along the world's axes that holds the moved bones, as fine as the CT's finest axis."""
    ends = []
    for bone_id, box in bone_boxes(labels).items():
        if bone_name(bone_id) in motions:
            motion = motions[bone_name(bone_id)]
            inside = np.argwhere(labels.data[box] == bone_id) + [s.start for s in box]
            points = labels.grid.to_world(inside) @ motion[:3, :3].T + motion[:3, 3]
            ends += [points.min(0), points.max(0)]
    if not ends:
        raise DataError("none of the bones has a pose")
    spacing = min(labels.grid.spacing_mm)
    low, high = np.min(ends, axis=0) - 3 * spacing, np.max(ends, axis=0) + 3 * spacing
    a, b, c = (int(n) for n in np.ceil((high - low) / spacing) + 1)
    return Grid((a, b, c), (spacing,) * 3, tuple(low.tolist()))


def _small(radiograph: Radiograph) -> Radiograph:
    """The radiograph with at most 256 pixels along an edge."""
    rows, columns = radiograph.camera.detector_shape
    share = min(1.0, PIXELS / max(rows, columns))
    return resized(radiograph, (max(8, round(rows * share)), max(8, round(columns * share))))


def _taken_out(tissue: NDArray[np.float32], labels: LabelMap) -> dict[str, _Part]:
    """Every bone by name, taken out of `tissue`, which is left with soft tissue in its place.

    A bone has the rim of voxels that it fills in part; what it adds there goes with it.
    """
    soft = attenuation_per_mm(np.array([SOFT_TISSUE_HU]))[0]
    parts = {}
    for bone_id, tight in bone_boxes(labels).items():
        box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in tight)
        here = labels.data[box]
        mask = here == bone_id
        wide = mask | (ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & (here == 0))
        excess = np.where(wide, tissue[box] - soft, np.float32(0))
        tissue[box] -= excess
        grid = _cut(labels.grid, box, excess.shape)
        points = grid.to_world(np.argwhere(mask)[:: max(1, int(mask.sum()) // POINTS)])
        parts[bone_name(bone_id)] = _Part(np.ascontiguousarray(excess), grid, points)
    return parts


def _cut(grid: Grid, box: tuple[slice, ...], shape: tuple[int, ...], padding: int = 0) -> Grid:
    """The grid of an array cut out of `grid` at `box` and padded."""
    x, y, z = grid.to_world(np.array([s.start for s in box], dtype=float) - padding).tolist()
    a, b, c = shape
    return Grid((a, b, c), grid.spacing_mm, (x, y, z), grid.direction)


def _moved(grid: Grid, motion: NDArray) -> Grid:
    """The grid carried along by a rigid motion."""
    x, y, z = (motion[:3, :3] @ np.array(grid.origin_mm) + motion[:3, 3]).tolist()
    return Grid(grid.shape, grid.spacing_mm, (x, y, z), tuple((motion[:3, :3] @ grid.direction_matrix).ravel()))


def _disturbed(
    motion: NDArray, centre_mm: NDArray, limits: PoseLimits, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Another start: the bone turned about its centre and shifted, in random directions."""
    axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(np.deg2rad(limits.off_deg) * axis).as_matrix()
    step[:3, 3] = centre_mm - step[:3, :3] @ centre_mm + limits.off_mm * way
    return motion @ step


def _judged(
    name: str,
    part: _Part,
    body: NDArray,
    motion: NDArray,
    again: NDArray,
    correlation: float,
    views: list[Radiograph],
    limits: PoseLimits,
) -> BonePose:
    seen = float(np.mean([_share_seen(part, motion, view.camera) for view in views]))
    here, there, still = (part.points_mm @ m[:3, :3].T + m[:3, 3] for m in (motion, again, body))
    repeat = float(np.linalg.norm(here - there, axis=1).mean())
    moved = float(np.linalg.norm(here - still, axis=1).mean())
    turned = float(np.rad2deg(Rotation.from_matrix(body[:3, :3].T @ motion[:3, :3]).magnitude()))
    reason = ""
    if seen < limits.seen:
        reason = f"{100 * seen:.0f} % of its shadow is in the pictures, {100 * limits.seen:.0f} % needed"
    elif moved > limits.most_mm or turned > limits.most_deg:
        reason = f"it would have moved {moved:.0f} mm and {turned:.0f} degrees against the body"
    elif correlation < limits.correlation:
        reason = f"correlation {correlation:.2f} with the radiographs, {limits.correlation:.2f} needed"
    elif repeat > limits.repeat_mm:
        reason = f"from another start it ends {repeat:.1f} mm away, {limits.repeat_mm:.1f} mm allowed"
    return BonePose(name, motion, correlation, seen, repeat, moved, turned, reason)


def _share_seen(part: _Part, motion: NDArray, camera: Camera) -> float:
    """Share of a bone's shadow that falls on the detector, of what falls on one three times as wide and high."""
    rows, columns = (max(8, n // SHADOW_FACTOR) for n in camera.detector_shape)
    small = camera.resized((rows, columns)).moved(np.linalg.inv(motion))
    row, column = small.principal_point_px
    wide = replace(small, detector_shape=(3 * rows, 3 * columns), principal_point_px=(row + rows, column + columns))
    shadow = line_integrals((part.excess > 0).astype(np.float32), part.grid, wide) > 0
    return float(shadow[rows : 2 * rows, columns : 2 * columns].sum() / max(1, shadow.sum()))
