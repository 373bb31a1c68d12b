"""Why ribs are hard: Dice against thickness in voxels, surface per volume and overlap in the views.

Three things are mixed when ribs score lower than a pelvis. A thin bone loses more Dice for the same error in mm, which
geometry alone decides; a coarse grid makes it thinner still; and in the radiographs other bones lie over it. So every
bone of phantom patients is described by the three, at several resolutions of the same patients, and scored twice: moved
by a known distance (no network, the price of an error of that many mm) and, where a checkpoint is given, as the network
reconstructs it. `python -m boneray.benchmark.rib_study FILE` prints the table.

For a long cylinder of radius R moved across by d the Dice is (2 / pi) (acos(x) - x sqrt(1 - x^2)) with x = d / 2R.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from scipy.spatial import SphericalVoronoi
from skimage.morphology import skeletonize

from boneray.core.bones import bone_name
from boneray.core.camera import Camera
from boneray.core.case import Case
from boneray.core.config import Settings, load_settings
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import phantom_case
from boneray.evaluation.association import LineFit, line_fit
from boneray.projection.joseph import line_integrals
from boneray.reconstruction.reconstruct import Reconstructor

Say = Callable[[str], None]
FACTORS = ("thickness_voxels", "surface_per_volume_mm", "overlap")
WORDS = {
    "thickness_voxels": "thickness (voxels)",
    "surface_per_volume_mm": "surface/volume (1/mm)",
    "overlap": "overlap",
}
DIRECTIONS = tuple(step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0))
AXES = np.vstack([np.eye(3), -np.eye(3)])


class RibStudy(Settings):
    """`voxels`: edges of the working grid, each a resolution of the same patients; `shift_mm`: how far bones are moved.

    `checkpoints`: by anatomy a checkpoint whose reconstructions are scored too, at its own resolution.
    """

    kind: Literal["ribs"] = "ribs"
    anatomies: tuple[str, ...] = ("ribs", "pelvis", "vertebra", "femur")
    voxels: tuple[int, ...] = (48, 64, 96)
    patients: int = Field(4, ge=1)
    seed: int = 0
    pixels: int = 128
    shift_mm: float = Field(2.0, gt=0)
    checkpoints: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class BoneRow:
    """One bone at one resolution.

    Attributes:
        thickness_voxels: median over the bone's centre lines of the width across, in voxel edges.
        surface_per_volume_mm: area over volume, 1/mm; 2 / R for a long cylinder.
        overlap: share of the bone's shadow on which another bone lies, mean over the views.
        dice_moved: mean Dice with itself moved by `shift_mm` along the six axes.
        dice_found: of a reconstruction; None without a checkpoint.
    """

    anatomy: str
    case_id: str
    bone: str
    voxel_mm: float
    thickness_voxels: float
    surface_per_volume_mm: float
    overlap: float
    dice_moved: float
    dice_found: float | None = None


def rib_study(study: RibStudy, *, say: Say = lambda _: None) -> list[BoneRow]:
    """Every bone of every patient at every resolution."""
    rows: list[BoneRow] = []
    for anatomy in study.anatomies:
        checkpoint = Reconstructor.load(study.checkpoints[anatomy]) if anatomy in study.checkpoints else None
        edges = sorted({*study.voxels, *((checkpoint.card.grid_shape[0],) if checkpoint else ())})
        for edge in edges:
            for number in range(study.patients):
                case = phantom_case(anatomy, seed=study.seed, number=number, voxels=edge, pixels=study.pixels)
                found = bone_rows(case, shift_mm=study.shift_mm)
                if checkpoint is not None and edge == checkpoint.card.grid_shape[0]:
                    found = _with_reconstruction(found, case, checkpoint)
                rows += found
            say(f"{anatomy} at {edge} voxels: {len(rows)} bones so far")
    return rows


def bone_rows(case: Case, *, shift_mm: float) -> list[BoneRow]:
    """All bones of a case that do not vanish on its grid."""
    assert case.labels is not None
    labels, cameras = case.labels, [radiograph.camera for radiograph in case.radiographs.values()]
    rows = []
    for number in labels.ids:
        mask = labels.data == number
        rows.append(
            BoneRow(
                case.anatomy,
                case.case_id,
                bone_name(number),
                labels.grid.spacing_mm[0],
                thickness_voxels(mask),
                surface_per_volume_mm(mask, labels.grid.spacing_mm[0]),
                overlap_in_views(labels, number, cameras),
                moved_dice(mask, shift_mm / np.array(labels.grid.spacing_mm)),
            )
        )
    return rows


def thickness_voxels(mask: NDArray[np.bool_]) -> float:
    """Median width across the bone along its centre lines, in voxel edges; the median passes over their ends.

    Twice the distance from a voxel of the centre line to the nearest voxel outside, less the one
    edge by which centres of voxels lie beyond the border.
    """
    padded = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(padded)
    centre = skeletonize(padded) > 0
    if not centre.any():
        centre = padded & (depth == depth.max())
    return float(np.median(2.0 * depth[centre] - 1.0))


def surface_per_volume_mm(mask: NDArray[np.bool_], voxel_mm: float) -> float:
    """Area of the bone's surface over its volume, 1/mm, on cubic voxels.

    By Crofton's formula: the surface in a volume is twice the mean number of times that a line of
    unit length meets it. The lines join neighbours in the 13 directions of a cube, each direction
    with its share of the sphere. A mesh will not do here: it loses what is a voxel or two thick.
    """
    padded = np.pad(mask, 1)
    area = 0.0
    for step, share in zip(DIRECTIONS, shares_of_sphere(), strict=True):
        near = padded[tuple(slice(max(0, -s), min(n, n - s)) for s, n in zip(step, padded.shape, strict=True))]
        far = padded[tuple(slice(max(0, s), min(n, n + s)) for s, n in zip(step, padded.shape, strict=True))]
        area += 2.0 * share * np.count_nonzero(near != far) / float(np.linalg.norm(step))
    return area / np.count_nonzero(mask) / voxel_mm


@cache
def shares_of_sphere() -> tuple[float, ...]:
    """Share of all directions that lie nearest to each of DIRECTIONS, either way round; they add up to 1."""
    ends = np.array([*DIRECTIONS, *(tuple(-s for s in step) for step in DIRECTIONS)], dtype=float)
    ends /= np.linalg.norm(ends, axis=1, keepdims=True)
    areas = SphericalVoronoi(ends).calculate_areas().reshape(2, -1).sum(axis=0) / (4 * np.pi)
    return tuple(float(area) for area in areas)


def overlap_in_views(labels: LabelMap, bone_id: int, cameras: Iterable[Camera]) -> float:
    """Share of the bone's shadow on which another labelled bone lies, mean over the views; 0..1."""
    shares = []
    for camera in cameras:
        own, others = (
            line_integrals(mask.astype(np.float32), labels.grid, camera) > 0
            for mask in (labels.data == bone_id, (labels.data > 0) & (labels.data != bone_id))
        )
        if own.any():
            shares.append(np.count_nonzero(own & others) / np.count_nonzero(own))
    return fmean(shares) if shares else 0.0


