"""Does the anatomy agree with the header? Mirrored and mis-scaled files are found by looking at bones.

Facts of the upright human body in RAS+ (x grows to the patient's right, y forwards, z up): hip
bones lie in front of the sacrum, vertebral bodies in front of their arches, ribs in front of the
spine, left bones left of right ones, and vertebrae are stacked in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.bones import FEMORA, HIPS, NAMES, RIBS, VERTEBRAE
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.boxes import Box, bone_boxes

# Outer widths in mm between which an adult or adolescent body part is plausible.
PLAUSIBLE_WIDTH_MM = {"both hip bones": (190.0, 400.0), "rib cage": (150.0, 450.0)}
PLAUSIBLE_VERTEBRA_MM = (35.0, 160.0)


@dataclass(frozen=True)
class FrameFindings:
    """What the bones say of the header.

    Attributes:
        forward_mm: by which the sum of evidence points forwards (negative: the second axis is
            flipped); None if no bone can tell.
        evidence: one sentence per fact looked at.
        problems: sentences that start with `frame_implausible` or `scale_implausible`.
    """

    forward_mm: float | None
    evidence: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def mirrored(self) -> bool:
        """True if the bones say that the anterior-posterior axis is stored flipped."""
        return self.forward_mm is not None and self.forward_mm < 0


def check_frame(labels: LabelMap, bones: dict[int, str], boxes: dict[int, Box] | None = None) -> FrameFindings:
    """Judge a label map (ids named by `bones`) by anatomy alone; never by file names.

    `boxes` are those of the bones, where they are known already.
    """
    where = _places(labels, bones, bone_boxes(labels) if boxes is None else boxes)
    votes = [*_pelvis_votes(where), *_vertebra_votes(labels, bones, where), *_rib_votes(where)]
    evidence = [
        f"{text} by {abs(mm):.0f} mm {'in front of' if mm > 0 else 'BEHIND'} {other}" for text, other, mm in votes
    ]
    forward = float(np.sum([mm for _, _, mm in votes])) if votes else None
    return FrameFindings(
        forward, tuple(evidence), (*_side_problems(where), *_order_problems(where), *_scale_problems(where))
    )


def flip_second_axis(data: NDArray, grid: Grid) -> NDArray:
    """The array with its second (A) axis reversed in place: the repair of a mirrored header."""
    assert data.shape == grid.shape
    return np.ascontiguousarray(data[:, ::-1])


def centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean index of the voxels of a mask, (3,)."""
    out = np.empty(3)
    for axis in range(3):
        counts = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        out[axis] = counts @ np.arange(len(counts)) / counts.sum()
    return out


@dataclass(frozen=True)
class _Place:
    centre_mm: NDArray[np.float64]
    low_mm: NDArray[np.float64]
    high_mm: NDArray[np.float64]


def _places(labels: LabelMap, bones: dict[int, str], boxes: dict[int, Box]) -> dict[str, _Place]:
    out = {}
    for number, box in boxes.items():
        if number not in bones:
            continue
        start = np.array([s.start for s in box])
        centre = start + centroid(labels.data[box] == number)
        corners = labels.grid.to_world(np.array([start - 0.5, [s.stop - 0.5 for s in box]]))
        out[bones[number]] = _Place(labels.grid.to_world(centre), corners.min(0), corners.max(0))
    return out


def _pelvis_votes(where: dict[str, _Place]) -> list[tuple[str, str, float]]:
    hips = [where[name] for name in HIPS if name in where]
    if not hips or "sacrum" not in where:
        return []
    return [
        ("hip bones lie", "the sacrum", float(np.mean([h.centre_mm[1] for h in hips]) - where["sacrum"].centre_mm[1]))
    ]


def _vertebra_votes(labels: LabelMap, bones: dict[int, str], where: dict[str, _Place]) -> list[tuple[str, str, float]]:
    """The thickest part of a vertebra is its body; the centroid of the whole lies behind it."""
    numbers = {name: number for number, name in bones.items()}
    offsets = []
    for name in VERTEBRAE[2:]:  # C1 and C2 have no ordinary body
        if name not in where:
            continue
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(*_index_box(labels.grid, where[name]), strict=True))
        mask = np.pad(labels.data[box] == numbers[name], 1)
        thickness = ndimage.distance_transform_edt(mask, labels.grid.spacing_mm)
        core = np.argwhere(thickness >= 0.8 * thickness.max()).mean(0) - 1 + [s.start for s in box]
        offsets.append(float(labels.grid.to_world(core)[1] - where[name].centre_mm[1]))
    if not offsets:
        return []
    return [("vertebral bodies lie", "the vertebral centroids", float(np.mean(offsets)))]


def _index_box(grid: Grid, place: _Place) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ends = grid.to_index(np.array([place.low_mm, place.high_mm]))
    low = np.clip(np.floor(ends.min(0)), 0, None).astype(int)
    return low, np.minimum(np.ceil(ends.max(0)), np.array(grid.shape) - 1).astype(int)


def _rib_votes(where: dict[str, _Place]) -> list[tuple[str, str, float]]:
    ribs = [where[name] for name in RIBS if name in where]
    spine = [where[name] for name in VERTEBRAE if name in where]
    if len(ribs) < 4 or len(spine) < 2:
        return []
    return [
        (
            "ribs lie",
            "the spine",
            float(np.mean([r.centre_mm[1] for r in ribs]) - np.mean([v.centre_mm[1] for v in spine])),
        )
    ]


def _side_problems(where: dict[str, _Place]) -> list[str]:
    pairs = [("hip_left", "hip_right"), FEMORA, *((f"rib_left_{i}", f"rib_right_{i}") for i in range(1, 13))]
    wrong = [
        left
        for left, right in pairs
        if left in where and right in where and where[left].centre_mm[0] > where[right].centre_mm[0]
    ]
    if not wrong:
        return []
    return [
        f"frame_implausible: {', '.join(wrong)} on the patient's right by the header; names or first axis are swapped"
    ]


def _order_problems(where: dict[str, _Place]) -> list[str]:
    heights = [where[name].centre_mm[2] for name in NAMES[:25] if name in where]
    if len(heights) >= 2 and np.all(np.diff(heights) > 0):
        return ["frame_implausible: lower vertebrae lie above upper ones by the header; the third axis is flipped"]
    return []


def _scale_problems(where: dict[str, _Place]) -> list[str]:
    out = []
    groups = {"both hip bones": HIPS, "rib cage": [f"rib_{side}_{i}" for side in ("left", "right") for i in (6, 7, 8)]}
    for what, names in groups.items():
        places = [where[name] for name in names if name in where]
        if len(places) < len(names):
            continue
        width = max(p.high_mm[0] for p in places) - min(p.low_mm[0] for p in places)
        low, high = PLAUSIBLE_WIDTH_MM[what]
        if not low <= width <= high:
            out.append(
                f"scale_implausible: {what} {width:.0f} mm wide, {low:.0f}-{high:.0f} expected; check the spacing"
            )
    sizes = [float(np.linalg.norm(where[n].high_mm - where[n].low_mm)) for n in VERTEBRAE if n in where]
    low, high = PLAUSIBLE_VERTEBRA_MM
    if sizes and not low <= float(np.median(sizes)) <= high:
        out.append(
            f"scale_implausible: vertebrae measure {np.median(sizes):.0f} mm across, {low:.0f}-{high:.0f} expected; "
            "check the spacing"
        )
    return out
