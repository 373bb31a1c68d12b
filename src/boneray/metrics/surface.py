"""Distances between two bone surfaces, every one weighted by the area of the surface elements."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.errors import ConfigError
from boneray.core.registry import Entry
from boneray.metrics.distances import DirectedDistances, nearest_mm
from boneray.metrics.facts import PairFacts
from boneray.metrics.registry import METRICS, Metric, metric

TOLERANCE_MM = 2.0
EMPTY = "missed or spurious inf; absent in both NaN"
SOURCE = "Nikolov et al. 2021, doi:10.2196/26151 (area-weighted surface elements)"


@metric("hd_mm", "largest surface distance", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def hausdorff_mm(facts: PairFacts) -> float:
    """Hausdorff distance: the larger of the two directed maxima."""
    return max(d.largest_mm for d in facts.surface.directed) if facts.surface.area_mm2 else math.nan


@metric("hd95_mm", "95th percentile of the surface distance", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def hausdorff95_mm(facts: PairFacts) -> float:
    """The larger of the two directed 95th percentiles, by area and without interpolation."""
    return max(d.percentile_95_mm for d in facts.surface.directed) if facts.surface.area_mm2 else math.nan


@metric("assd_mm", "mean surface distance of both directions", unit="mm", direction="lower", empty=EMPTY, source=SOURCE)
def average_symmetric_mm(facts: PairFacts) -> float:
    """Average symmetric surface distance: both surfaces pooled, each element by its area."""
    d = facts.surface
    return sum(one.moment_mm3 for one in d.directed) / d.area_mm2 if d.area_mm2 else math.nan


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
    return (reference_to_prediction_mm(facts) + prediction_to_reference_mm(facts)) / 2


@metric(
    "asd_reference_to_prediction_mm",
    "mean distance of the reference surface to the predicted one",
    unit="mm",
    direction="lower",
    empty=EMPTY,
    source=SOURCE + "; one direction, so what is predicted too much costs nothing",
    reported=False,
)
def reference_to_prediction_mm(facts: PairFacts) -> float:
    """Directed mean distance from the reference."""
    return _directed_mean_mm(facts, facts.surface.reference_to_prediction)


@metric(
    "asd_prediction_to_reference_mm",
    "mean distance of the predicted surface to the reference",
    unit="mm",
    direction="lower",
    empty=EMPTY,
    source=SOURCE + "; one direction, so what was not predicted costs nothing",
    reported=False,
)
def prediction_to_reference_mm(facts: PairFacts) -> float:
    """Directed mean distance from the prediction."""
    return _directed_mean_mm(facts, facts.surface.prediction_to_reference)


@metric(
    "hd95_voxel_mm",
    "95th percentile of the distance of boundary voxels, as MONAI defines it",
    unit="mm",
    direction="lower",
    empty=EMPTY,
    source="MONAI 1.6 HausdorffDistanceMetric(percentile=95): voxel centres, unweighted; for published tables only",
    reported=False,
)
def hausdorff95_voxel_mm(facts: PairFacts) -> float:
    """HD95 between boundary voxels, for comparison with tables that used MONAI."""
    return voxel_hausdorff95(*boundary_distances(facts.reference, facts.prediction, facts.spacing_mm))


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
    return sum(one.area_within_mm2(tolerance_mm) for one in d.directed) / d.area_mm2 if d.area_mm2 else math.nan


def surface_dice_metric(tolerance_mm: float) -> Entry[Metric]:
    """The surface Dice at any tolerance, as a metric with the tolerance in its name (`nsd_3.5mm`).

    Raises:
        ConfigError: the tolerance is not a positive number.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm > 0):
        raise ConfigError(f"surface Dice at a tolerance of {tolerance_mm} mm; it must be above 0")
    facts = METRICS.get("nsd_2.0mm").facts
    name = f"nsd_{tolerance_mm:.1f}mm" if round(tolerance_mm, 1) == tolerance_mm else f"nsd_{tolerance_mm:g}mm"
    summary = f"share of both surfaces within {tolerance_mm:g} mm of each other"
    return Entry(name, partial(surface_dice, tolerance_mm=tolerance_mm), summary, dict(facts))


METRICS.family(r"nsd_(\d+(?:\.\d+)?)mm", surface_dice_metric)


def voxel_tolerance_mm(spacing_mm: tuple[float, float, float]) -> float:
    """Tolerance that a grid can resolve: 2 mm, or its largest voxel edge rounded up to 0.1 mm.

    Below one voxel the surface Dice measures the grid, not the bone.
    """
    return max(TOLERANCE_MM, math.ceil(round(max(spacing_mm) * 10, 3)) / 10)


def boundary_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of the boundary voxels of each mask (i, j, k) to those of the other, (n,) and (m,).

    A boundary voxel has a face in common with background or with the outside of the array.
    inf where the other mask is empty; with a spacing of (1, 1, 1) the distances are voxels.
    """
    first, second = (
        np.argwhere(mask & ~ndimage.binary_erosion(mask)).astype(np.int32) for mask in (reference, prediction)
    )
    return nearest_mm(first, second, spacing_mm), nearest_mm(second, first, spacing_mm)


def voxel_hausdorff95(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The larger of the 95th percentiles of two lists of distances, interpolated; NaN for two empty lists."""
    lists = [d for d in (first, second) if d.size]
    if any(np.isinf(d).any() for d in lists):
        return math.inf
    return max((float(np.percentile(d, 95)) for d in lists), default=math.nan)


def _directed_mean_mm(facts: PairFacts, directed: DirectedDistances) -> float:
    if facts.status == "present":
        return directed.moment_mm3 / directed.area_mm2
    return math.nan if facts.status == "absent" else math.inf
