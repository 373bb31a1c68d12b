"""Facts first: what all metrics of a case share, found once for all bones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from boneray.core.volume import LabelMap, require_same_grid
from boneray.metrics.counts import ClassCounts, PackedLabels, class_counts, packed
from boneray.metrics.distances import DirectedDistances, SurfaceDistances, surface_distances
from boneray.metrics.surfels import Surfels, surfels

REFERENCE, PREDICTION = 0, 1
NO_SURFACE = DirectedDistances(np.zeros(0), np.zeros(0), 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """Both label arrays of one case and what is known of all their classes.

    Attributes:
        labels: reference and prediction, (i, j, k) each.
        packed: the same as rows of words.
        spacing_mm: voxel edges along i, j, k.
        counts: voxels, boxes, centroids and confusion of all classes.
    """

    labels: tuple[NDArray, NDArray] = field(repr=False)
    packed: tuple[PackedLabels, PackedLabels] = field(repr=False)
    spacing_mm: tuple[float, float, float]
    counts: ClassCounts

    @cached_property
    def surfels(self) -> tuple[Surfels, Surfels]:
        """Surface elements of all bones of the reference and of the prediction; found when first asked for."""
        first, second = self.packed
        return surfels(first, self.counts, REFERENCE), surfels(second, self.counts, PREDICTION)

    @cached_property
    def surfaces(self) -> list[SurfaceDistances]:
        """Distances between the surfaces of every class, by rank; found for all when first asked for."""
        return surface_distances(*self.surfels, self.spacing_mm)


@dataclass(frozen=True, eq=False)
class PairFacts:
    """One bone in the reference and in the prediction, on one grid.

    Attributes:
        bone_id: label of the bone in both.
        case: the facts of the whole case, for metrics that look at the other bones as well.
        n_reference, n_prediction, n_both: voxels of the bone in each and in both.
    """

    bone_id: int
    case: CaseFacts = field(repr=False)
    n_reference: int
    n_prediction: int
    n_both: int

    @property
    def status(self) -> str:
        """present, missed (reference only), spurious (prediction only) or absent."""
        if self.n_reference and self.n_prediction:
            return "present"
        if self.n_reference:
            return "missed"
        return "spurious" if self.n_prediction else "absent"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edges along i, j, k."""
        return self.case.spacing_mm

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    @cached_property
    def reference(self) -> NDArray[np.bool_]:
        """Mask of the bone in the reference, cropped to the box that holds both, (i, j, k)."""
        return self._mask(REFERENCE)

    @cached_property
    def prediction(self) -> NDArray[np.bool_]:
        """Mask of the bone in the prediction, cropped to the box that holds both, (i, j, k)."""
        return self._mask(PREDICTION)

    @cached_property
    def surface(self) -> SurfaceDistances:
        """Distances between the two surfaces."""
        rank = self.case.counts.rank(self.bone_id)
        return self.case.surfaces[rank] if rank is not None else SurfaceDistances(NO_SURFACE, NO_SURFACE)

    def _mask(self, side: int) -> NDArray[np.bool_]:
        rank = self.case.counts.rank(self.bone_id)
        if rank is None:
            return np.zeros((0, 0, 0), dtype=bool)
        boxes = self.case.counts.boxes[:, rank]
        first, last = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
        return np.asarray(self.case.labels[side][box] == self.bone_id)


def mask_facts(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> PairFacts:
    """The facts of one pair of masks (i, j, k), as bone 1; both may be empty."""
    return _pair(_case(np.asarray(reference, dtype=bool), np.asarray(prediction, dtype=bool), spacing_mm), 1)


def case_facts(reference: LabelMap, prediction: LabelMap) -> dict[int, PairFacts]:
    """The facts of every bone that occurs in the reference or the prediction, by ascending id.

    All classes are counted in one pass over the voxels; background (0) is never a class.

    Raises:
        GeometryError: the maps lie on different grids.
        DataError: a label is negative or above 65535.
    """
    require_same_grid(reference.grid, prediction.grid, "reference", "prediction")
    case = _case(reference.data, prediction.data, reference.grid.spacing_mm)
    return {bone_id: _pair(case, bone_id) for bone_id in case.counts.ids.tolist() if bone_id}


def _case(reference: NDArray, prediction: NDArray, spacing_mm: tuple[float, float, float]) -> CaseFacts:
    rows = packed(reference, prediction)
    i, j, k = (float(edge) for edge in spacing_mm)
    return CaseFacts((reference, prediction), rows, (i, j, k), class_counts(*rows))


def _pair(case: CaseFacts, bone_id: int) -> PairFacts:
    rank = case.counts.rank(bone_id)
    if rank is None:
        return PairFacts(bone_id, case, 0, 0, 0)
    n_reference, n_prediction = case.counts.voxels[:, rank].tolist()
    return PairFacts(bone_id, case, n_reference, n_prediction, int(case.counts.confusion[rank, rank]))
