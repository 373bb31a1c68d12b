"""New patients from old ones, with geometry that stays true: the body is changed first and projected afterwards.

A draw takes every random number of a change from the run's seed and the case's id; applying it is deterministic. So a
copy can be made again from what its case.json says, and a training sample from its number.

Body: rotation and scale about the middle of the working grid, a shift, and a smooth bend that cannot fold; CT and
labels go through the same warp. Pictures: cameras moved (and stored as they stand), another beam, photons, blur.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.spatial.transform import Rotation

from boneray.core.camera import Camera, jittered
from boneray.core.case import Case
from boneray.core.config import Settings
from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.measurement import Landmark
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.warp import FOLDING, Warp, bent, similarity, warped_labels, warped_volume
from boneray.projection.detector import noisy
from boneray.projection.render import Exposure, expose, render
from boneray.projection.spectrum import Beam

FIELD_MARGIN = 1.5  # of the grid, for the region that bends
DARKEST = 0.5  # photons: what a pixel without any counts as


class Limits(Settings):
    """How far a copy may be from its patient; every number is drawn uniformly unless it says otherwise.

    `rotation_deg` about each world axis, `shift_mm` along each, `scale` as a share of the size,
    `bend_mm` as the most a B-spline coefficient moves with knots every `knot_mm`. `view_deg` and
    `view_shift_mm` move each camera. `kvp` and `filtration_al_mm` are the ranges of the beam; without
    `kvp` pictures are monochromatic. `photons` per pixel (log-uniform) and `blur_px` of the
    detector; without `photons` there is no noise. 0 or null leaves a thing as it is.
    """

    rotation_deg: float = Field(8.0, ge=0, le=45)
    shift_mm: float = Field(6.0, ge=0, le=50)
    scale: float = Field(0.1, ge=0, le=0.5)
    bend_mm: float = Field(4.0, ge=0)
    knot_mm: float = Field(40.0, gt=0)
    view_deg: float = Field(3.0, ge=0, le=45)
    view_shift_mm: float = Field(5.0, ge=0)
    kvp: tuple[float, float] | None = (70.0, 120.0)
    filtration_al_mm: tuple[float, float] = (2.0, 6.0)
    photons: tuple[float, float] | None = (5e4, 5e6)
    blur_px: tuple[float, float] = (0.0, 0.6)

    @model_validator(mode="after")
    def _bend_cannot_fold(self) -> Limits:
        if self.bend_mm * FOLDING >= self.knot_mm:
            raise ValueError(
                f"a bend of {self.bend_mm:g} mm with knots every {self.knot_mm:g} mm may fold the body; keep it below "
                f"{self.knot_mm / FOLDING:.1f} mm"
            )
        for name in ("kvp", "filtration_al_mm", "photons", "blur_px"):
            values = getattr(self, name)
            if values is not None and not 0 <= values[0] <= values[1]:
                raise ValueError(f"{name} {values} must go from the lower to the higher value")
        return self


@dataclass(frozen=True)
class Change:
    """Everything random about one copy, drawn.

    Attributes:
        names: seed, case and number from which it can be drawn again.
        warp: of the body; grid: the working grid it was drawn for.
        scale: of the body, for what is measured in mm.
        beam: None for a monochromatic picture.
        photons: per pixel in the open beam; None for no noise.
    """

    names: tuple[int, str, int]
    limits: Limits
    grid: Grid
    warp: Warp
    scale: float
    beam: Beam | None
    photons: float | None
    blur_px: float

    def generator(self, *purpose: object) -> np.random.Generator:
        """Random numbers of this copy for one purpose."""
        seed, case_id, number = self.names
        return generator(seed, "augmentation", case_id, number, *purpose)

    def camera(self, camera: Camera, view: str) -> Camera:
        """The camera where this copy has it."""
        return jittered(
            camera,
            self.generator("view", view),
            centre_mm=self.grid.centre_mm,
            rotation_deg=self.limits.view_deg,
            shift_mm=self.limits.view_shift_mm,
        )


def drawn(limits: Limits, grid: Grid, *, seed: int, case_id: str, number: int) -> Change:
    """Change `number` of a case; the same arguments give the same numbers everywhere.

    Args:
        grid: the working grid; the body turns about its middle, and bends in and around it.
    """
    names = (seed, case_id, number)
    rng = generator(seed, "augmentation", case_id, number)
    rotation = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3) * limits.rotation_deg, degrees=True).as_matrix()
    shift = rng.uniform(-1, 1, 3) * limits.shift_mm
    scale = float(1 + rng.uniform(-1, 1) * limits.scale)
    warp = similarity(rotation, scale=scale, shift_mm=shift, centre_mm=grid.centre_mm)
    if limits.bend_mm:
        size = FIELD_MARGIN * np.asarray(grid.size_mm)
        x, y, z = (grid.centre_mm - size / 2).tolist()
        region = Grid((2, 2, 2), tuple(size), (x, y, z))
        warp = bent(warp, rng, region=region, knot_mm=limits.knot_mm, most_mm=limits.bend_mm)
    beam = None
    if limits.kvp is not None:
        beam = Beam(float(rng.uniform(*limits.kvp)), float(rng.uniform(*limits.filtration_al_mm)), bins=8)
    photons = None if limits.photons is None else float(np.exp(rng.uniform(*np.log(limits.photons))))
    return Change(names, limits, grid, warp, scale, beam, photons, float(rng.uniform(*limits.blur_px)))


def changed(case: Case, change: Change, *, around: LabelMap | None = None) -> Case:
    """The case after a change: CT and labels warped, then radiographs taken of that CT.

    Landmarks go with the body. True measurements are those of the patient the copy was made from
    and are left out; the measurement of the copy is what its labels give.

    Args:
        around: the bones on a wider grid, so that what enters the working grid at its faces is
            known; without it the outermost voxels go on (see `warped_labels`).
    Raises:
        DataError: a case without CT or labels.
    """
    if case.ct is None or case.labels is None:
        raise DataError(f"case {case.case_id} has no CT or no labels; a changed body cannot be projected")
    seed, original, number = change.names
    ct = warped_volume(case.ct, change.warp)
    cameras = {view: change.camera(r.camera, view) for view, r in case.radiographs.items()}
    wide = around or case.labels
    marks = tuple(
        Landmark(mark.name, tuple(change.warp.new_from_old(mark.point_mm).tolist())) for mark in case.landmarks
    )
    how = {
        "seed": seed,
        "case": original,
        "number": number,
        "limits": change.limits.model_dump(),
        "scale": change.scale,
        "kvp": change.beam.kvp if change.beam else None,
        "photons": change.photons,
        "left_out": ["truth"] if case.truth else [],
    }
    return replace(
        case,
        labels=warped_labels(wide, change.warp, case.labels.grid),
        ct=ct,
        radiographs=dict(zip(cameras, changed_pictures(ct, cameras, change), strict=True)),
        provenance={**case.provenance, "augmented": how},
        truth=(),
        landmarks=marks,
        groups={**case.groups, "copy_of": original},
    )


def changed_body(
    classes: NDArray[np.uint8], grid: Grid, ct: Volume, change: Change
) -> tuple[NDArray[np.uint8], Volume]:
    """Class map and CT of a training case after a change, on their own grids."""
    return warped_labels(LabelMap(classes, grid), change.warp).data, warped_volume(ct, change.warp)


def changed_pictures(ct: Volume, cameras: dict[str, Camera], change: Change) -> list[Radiograph]:
    """Radiographs of a changed CT with the change's beam, photons and blur, in the order of `cameras`."""
    out = []
    for view, camera in cameras.items():
        rng = change.generator("noise", view)
        if change.beam is not None:
            out += expose(ct, [camera], Exposure(change.beam, change.photons, change.blur_px), rng)
            continue
        radiograph = render(ct, camera)
        if change.photons is not None or change.blur_px > 0:
            seen = noisy(np.exp(-radiograph.line_integrals.astype(np.float64)), change.photons, rng, change.blur_px)
            darkest = 1e-6 if change.photons is None else DARKEST / change.photons
            radiograph = Radiograph((-np.log(np.maximum(seen, darkest))).astype(np.float32), camera)
        out.append(radiograph)
    return out


