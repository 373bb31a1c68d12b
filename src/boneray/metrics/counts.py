"""The one look at every voxel: counts, boxes, centroids and the confusion of all classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import DataError
from boneray.metrics import kernels

LARGEST_ID = 65535
CAPACITIES = (64, 512, 2048)  # room for classes; where it does not suffice the pass is made again with more


@dataclass(frozen=True, eq=False)
class PackedLabels:
    """A label map as rows of 64-bit words, the label of lowest k in the lowest bits; rows end in background.

    Attributes:
        words: (i, j, words) uint64.
        shape: voxels along i, j, k.
        bits: bits per label, 8 or 16.
    """

    words: NDArray[np.uint64]
    shape: tuple[int, int, int]
    bits: int


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """What is known of every class that occurs in the reference or the prediction.

    Class n of all arrays has the label `ids[n]`; ids ascend, `ids[0]` is the background. The first
    axis of arrays with sides is 0 for the reference, 1 for the prediction.

    Attributes:
        ids: labels, (classes,).
        voxels: (2, classes).
        confusion: voxels by class in the reference and class in the prediction, (classes, classes).
        centroids: mean voxel index (i, j, k), (2, classes, 3); NaN for a
            class that is not there, and for background.
        boxes: first and last voxel index, (2, classes, 2, 3); last < first for a class that is not
            there, and for background.
        word_extents: first and last word of every packed row that is not background, (2, i, j, 2).
    """

    ids: NDArray[np.int64]
    voxels: NDArray[np.int64]
    confusion: NDArray[np.int64]
    centroids: NDArray[np.float64]
    boxes: NDArray[np.int64]
    word_extents: NDArray[np.int32] = field(repr=False)

    def rank(self, bone_id: int) -> int | None:
        """Place of a label in the arrays; None if neither side holds it."""
        return self._ranks.get(bone_id)

    @cached_property
    def _ranks(self) -> dict[int, int]:
        return {label: place for place, label in enumerate(self.ids.tolist())}


def class_counts(reference: PackedLabels, prediction: PackedLabels) -> ClassCounts:
    """Counts of two label maps of one shape, packed alike.

    Raises:
        DataError: thousands of labels, which no label map of bones has.
    """
    for capacity in CAPACITIES:
        ids, sums, joint, extents = kernels.count(reference.words, prediction.words, reference.bits, capacity)
        if len(ids):
            break
    else:
        raise DataError(f"the label maps hold {CAPACITIES[-1]} labels or more; give one label per bone")
    order = np.argsort(ids)
    sums = sums[:, order]
    joint = joint[np.ix_(order, order)]
    joint[0, 0] = int(np.prod(reference.shape)) - joint.sum()
    voxels = np.stack([joint.sum(axis=1), joint.sum(axis=0)])
    with np.errstate(invalid="ignore"):
        centroids = sums[:, :, kernels.SUM_I : kernels.SUM_K + 1] / sums[:, :, kernels.COUNT, None]
    boxes = sums[:, :, kernels.FIRST_I : kernels.LAST_K + 1].reshape(2, len(ids), 2, 3)
    return ClassCounts(ids[order], voxels, joint, centroids, boxes, extents)


def packed(first: NDArray, second: NDArray) -> tuple[PackedLabels, PackedLabels]:
    """Two label arrays (i, j, k) as rows of words, 8 bits per label, or 16 where an id needs it.

    Copied only where type, layout or the length of the rows demand it.

    Raises:
        DataError: an id is negative or above 65535.
    """
    top = 1
    for side, data in (("reference", first), ("prediction", second)):
        if data.dtype.kind == "i" and data.size and data.min() < 0:
            raise DataError(f"{side} holds the label {data.min()}; labels lie in 0..{LARGEST_ID}")
        if data.dtype.itemsize > 1:
            top = max(top, int(data.max(initial=0)))
    if top > LARGEST_ID:
        raise DataError(f"a label map holds the label {top}; labels lie in 0..{LARGEST_ID}")
    kind = np.dtype(np.uint8 if top < 256 else np.uint16).newbyteorder("<")
    return _packed(first, kind), _packed(second, kind)


def _packed(data: NDArray, kind: np.dtype) -> PackedLabels:
    lanes = 8 // kind.itemsize
    short = -data.shape[2] % lanes
    if short:
        padded = np.zeros((*data.shape[:2], data.shape[2] + short), kind)
        padded[:, :, : data.shape[2]] = data
    else:
        padded = np.ascontiguousarray(data.view(np.uint8) if data.dtype == bool else data, dtype=kind)
    i, j, k = data.shape
    return PackedLabels(padded.view("<u8"), (i, j, k), 8 * kind.itemsize)
