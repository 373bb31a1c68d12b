"""A pair in memory: CT in HU and bones of the table on one grid, frame checked, facts for the rules.

A scan keeps every bone it may be judged by, also those around the anatomy that is cut out later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import HIPS, VERTEBRAE, bone, bone_name
from boneray.core.errors import BonerayError, DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume, require_same_grid
from boneray.datasets.frame_checks import FrameFindings, centroid, check_frame, flip_second_axis
from boneray.datasets.registry import Pair
from boneray.geometry.boxes import Box, bone_boxes
from boneray.geometry.resample import resample_labels
from boneray.io.dicom_series import read_series
from boneray.io.nifti import read_grid, read_hounsfield, read_labels

AIR_HU, BONE_HU = -1000.0, 300.0
# Bones that tell front from back and left from right where the anatomy's own cannot.
AROUND = {"femur": ("sacrum", *HIPS), "femora": ("sacrum", *HIPS), "ribs": VERTEBRAE[7:20]}


@dataclass(frozen=True)
class Scan:
    """What rules look at and cases are cut from.

    Attributes:
        pair: where it came from.
        ct: HU, RAS order.
        labels: ids of the table of bones, on the CT's grid.
        ids: those in the file, before they were named; empty where masks were joined.
        findings: what the bones say of the header, after a repair.
        repaired: True if the second axis was flipped.
        notes: what was done or assumed.
        source_grid: of the label file (or CT) as it is stored.
        known_boxes: of the bones by id, where they were looked for already.
    """

    pair: Pair
    ct: Volume
    labels: LabelMap
    ids: tuple[int, ...]
    findings: FrameFindings
    repaired: bool
    notes: tuple[str, ...]
    source_grid: Grid
    known_boxes: dict[int, Box] | None = None

    @cached_property
    def boxes(self) -> dict[str, Box]:
        """The tight box of every bone by name."""
        found = bone_boxes(self.labels) if self.known_boxes is None else self.known_boxes
        return {bone_name(i): box for i, box in found.items()}

    @cached_property
    def voxels(self) -> dict[str, int]:
        """Voxel count of every bone by name."""
        return {name: int(np.count_nonzero(self.mask(name))) for name in self.boxes}

    def mask(self, name: str, margin: int = 0) -> NDArray[np.bool_]:
        """Where the bone is, within its box grown by `margin` voxels."""
        return np.asarray(self.labels.data[self.box(name, margin)] == bone(name).bone_id)

    def box(self, name: str, margin: int = 0) -> Box:
        """The bone's box grown by `margin` voxels, kept in the volume."""
        return tuple(
            slice(max(s.start - margin, 0), min(s.stop + margin, n))
            for s, n in zip(self.boxes[name], self.labels.grid.shape, strict=True)
        )

    def present(self, names: tuple[str, ...]) -> list[str]:
        """Those of `names` that occur."""
        return [name for name in names if name in self.boxes]

    def volume_mm3(self, name: str) -> float:
        """Volume of a bone; 0 where it is absent."""
        return self.voxels.get(name, 0) * self.labels.grid.voxel_volume_mm3

    def centre_mm(self, name: str) -> NDArray[np.float64]:
        """Centroid of a bone, RAS mm."""
        return self.labels.grid.to_world(centroid(self.mask(name)) + [s.start for s in self.boxes[name]])

    def top_mm(self, name: str) -> float:
        """Height of a bone's uppermost voxel."""
        inside = np.argwhere(self.mask(name)) + [s.start for s in self.boxes[name]]
        return float(self.labels.grid.to_world(inside)[:, 2].max())


def load_scan(
    pair: Pair,
    *,
    anatomy: str,
    wanted: tuple[str, ...],
    orientation: str = "auto",
    intensity_zero: float | None = None,
    resample: bool = False,
    not_hu: str = "give the grey value of air with --intensity-zero",
) -> Scan:
    """Read a pair.

    Args:
        wanted: bones that are going to be cut out; of separate masks only they and their surroundings are read.
        orientation: `auto` flips a second axis that the bones contradict, `header` trusts it, `flip-j` flips it.
        intensity_zero: grey value of air where the CT is not in HU.
        resample: put labels of another grid onto the CT's.
    Raises:
        InputError, GeometryError, DataError: what makes the pair useless.
    """
    ct = read_series(pair.ct) if pair.ct.is_dir() else read_hounsfield(pair.ct, "CT")
    labels, ids, remarks = _read_labels(pair, (*wanted, *AROUND.get(anatomy, ())))
    notes = list(remarks)
    source_grid = read_grid(_a_label_file(pair), "label map")
    try:
        require_same_grid(ct.grid, labels.grid, f"CT {pair.ct.name}", f"label map {pair.labels.name}")
    except GeometryError as error:
        if not resample:
            raise GeometryError(f"{error}, or give --resample") from None
        labels = resample_labels(labels, ct.grid)
        notes.append("labels resampled onto the CT's grid")
        if not labels.ids:
            raise DataError(f"label map {pair.labels} does not overlap CT {pair.ct}") from None
    if ct.data.dtype.kind == "f" and not np.all(np.isfinite(ct.data)):
        raise DataError(f"CT {pair.ct} holds voxels that are not numbers; repair the file")
    if intensity_zero is not None:
        ct = Volume(hounsfield(ct.data, labels.data > 0, zero=intensity_zero), ct.grid)
        notes.append(f"intensities are not HU: {intensity_zero:g} taken as air, mean labelled bone as {BONE_HU:g} HU")
    elif ct.data.min() >= 0:
        raise DataError(f"CT {pair.ct} has values {ct.data.min():g}..{ct.data.max():g}, which are not HU; {not_hu}")
    boxes = bone_boxes(labels)
    names = {i: bone_name(i) for i in boxes}
    findings = check_frame(labels, names, boxes)
    repaired = orientation == "flip-j" or (orientation == "auto" and findings.mirrored)
    if repaired:
        ct = Volume(flip_second_axis(ct.data, ct.grid), ct.grid)
        labels = LabelMap(flip_second_axis(labels.data, labels.grid), labels.grid)
        boxes = bone_boxes(labels)
        findings = check_frame(labels, names, boxes)
    return Scan(pair, ct, labels, ids, findings, repaired, tuple(notes), source_grid, boxes)


