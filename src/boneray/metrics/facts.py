"""Facts first: what all metrics of one bone share, found once for all bones of a case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.volume import LabelMap, require_same_grid
from boneray.metrics.surfels import SurfaceDistances, surface_distances


@dataclass(frozen=True)
class PairFacts:
    """One bone in the reference and in the prediction, on one grid.

    Attributes:
        bone_id: label of the bone in both.
        spacing_mm: voxel edges along i, j, k.
        n_reference, n_prediction, n_both: voxels of the bone in each and in both.
        reference, prediction: masks cropped to the box that holds both, (i, j, k) bool.
    """

    bone_id: int
    spacing_mm: tuple[float, float, float]
    n_reference: int
    n_prediction: int
    n_both: int
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]

    @property
    def status(self) -> str:
        """present, missed (reference only), spurious (prediction only) or absent."""
        if self.n_reference and self.n_prediction:
            return "present"
        if self.n_reference:
            return "missed"
        return "spurious" if self.n_prediction else "absent"

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    @cached_property
    def surface(self) -> SurfaceDistances:
        """Distances between the two surfaces; computed when first asked for."""
        return surface_distances(self.reference, self.prediction, self.spacing_mm)


def mask_facts(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> PairFacts:
    """The facts of one pair of masks (i, j, k); both may be empty."""
    both = int(np.count_nonzero(reference & prediction))
    return PairFacts(
        1,
        spacing_mm,
        int(np.count_nonzero(reference)),
        int(np.count_nonzero(prediction)),
        both,
        reference.astype(bool),
        prediction.astype(bool),
    )


def case_facts(reference: LabelMap, prediction: LabelMap) -> dict[int, PairFacts]:
    """The facts of every bone that occurs in the reference or the prediction, by ascending id.

    All classes are counted in one pass over the voxels that are bone in either map; background
    (0) is never a class.

    Raises:
        GeometryError: the maps lie on different grids.
    """
    require_same_grid(reference.grid, prediction.grid, "reference", "prediction")
    bone = (reference.data != 0) | (prediction.data != 0)
    if not bone.any():
        return {}
    box = _bounding_box(bone)
    where = np.nonzero(bone[box])
    a, b = reference.data[box][where], prediction.data[box][where]
    ids = np.union1d(np.unique(a), np.unique(b))
    ids = np.concatenate([[0], ids[ids != 0]])
    order = np.argsort(ids)
    a, b = (order[np.searchsorted(ids, v, sorter=order)] for v in (a, b))
    n = len(ids)
    n_reference, n_prediction = np.bincount(a, minlength=n), np.bincount(b, minlength=n)
    n_both = np.bincount(a[a == b], minlength=n)
    ranked_reference, ranked_prediction = (_scattered(v, where, bone[box].shape) for v in (a, b))
    boxes_reference = ndimage.find_objects(ranked_reference, max_label=n - 1)
    boxes_prediction = ndimage.find_objects(ranked_prediction, max_label=n - 1)
    facts = {}
    for rank in range(1, n):
        joint = _joint_box(boxes_reference[rank - 1], boxes_prediction[rank - 1])
        facts[int(ids[rank])] = PairFacts(
            int(ids[rank]),
            reference.grid.spacing_mm,
            int(n_reference[rank]),
            int(n_prediction[rank]),
            int(n_both[rank]),
            ranked_reference[joint] == rank,
            ranked_prediction[joint] == rank,
        )
    return facts


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    spans = [np.flatnonzero(np.any(mask, axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)


def _scattered(ranks: NDArray, where: tuple[NDArray, ...], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Ranks of the ids (0 = background) back in their voxels."""
    out = np.zeros(shape, dtype=np.int32)
    out[where] = ranks
    return out


def _joint_box(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None) -> tuple[slice, ...]:
    boxes = [box for box in (first, second) if box is not None]
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
