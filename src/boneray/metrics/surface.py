"""Distances between two bone surfaces, every one weighted by the area of the surface elements."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from boneray.metrics.facts import PairFacts
from boneray.metrics.registry import metric

TOLERANCE_MM = 2.0
EMPTY = "missed or spurious inf; absent in both NaN"
SOURCE = "Nikolov et al. 2021, doi:10.2196/26151 (area-weighted surface elements)"


@metric("hd_mm", "largest surface distance", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def hausdorff_mm(facts: PairFacts) -> float:
    """Hausdorff distance: the larger of the two directed maxima."""
    return _larger_percentile_mm(facts, 1.0)


@metric("hd95_mm", "95th percentile of the surface distance", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def hausdorff95_mm(facts: PairFacts) -> float:
    """The larger of the two directed 95th percentiles, by area and without interpolation."""
    return _larger_percentile_mm(facts, 0.95)


@metric("assd_mm", "mean surface distance of both directions", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def average_symmetric_mm(facts: PairFacts) -> float:
    """Average symmetric surface distance: both surfaces pooled, each element by its area."""
    d = facts.surface
    area = d.reference_areas_mm2.sum() + d.prediction_areas_mm2.sum()
    if area == 0:
        return math.nan
    moment = d.reference_to_prediction_mm @ d.reference_areas_mm2
    return float((moment + d.prediction_to_reference_mm @ d.prediction_areas_mm2) / area)


@metric(
    "masd_mm",
    "mean of the two directed mean surface distances",
    unit="mm",
    direction="lower",
    empty=EMPTY,
    source=SOURCE,
    reported=False,
)
def mean_average_mm(facts: PairFacts) -> float:
    """Mean of the two directed averages, so that both surfaces count alike whatever their area."""
    d = facts.surface
    means = [
        float(distances @ areas / areas.sum())
        for distances, areas in (
            (d.reference_to_prediction_mm, d.reference_areas_mm2),
            (d.prediction_to_reference_mm, d.prediction_areas_mm2),
        )
        if areas.size
    ]
    return sum(means) / len(means) if means else math.nan


@metric(
    "nsd_2.0mm",
    "share of both surfaces within 2 mm of each other",
    unit="1",
    direction="higher",
    empty="missed or spurious 0; absent in both NaN",
    source=SOURCE,
)
def surface_dice_2mm(facts: PairFacts) -> float:
    """Normalised surface distance (surface Dice) at 2 mm."""
    return surface_dice(facts, tolerance_mm=TOLERANCE_MM)


def surface_dice(facts: PairFacts, *, tolerance_mm: float) -> float:
    """Share of the area of both surfaces that lies within `tolerance_mm` of the other, 0..1."""
    d = facts.surface
    area = d.reference_areas_mm2.sum() + d.prediction_areas_mm2.sum()
    if area == 0:
        return math.nan
    near = d.reference_areas_mm2[d.reference_to_prediction_mm <= tolerance_mm].sum()
    return float((near + d.prediction_areas_mm2[d.prediction_to_reference_mm <= tolerance_mm].sum()) / area)


def voxel_tolerance_mm(spacing_mm: tuple[float, float, float]) -> float:
    """Tolerance that a grid can resolve: 2 mm, or its largest voxel edge rounded up to 0.1 mm.

    Below one voxel the surface Dice measures the grid, not the bone.
    """
    return max(TOLERANCE_MM, math.ceil(round(max(spacing_mm) * 10, 3)) / 10)


def _larger_percentile_mm(facts: PairFacts, share: float) -> float:
    d = facts.surface
    directed = [
        _percentile_mm(distances, areas, share)
        for distances, areas in (
            (d.reference_to_prediction_mm, d.reference_areas_mm2),
            (d.prediction_to_reference_mm, d.prediction_areas_mm2),
        )
        if distances.size
    ]
    return max(directed, default=math.nan)


def _percentile_mm(distances: NDArray[np.float64], areas: NDArray[np.float64], share: float) -> float:
    """The smallest of the ascending distances within which `share` of the area lies."""
    if share >= 1:
        return float(distances[-1])
    covered = np.cumsum(areas)
    return float(distances[min(int(np.searchsorted(covered / covered[-1], share)), distances.size - 1)])