def copies(
    case: Case, count: int, *, seed: int, limits: Limits | None = None, around: LabelMap | None = None
) -> Iterator[Case]:
    """`count` changed copies of a case, named `CASE-copy1` and so on; they share its patient.

    Raises:
        InputError: a negative count; DataError: a case without CT or labels.
    """
    if count < 0:
        raise InputError(f"{count} copies cannot be made; give 0 or more")
    if case.labels is None:
        raise DataError(f"case {case.case_id} has no labels; a changed body cannot be labelled")
    for number in range(1, count + 1):
        change = drawn(limits or Limits(), case.labels.grid, seed=seed, case_id=case.case_id, number=number)
        yield replace(changed(case, change, around=around), case_id=copy_name(case.case_id, number))


def copy_name(case_id: str, number: int) -> str:
    """The id of a copy."""
    return f"{case_id}-copy{number}"


def wider(grid: Grid, limits: Limits) -> Grid:
    """The grid with as many voxels more on every side as a change within the limits can bring in."""
    half = float(np.linalg.norm(grid.size_mm)) / 2
    angle = np.deg2rad(min(np.sqrt(3.0) * limits.rotation_deg, 90.0))
    reach = half * (2 * np.sin(angle / 2) + limits.scale) / (1 - limits.scale)
    reach += np.sqrt(3.0) * (limits.shift_mm + limits.bend_mm) / (1 - limits.scale)
    margin = np.ceil(reach / np.array(grid.spacing_mm)).astype(int)
    x, y, z = grid.to_world(-margin).tolist()
    a, b, c = (int(n) for n in np.array(grid.shape) + 2 * margin)
    return Grid((a, b, c), grid.spacing_mm, (x, y, z), grid.direction)


def with_copies(parts: dict[str, list[str]], copy_of: dict[str, str]) -> dict[str, list[str]]:
    """The parts of a split of originals, every copy beside its original in training.

    Copies of cases that are held out are in no part: what is judged is a patient, not a variation.

    Args:
        copy_of: the original's id by the copy's id.
    """
    trained = set(parts.get("train", ()))
    joined = [case_id for case_id, original in copy_of.items() if original in trained]
    originals = {name: [c for c in cases if c not in copy_of] for name, cases in parts.items()}
    return originals | {"train": sorted([*originals.get("train", ()), *joined])}


def copies_in(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Original by copy, from the descriptions (case.json) of a data set's cases."""
    return {str(row["case_id"]): str(row["groups"]["copy_of"]) for row in rows if row.get("groups", {}).get("copy_of")}
