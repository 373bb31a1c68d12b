"""RibSeg v2: ribs of the 660 chest CTs of RibFrac.

Layout: RibFrac's images as ribfrac-<part>-images/RibFrac<N>-image.nii.gz (anywhere below the folder), labels as
RibFrac<N>-rib-seg.nii.gz. RibFrac's folders train, val and test give the owners' parts.
Licence: RibFrac CC BY-NC 4.0. Citation: Jin, Gu et al. 2023, IEEE TMI, doi:10.1109/TMI.2023.3313627.

Labels are binary, or one id per rib. Either way ribs are named here by where they are: each connected region (or id)
goes to the side of the middle plane of all ribs on which it lies, and is numbered from the head down by its uppermost
point, which is near its head at the spine. Fewer than twelve on a side are numbered from 1 on and remarked; specks of
less than a twentieth of the median region are dropped; more than twelve on a side cannot be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from boneray.core.bones import RIBS, bone
from boneray.core.errors import DataError, InputError
from boneray.core.volume import LabelMap
from boneray.datasets.miniature import phantom_scan, shifted, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, fewer_than
from boneray.datasets.scan import Scan
from boneray.io.files import require_folder

CITATION = "Jin, Gu et al. 2023, doi:10.1109/TMI.2023.3313627"
PARTS = {"train": "train", "val": "validation", "test": "test"}
SPECK = 0.05
PER_SIDE = 12


def named_by_place(labels: LabelMap) -> tuple[LabelMap, list[str]]:
    """The 24 ribs by side and order, from a binary mask or from ids of any numbering.

    Raises:
        DataError: more than twelve regions on one side, or only one side.
    """
    remarks: list[str] = []
    if len(labels.ids) == 1:
        regions, count = ndimage.label(labels.data > 0, np.ones((3, 3, 3)))
    else:
        regions, count = labels.data.astype(np.int32), int(labels.data.max())
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    found = [i for i in range(1, count + 1) if sizes[i]]
    specks = [i for i in found if sizes[i] < SPECK * np.median(sizes[found])]
    found = [i for i in found if i not in specks]
    if specks:
        remarks.append(f"{len(specks)} specks dropped ({int(sizes[specks].sum())} voxels)")
    boxes = ndimage.find_objects(regions)
    reach, top = {}, {}
    for i in found:
        inside = np.argwhere(regions[boxes[i - 1]] == i) + [s.start for s in boxes[i - 1]]
        points = labels.grid.to_world(inside)
        reach[i], top[i] = (float(points[:, 0].min()), float(points[:, 0].max())), float(points[:, 2].max())
    middle = (min(low for low, _ in reach.values()) + max(high for _, high in reach.values())) / 2
    if sum(low < middle < high for low, high in reach.values()) > len(found) / 2:
        raise DataError("the ribs do not part into a left and a right side; is one side missing, or is it one region?")
    table = np.zeros(max(count, 1) + 1, np.uint8)
    sides = {
        "left": [i for i in found if sum(reach[i]) < 2 * middle],
        "right": [i for i in found if sum(reach[i]) >= 2 * middle],
    }
    for side, own in sides.items():
        if len(own) > PER_SIDE:
            raise DataError(f"{len(own)} rib regions on the {side} side; twelve can be named, join or remove some")
        if len(own) < PER_SIDE:
            remarks.append(f"{len(own)} ribs on the {side} side, numbered from the uppermost")
        for number, i in enumerate(sorted(own, key=lambda i: -top[i]), start=1):
            table[i] = bone(f"rib_{side}_{number}").bone_id
    return LabelMap(table[regions], labels.grid), remarks


def uncertain_numbers(scan: Scan, bones: tuple[str, ...]) -> str:
    """A side has fewer than twelve ribs, so that their numbers may be off."""
    return "; ".join(note for note in scan.notes if "numbered from the uppermost" in note)


RULES = (
    Rule("incomplete_ribs", "fewer than six ribs say little of a rib cage", partial(fewer_than, names=RIBS, count=6)),
    Rule("uncertain_numbers", "fewer than 24 regions are tolerated (RibSeg v2), but marked", uncertain_numbers, "flag"),
    *COMMON,
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every rib label map below `root` with its image, by number."""
    require_folder(root, "RibSeg folder")
    labels = {int(m[1]): p for p in root.rglob("*-rib-seg.nii.gz") if (m := re.match(r"RibFrac(\d+)-", p.name))}
    images = {int(m[1]): p for p in root.rglob("*-image.nii.gz") if (m := re.match(r"RibFrac(\d+)-", p.name))}
    if not labels:
        raise InputError(f"{root} holds no RibFrac<N>-rib-seg.nii.gz; unpack RibSeg and RibFrac there")
    for number in sorted(labels):
        image = images.get(number, root / f"RibFrac{number}-image.nii.gz")
        part = next((p for word, p in PARTS.items() if f"-{word}-" in f"-{image.parent.name}-"), "")
        yield Pair(
            f"RibFrac{number}",
            f"RibFrac{number}",
            image,
            labels[number],
            dict(enumerate(RIBS, start=1)),
            naming=named_by_place,
            groups={"fracture": True} | ({"owner_part": part} if part else {}),
            labels_from="semi-automatic",
        )


