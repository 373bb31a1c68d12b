"""From a CT and its labels to a case folder: check the frame, crop, resample, render."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boneray.anatomy.registry import Anatomy
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone
from boneray.core.case import Case
from boneray.core.errors import DataError, GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume, require_same_grid
from boneray.datasets.frame_checks import FrameFindings, check_frame, flip_second_axis
from boneray.datasets.registry import Pair
from boneray.datasets.views import check_rendering, standard_radiographs
from boneray.geometry.resample import resample_labels, resample_volume
from boneray.io.case_folder import write_case
from boneray.io.files import json_text, read_json, safe_name
from boneray.io.nifti import read_labels, read_volume

Orientation = Literal["auto", "header", "flip-j"]
AIR_HU = -1000.0
BONE_HU = 300.0
FIELD_MARGIN = 1.3


@dataclass(frozen=True)
class PrepareOptions:
    """How pairs become cases; stored in every case.json.

    Attributes:
        anatomy: what to cut out.
        targets: bones to make one case each of (one-bone anatomies); empty for all there are.
        voxels, size_mm: working grid; None for the anatomy's.
        views, pixels: radiographs to render.
        orientation: `auto` repairs a mirrored second axis when the anatomy says so, `header`
            trusts the file, `flip-j` flips the second axis whatever the anatomy says.
        intensity_zero: grey value of air for a volume that is not in HU; None for HU.
        resample: put labels of another grid onto the CT's instead of refusing them.
        licence: of the source data.
    """

    anatomy: str
    targets: tuple[str, ...] = ()
    voxels: int | None = None
    size_mm: float | None = None
    views: tuple[str, ...] = ()
    pixels: int = 256
    orientation: Orientation = "auto"
    intensity_zero: float | None = None
    resample: bool = False
    licence: str = "unstated"

    def __post_init__(self) -> None:
        find_anatomy(self.anatomy)
        check_rendering(self.views, pixels=self.pixels, voxels=self.voxels)
        if self.size_mm is not None and not 10.0 <= self.size_mm <= 2000.0:
            raise InputError(f"size {self.size_mm} mm of the working grid must lie in 10..2000 mm")
        if self.intensity_zero is not None and not np.isfinite(self.intensity_zero):
            raise InputError(f"intensity zero {self.intensity_zero} must be a finite grey value")


def prepare_pair(pair: Pair, options: PrepareOptions, out: Path) -> list[dict[str, Any]]:
    """Write the case folder(s) of one pair; a folder made from the same input is kept.

    Returns:
        One row per case: case_id, patient_id, status, notes.
    Raises:
        GeometryError: CT and labels on different grids.
        DataError: empty labels, no bone of the anatomy, or intensities that are not HU.
    """
    kind = find_anatomy(options.anatomy)
    safe_name(pair.case_id, "case")
    key = _content_key(pair, options)
    ct, labels, notes = _load(pair, options)
    findings = check_frame(labels, pair.bones)
    ct, labels, repaired = _oriented(ct, labels, findings, options)
    if repaired:
        findings = check_frame(labels, pair.bones)
    notes += _frame_notes(findings, repaired=repaired, options=options)
    labels = _renumbered(labels, pair, kind)
    rows = []
    for target, bones in _targets(labels, kind, options):
        case_id = f"{pair.case_id}-{target}" if kind.one_bone else pair.case_id
        provenance = {
            "source": {"ct": pair.ct.name, "labels": pair.labels.name},
            "prepared": {k: v for k, v in vars(options).items() if k != "licence"},
            "second_axis_flipped": repaired,
            "frame_evidence": list(findings.evidence),
            "notes": notes,
            "key": key,
        }
        if not _made_before(out / case_id, key):
            case = _cut_out(ct, labels, bones, kind, options)
            write_case(
                out / case_id,
                replace(case, case_id=case_id, patient_id=pair.patient_id, target=target, provenance=provenance),
            )
        rows.append({"case_id": case_id, "patient_id": pair.patient_id, "status": "ok", "notes": notes})
    return rows


def hounsfield(volume: NDArray, is_bone: NDArray[np.bool_], *, zero: float) -> NDArray[np.float32]:
    """HU-like values of a rescaled CT: `zero` becomes air, the mean where `is_bone` 300 HU."""
    bone_mean = float(np.mean(volume[is_bone])) if is_bone.any() else zero
    if bone_mean <= zero:
        raise DataError(
            f"labelled bone has mean {bone_mean:.0f}, not above the given air value {zero:g}; check --intensity-zero"
        )
    return ((volume - zero) * np.float32((BONE_HU - AIR_HU) / (bone_mean - zero)) + AIR_HU).astype(np.float32)


def _load(pair: Pair, options: PrepareOptions) -> tuple[Volume, LabelMap, list[str]]:
    ct = read_volume(pair.ct, "CT")
    labels = read_labels(pair.labels, "label map")
    if not labels.ids:
        raise DataError(f"label map {pair.labels} is empty: it holds no bone")
    notes = []
    try:
        require_same_grid(ct.grid, labels.grid, f"CT {pair.ct.name}", f"label map {pair.labels.name}")
    except GeometryError as error:
        if not options.resample:
            raise GeometryError(f"{error}, or give --resample") from None
        labels = resample_labels(labels, ct.grid)
        notes.append("labels resampled onto the CT's grid")
        if not labels.ids:
            raise DataError(f"label map {pair.labels} does not overlap CT {pair.ct}") from None
    if options.intensity_zero is not None:
        is_bone = np.isin(labels.data, list(pair.bones))
        ct = Volume(hounsfield(ct.data, is_bone, zero=options.intensity_zero), ct.grid)
        notes.append(
            f"intensities are not HU: {options.intensity_zero:g} taken as air, mean labelled bone as {BONE_HU:g} HU"
        )
    elif ct.data.min() >= 0:
        raise DataError(
            f"CT {pair.ct} has values {ct.data.min():g}..{ct.data.max():g}, which are not HU; "
            "give the grey value of air with --intensity-zero"
        )
    return ct, labels, notes


def _oriented(
    ct: Volume, labels: LabelMap, findings: FrameFindings, options: PrepareOptions
) -> tuple[Volume, LabelMap, bool]:
    flip = options.orientation == "flip-j" or (options.orientation == "auto" and findings.mirrored)
    if not flip:
        return ct, labels, False
    return (
        Volume(flip_second_axis(ct.data, ct.grid), ct.grid),
        LabelMap(flip_second_axis(labels.data, labels.grid), labels.grid),
        True,
    )


def _frame_notes(findings: FrameFindings, *, repaired: bool, options: PrepareOptions) -> list[str]:
    notes = []
    if repaired and options.orientation == "auto":
        notes.append("frame_implausible: mirrored header (the bones are back to front); second axis flipped")
    elif repaired:
        notes.append("second axis flipped as asked (--orientation flip-j)")
    if findings.mirrored:
        notes.append("frame_implausible: the bones are back to front; use --orientation auto to repair it")
    if findings.forward_mm is None:
        notes.append("no bone here tells front from back; the header is trusted")
    return notes + list(findings.problems)


def _renumbered(labels: LabelMap, pair: Pair, kind: Anatomy) -> LabelMap:
    table = np.zeros(65536, np.uint8)
    for number, name in pair.bones.items():
        if name in kind.bones:
            table[number] = bone(name).bone_id
    out = LabelMap(table[labels.data], labels.grid)
    if not out.ids:
        known = ", ".join(f"{i}={pair.bones[i]}" for i in labels.ids if i in pair.bones) or "no known id"
        raise DataError(
            f"label map {pair.labels} holds no bone of anatomy {kind.name} "
            f"(ids {_few(labels.ids)}: {known}); check --label-map"
        )
    return out


def _targets(labels: LabelMap, kind: Anatomy, options: PrepareOptions) -> list[tuple[str, tuple[str, ...]]]:
    present = [name for name in kind.bones if bone(name).bone_id in labels.ids]
    if not kind.one_bone:
        return [("", tuple(present))]
    wanted = [bone(name).name for name in options.targets] or present
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"target {', '.join(missing)} is not in the labels; there are {', '.join(present)}")
    return [(name, (name,)) for name in wanted]


def _cut_out(ct: Volume, labels: LabelMap, bones: tuple[str, ...], kind: Anatomy, options: PrepareOptions) -> Case:
    """Working grid about the bones, labels on it, the CT around it, radiographs of that CT."""
    ids = [bone(name).bone_id for name in bones]
    keep = LabelMap(np.where(np.isin(labels.data, ids), labels.data, 0).astype(labels.data.dtype), labels.grid)
    inside = np.argwhere(keep.data > 0)
    ends = labels.grid.to_world(np.array([inside.min(0), inside.max(0)]))
    size_mm = kind.grid_size_mm if options.size_mm is None else options.size_mm
    centre = _grid_centre(ends, kind, size_mm)
    grid = Grid.cube(options.voxels or kind.grid_voxels, size_mm, centre)
    field = _field(ct.grid, grid)
    scene = resample_volume(ct, field, fill=AIR_HU)
    scene = Volume(np.clip(np.round(scene.data), -1024, 32767).astype(np.int16), field)
    return Case(
        case_id="",
        patient_id="",
        anatomy=kind.name,
        target="",
        labels=resample_labels(keep, grid),
        ct=scene,
        radiographs=standard_radiographs(scene, grid, options.views or kind.views, pixels=options.pixels),
        licence=options.licence,
    )


def _grid_centre(ends: NDArray[np.float64], kind: Anatomy, size_mm: float) -> NDArray[np.float64]:
    """The middle of the bones; a femur too long for the grid is cut below, so that its head is inside."""
    centre = ends.mean(0)
    if kind.name == "femur" and np.ptp(ends[:, 2]) > 0.95 * size_mm:
        centre[2] = ends[:, 2].max() - 0.45 * size_mm
    return centre


def _field(ct: Grid, grid: Grid) -> Grid:
    """Where the CT is kept: its whole width and depth, and the slices that rays through the grid cross."""
    spacing = np.maximum(np.array(grid.spacing_mm), np.abs(ct.direction_matrix) @ np.array(ct.spacing_mm))
    corners = ct.to_world(np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in ct.shape])).reshape(3, -1).T)
    low, high = corners.min(0), corners.max(0)
    half = FIELD_MARGIN * grid.size_mm[2] / 2
    low[2] = max(low[2], grid.centre_mm[2] - half)
    high[2] = min(high[2], grid.centre_mm[2] + half)
    shape = np.maximum(1, np.round((high - low) / spacing)).astype(int)
    middle = (low + high) / 2
    return Grid(tuple(shape), tuple(spacing), tuple(middle - spacing * (shape - 1) / 2))


def _content_key(pair: Pair, options: PrepareOptions) -> str:
    digest = hashlib.sha256(json_text({"options": vars(options), "bones": pair.bones}).encode())
    for file in (pair.ct, pair.labels):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _made_before(folder: Path, key: str) -> bool:
    file = folder / "case.json"
    return file.is_file() and read_json(file, "case file").get("provenance", {}).get("key") == key


def _few(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