def hounsfield(volume: NDArray, is_bone: NDArray[np.bool_], *, zero: float) -> NDArray[np.float32]:
    """HU-like values of a rescaled CT: `zero` becomes air, the mean where `is_bone` 300 HU."""
    bone_mean = float(np.mean(volume[is_bone])) if is_bone.any() else zero
    if bone_mean <= zero:
        raise DataError(
            f"labelled bone has mean {bone_mean:.0f}, not above the given air value {zero:g}; check --intensity-zero"
        )
    return ((volume - zero) * np.float32((BONE_HU - AIR_HU) / (bone_mean - zero)) + AIR_HU).astype(np.float32)


def annotated_centres_mm(scan: Scan) -> dict[str, tuple[float, float, float]]:
    """Annotated centres of the bones where the data set has them, in the frame of the scan (after a repair)."""
    if scan.pair.centres is None:
        return {}
    centres = scan.pair.centres()
    if not scan.repaired:
        return centres
    grid = scan.labels.grid
    index = {name: grid.to_index(point) for name, point in centres.items()}
    flipped = {name: grid.to_world([i, grid.shape[1] - 1 - j, k]) for name, (i, j, k) in index.items()}
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in flipped.items()}


def label_files(pair: Pair) -> list[Path]:
    """Every file the labels come from."""
    return [file for files in pair.parts.values() for file in files] or [pair.labels]


def _a_label_file(pair: Pair) -> Path:
    return label_files(pair)[0]


def _read_labels(pair: Pair, wanted: tuple[str, ...]) -> tuple[LabelMap, tuple[int, ...], list[str]]:
    if pair.parts:
        return _joined(pair, wanted)
    stored = read_labels(pair.labels, "label map")
    ids = _ids(stored)
    if not ids:
        raise DataError(f"label map {pair.labels} is empty: it holds no bone")
    if pair.naming is not None:
        named, remarks = pair.naming(stored)
        return named, ids, remarks
    if not set(ids) & set(pair.bones):
        raise _no_bone(pair, ids)
    return stored.renumbered(pair.bones), ids, []


def _ids(labels: LabelMap) -> tuple[int, ...]:
    """What `labels.ids` gives, without sorting a hundred million voxels."""
    return tuple(bone_boxes(labels))


def _joined(pair: Pair, wanted: tuple[str, ...]) -> tuple[LabelMap, tuple[int, ...], list[str]]:
    """One label map of separate masks; a voxel of two masks goes to the first in the table of bones."""
    whole: LabelMap | None = None
    doubled = 0
    for name in sorted(set(pair.parts) & set(wanted), key=lambda n: bone(n).bone_id):
        for file in pair.parts[name]:
            part = read_labels(file, f"mask of {name}")
            if whole is None:
                whole = LabelMap(np.zeros(part.data.shape, np.uint8), part.grid)
            require_same_grid(whole.grid, part.grid, f"the masks before {file.name}", f"mask {file.name}")
            mask = part.data > 0
            taken = mask & (whole.data > 0) & (whole.data != bone(name).bone_id)
            doubled += int(np.count_nonzero(taken))
            whole.data[mask & (whole.data == 0)] = bone(name).bone_id
    if whole is None:  # none of the bones wanted has a mask: they are absent
        part = read_labels(_a_label_file(pair), "mask")
        whole = LabelMap(np.zeros(part.data.shape, np.uint8), part.grid)
    return whole, (), [f"{doubled} voxels lay in two masks"] if doubled else []


def _no_bone(pair: Pair, ids: tuple[int, ...]) -> BonerayError:
    few = ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
    return DataError(f"label map {pair.labels} holds no known bone (ids {few}); check --label-map")


def restricted(scan: Scan, names: tuple[str, ...]) -> LabelMap:
    """The label map with only these bones in it."""
    if set(scan.boxes) <= set(names):
        return scan.labels
    table = np.zeros(256, np.uint8)
    for name in names:
        table[bone(name).bone_id] = bone(name).bone_id
    return replace(scan.labels, data=table[scan.labels.data])


def grouping(scan: Scan, target: str) -> dict[str, Any]:
    """What the case is counted under: the patient's groups and, for one bone, its own."""
    own = {"level": level(target)} if target in VERTEBRAE else {}
    return {**scan.pair.groups, **own, **scan.pair.bone_groups.get(target, {})}


def level(name: str) -> str:
    """cervical, thoracic or lumbar."""
    return {"C": "cervical", "T": "thoracic", "L": "lumbar"}[name[0]]