def moved_dice(mask: NDArray[np.bool_], shift_voxels: NDArray[np.float64]) -> float:
    """Mean Dice of the bone with itself moved along the six axes.

    Linear interpolation of a mask is the share of each voxel that the moved voxels cover, so the
    overlap is exact for the bone as its voxels are, also for parts of a voxel.
    """
    margin = int(np.ceil(shift_voxels.max())) + 1
    padded = np.pad(mask, margin)
    box = ndimage.find_objects(padded.astype(np.uint8))[0]
    room = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
    bone = padded[room]
    values = []
    for axis in AXES:
        moved = ndimage.shift(bone.astype(np.float64), axis * shift_voxels, order=1)
        values.append(float(moved[bone].sum() / np.count_nonzero(bone)))
    return fmean(values)


def associations(rows: Sequence[BoneRow], outcome: str = "dice_moved") -> dict[str, LineFit]:
    """How each factor goes with the Dice, over all bones and resolutions; intervals resample whole patients."""
    kept = [row for row in rows if getattr(row, outcome) is not None]
    cases = [row.case_id for row in kept]
    return {
        factor: line_fit(np.array([[getattr(row, factor), getattr(row, outcome)] for row in kept]), cases)
        for factor in FACTORS
    }


def table(study: RibStudy, rows: Sequence[BoneRow]) -> str:
    """Medians by anatomy and resolution, then how each factor goes with the Dice."""
    titles = ("anatomy", "voxel (mm)", "bones", *WORDS.values(), f"Dice, moved {study.shift_mm:g} mm", "Dice, network")
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for anatomy, voxel_mm in dict.fromkeys((row.anatomy, row.voxel_mm) for row in rows):
        mine = [row for row in rows if (row.anatomy, row.voxel_mm) == (anatomy, voxel_mm)]
        factors = (f"{median(getattr(row, name) for row in mine):.2f}" for name in FACTORS)
        found = [row.dice_found for row in mine if row.dice_found is not None]
        network = f"{median(found):.3f}" if found else "–"
        moved = f"{median(row.dice_moved for row in mine):.3f}"
        lines.append(f"| {anatomy} | {voxel_mm:.2f} | {len(mine)} | {' | '.join(factors)} | {moved} | {network} |")
    for outcome, words in (("dice_moved", "moved"), ("dice_found", "network")):
        if any(getattr(row, outcome) is not None for row in rows):
            lines += ["", f"Spearman's rho with the Dice ({words}), 95 % interval over patients:"]
            for factor, fit in associations(rows, outcome).items():
                lines.append(f"{WORDS[factor]}: {fit.rho:.2f} ({fit.rho_low:.2f} to {fit.rho_high:.2f}), n = {fit.n}")
    return "\n".join(lines) + "\n"


def _with_reconstruction(rows: Sequence[BoneRow], case: Case, checkpoint: Reconstructor) -> list[BoneRow]:
    assert case.labels is not None
    labels = checkpoint.labels(case.radiographs, target=case.target, centre_mm=case.labels.grid.centre_mm)
    out = []
    for row, number in zip(rows, case.labels.ids, strict=True):
        a, b = case.labels.data == number, labels.data == number
        dice = 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
        out.append(replace(row, dice_found=dice))
    return out


def main(file: Path) -> None:
    """Print the table of a study."""
    study = load_settings(RibStudy, file=file)
    sys.stdout.write(table(study, rib_study(study, say=_say)))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