def owner_split(root: Path) -> dict[str, list[str]]:
    """RibFrac's parts by its folders."""
    parts: dict[str, list[str]] = {}
    for pair in cases(root):
        if "owner_part" in pair.groups:
            parts.setdefault(pair.groups["owner_part"], []).append(pair.case_id)
    return parts


def _binary(labels: LabelMap) -> LabelMap:
    return LabelMap((labels.data > 0).astype(np.uint8), labels.grid)


def write_miniature(root: Path) -> None:
    """A binary case and one with ids in another order, in two of RibFrac's folders."""
    for number, part in ((1, "train"), (421, "val")):
        ct, labels = phantom_scan("ribs", number % 3, 96)
        write_ct(root / f"ribfrac-{part}-images" / f"RibFrac{number}-image.nii.gz", ct, "LAS")
        ids = LabelMap(np.where(labels.data > 0, 75 - labels.data, 0).astype(np.uint8), labels.grid)
        stored = _binary(labels) if number == 1 else ids
        write_bones(root / "ribseg" / f"RibFrac{number}-rib-seg.nii.gz", stored, "LAS")


def write_faulty(root: Path) -> dict[str, str]:
    """One scan per fault; the rule that must name each."""
    ct, labels = phantom_scan("ribs", 1, 96)
    lost = np.isin(labels.data, [bone("rib_left_12").bone_id])
    eleven = LabelMap(np.where(lost, 0, labels.data).astype(np.uint8), labels.grid)
    some = [bone(f"rib_{side}_{n}").bone_id for side in ("left", "right") for n in (1, 2)]
    few = LabelMap(np.where(np.isin(labels.data, some), labels.data, 0).astype(np.uint8), labels.grid)
    left = LabelMap(np.where(labels.data <= bone("rib_left_12").bone_id, labels.data, 0).astype(np.uint8), labels.grid)
    cells = np.zeros(labels.data.shape, np.uint8)
    cells[10:16, 10:-10, :] = np.where(np.arange(labels.data.shape[2]) % 6 < 3, 1, 0)
    cells[-16:-10, 10:-10, 10:20] = 1
    scans = {
        1: (ct, labels, ""),
        2: (ct, eleven, "flag uncertain_numbers"),
        3: (ct, few, "incomplete_ribs"),
        4: (*shifted((ct, labels)), "ct_label_mismatch"),
        5: (ct, LabelMap(cells, labels.grid), "bad_content"),
        6: (ct, left, "bad_content"),
    }
    for number, (image, ribs, _) in scans.items():
        write_ct(root / "ribfrac-train-images" / f"RibFrac{number}-image.nii.gz", image)
        write_bones(root / "ribseg" / f"RibFrac{number}-rib-seg.nii.gz", _binary(ribs))
    return {f"RibFrac{number}": want for number, (_, _, want) in scans.items()}


RIBSEG = DatasetSpec(
    cases,
    write_miniature,
    licence="CC-BY-NC-4.0",
    citation=CITATION,
    url="https://github.com/M3DV/RibSeg",
    anatomies=("ribs",),
    rules=RULES,
    write_faulty=write_faulty,
    published=("swin-x2s_ribseg",),
    owner_split=owner_split,
)
DATASETS.register("ribseg", "24 ribs of the 660 chest CTs of RibFrac", source=CITATION, licence="CC-BY-NC-4.0")(RIBSEG)
