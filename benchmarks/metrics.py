"""The metrics against surface-distance and MONAI, on a body of 40 bones and on one mask."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.clock import compare, report
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.io.nifti import read_labels
from boneray.metrics.facts import case_facts, mask_facts
from boneray.metrics.registry import METRICS

NAMES = ("dice", "hd_mm", "hd95_mm", "assd_mm", "nsd_2.0mm")
Pair = tuple[LabelMap, LabelMap]


def metrics() -> None:
    """Dice, HD, HD95, ASSD and NSD of all bones of a case against surface-distance and MONAI, medians of 5."""
    from boneray.evaluation.cases import evaluate_case

    warnings.filterwarnings("ignore", module="monai|surface_distance")
    name, pair = body()
    grown = peak_growth_mb(lambda: all_bones(pair))
    contestants = {
        "boneray, the same five metrics": lambda: all_bones(pair),
        "boneray, evaluate_case, all its metrics": lambda: evaluate_case("case", *pair),
        **peers_of_all_bones(pair),
    }
    report(f"metrics of {name}", compare(contestants, rounds=5))
    volumes = sum(labels.data.nbytes for labels in pair) / 2**20
    print(f"  peak memory of boneray {grown:.1f} MB above the two volumes of {volumes:.1f} MB")

    masks = tuple(labels.data[:, :, 16:144] > 0 for labels in pair)
    spacing = pair[0].grid.spacing_mm
    contestants = {
        "boneray, the same five metrics": lambda: one_mask(*masks, spacing),
        **peers_of_one_mask(*masks, spacing),
    }
    report(
        f"metrics of all its bones as one mask, {'x'.join(map(str, masks[0].shape))}", compare(contestants, rounds=5)
    )


def body() -> tuple[str, Pair]:
    """A published prediction of 40 bones if BONERAY_TEST_DATA is set, else 24 balls."""
    data = os.environ.get("BONERAY_TEST_DATA")
    if not data:
        return "24 balls (set BONERAY_TEST_DATA for a real body)", (balls(160, shift=0), balls(160, shift=1))
    folder = Path(data) / "allbones_TotalSegmentator_s0308"
    pair = read_labels(folder / "s0308_all_label.nii.gz"), read_labels(folder / "s0308_all_pred_swinx2sbase.nii.gz")
    shape = "x".join(map(str, pair[0].grid.shape))
    common = len(set(pair[0].ids) & set(pair[1].ids))
    return f"{len(pair[0].ids)} bones ({common} in both) on {shape} voxels", pair


def balls(voxels: int, *, shift: int) -> LabelMap:
    """24 balls on a grid of places, shifted by whole voxels."""
    grid = Grid.cube(voxels, 2.0 * voxels)
    index = np.moveaxis(np.mgrid[:voxels, :voxels, :voxels], 0, -1)
    data = np.zeros(grid.shape, np.uint8)
    places = [(x, y, z) for x in (0.2, 0.5, 0.8) for y in (0.25, 0.75) for z in (0.15, 0.4, 0.65, 0.9)]
    for label, place in enumerate(places, start=1):
        data[((index - np.array(place) * voxels - (shift, 0, 0)) ** 2).sum(-1) < (0.09 * voxels) ** 2] = label
    return LabelMap(data, grid)


def all_bones(pair: Pair) -> list[list[float]]:
    """Our five metrics of every bone."""
    wanted = [METRICS.get(name).value for name in NAMES]
    return [[value(facts) for value in wanted] for facts in case_facts(*pair).values()]


def one_mask(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float, float]) -> list[float]:
    """Our five metrics of one pair of masks."""
    facts = mask_facts(reference, prediction, spacing)
    return [METRICS.get(name).value(facts) for name in NAMES]


def peers_of_all_bones(pair: Pair) -> dict[str, Callable[[], object]]:
    """What is installed of the peers; each starts from the label maps, as we do."""
    reference, prediction = pair
    spacing = reference.grid.spacing_mm
    both = sorted(set(reference.ids) & set(prediction.ids))
    classes = max(max(reference.ids), max(prediction.ids)) + 1

    def monai(metrics: int) -> None:
        from monai.networks.utils import one_hot

        a, b = (
            one_hot(torch.from_numpy(labels.data.astype(np.int64))[None, None], classes)
            for labels in (prediction, reference)
        )
        monai_metrics(a, b, spacing, metrics, include_background=False)

    peers: dict[str, Callable[[], object]] = {}
    if surface_distance_is_there():
        peers["surface-distance, five metrics, bones in both"] = lambda: [
            surface_distance_metrics(reference.mask(bone), prediction.mask(bone), spacing) for bone in both
        ]
    peers["MONAI, Dice and HD95 only"] = lambda: monai(2)
    peers["MONAI, Dice, HD95, ASSD, NSD"] = lambda: monai(4)
    return peers


def peers_of_one_mask(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float, float]
) -> dict[str, Callable[[], object]]:
    """The same for one pair of masks."""

    def monai(metrics: int) -> None:
        a, b = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
        monai_metrics(a, b, spacing, metrics, include_background=True)

    peers: dict[str, Callable[[], object]] = {}
    if surface_distance_is_there():
        peers["surface-distance, five metrics"] = lambda: surface_distance_metrics(reference, prediction, spacing)
    peers["MONAI, Dice and HD95 only"] = lambda: monai(2)
    peers["MONAI, Dice, HD95, ASSD, NSD"] = lambda: monai(4)
    return peers


def monai_metrics(
    prediction: torch.Tensor,
    reference: torch.Tensor,
    spacing: tuple[float, float, float],
    metrics: int,
    *,
    include_background: bool,
) -> None:
    """The first two or all four of Dice, HD95, ASSD and NSD of one-hot labels (1, class, i, j, k)."""
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric, SurfaceDistanceMetric

    classes = reference.shape[1] - (not include_background)
    DiceMetric(include_background=include_background)(prediction, reference)
    wanted = [
        HausdorffDistanceMetric(include_background=include_background, percentile=95),
        SurfaceDistanceMetric(include_background=include_background, symmetric=True),
        SurfaceDiceMetric([2.0] * classes, include_background=include_background),
    ]
    for measure in wanted[: metrics - 1]:
        measure(prediction, reference, spacing=spacing)


def surface_distance_is_there() -> bool:
    """Whether the peer is installed; says so where it is not."""
    if importlib.util.find_spec("surface_distance"):
        return True
    print("  surface-distance is not installed and left out; pip install 'boneray[oracles]'")
    return False


def surface_distance_metrics(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float, float]
) -> list[float]:
    """The five metrics of one pair of masks as surface-distance has them."""
    import surface_distance as peer

    found = peer.compute_surface_distances(reference, prediction, spacing)
    there, back = peer.compute_average_surface_distance(found)
    area, other = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
    return [
        peer.compute_dice_coefficient(reference, prediction),
        peer.compute_robust_hausdorff(found, 100),
        peer.compute_robust_hausdorff(found, 95),
        (there * area + back * other) / (area + other),
        peer.compute_surface_dice_at_tolerance(found, 2.0),
    ]


def peak_growth_mb(run: Callable[[], object]) -> float:
    """How far the resident size of this process grows during a run at most (Linux; after one run to warm up)."""
    run()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status_mb("VmRSS")
    run()
    return _status_mb("VmHWM") - before


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
