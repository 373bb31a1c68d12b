"""Shoulder blades of TotalSegmentator: the same scans, masks scapula_left and scapula_right.

Layout, licence and citation as `totalsegmentator`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from boneray.anatomy.scapula import SCAPULAE
from boneray.datasets.miniature import Pairing, shaped_scan, swapped, write_ct, write_mask
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import CONTENT, cut_by_field, sides_swapped
from boneray.datasets.totalsegmentator import CITATION, metadata, owner_split, scan_of
from boneray.io.files import require_folder
from boneray.phantom.primitive import plate, tube

RULES = (
    Rule("label_mixup", "sides must agree with the frame", partial(sides_swapped, pairs=(SCAPULAE,))),
    Rule("partial", "a shoulder blade cut by the field of view", cut_by_field, each=True),
    *CONTENT,
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every scan with a mask of a shoulder blade."""
    require_folder(root, "TotalSegmentator folder")
    groups = metadata(root)
    for folder in sorted(p.parent for p in root.glob("s*/segmentations")):
        pair = scan_of(folder, groups.get(folder.name, {}), SCAPULAE)
        if pair.parts:
            yield pair


def _blades() -> Pairing:
    shapes = {}
    for name, side in zip(SCAPULAE, (-1.0, 1.0), strict=True):
        blade = plate((side * 35, -45, -55), (side * 35, -50, 45), (side * 80, -25, 45), 5.0)
        spine = tube(np.array([(side * 35, -52, 30), (side * 85, -20, 52)], dtype=float), np.full(2, 7.0))
        shapes[name] = [blade, *spine]
    return shaped_scan(shapes)


def _write(root: Path, scans: dict[str, Pairing]) -> None:
    for name, (ct, labels) in scans.items():
        write_ct(root / name / "ct.nii.gz", ct, "LAS")
        for bone in SCAPULAE:
            write_mask(root / name / "segmentations" / f"{bone}.nii.gz", labels, bone, "LAS")


def write_miniature(root: Path) -> None:
    """One scan with two shoulder blades."""
    _write(root, {"s0001": _blades()})


def write_faulty(root: Path) -> dict[str, str]:
    """Blades whose names are swapped."""
    _write(root, {"s0001": _blades(), "s0002": swapped(_blades(), *SCAPULAE)})
    return {"s0001": "", "s0002": "label_mixup"}


DATASETS.register("totalsegmentator-scapula", "shoulder blades of TotalSegmentator", source=CITATION,
                  licence="CC-BY-4.0")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="CC-BY-4.0",
        citation=CITATION,
        anatomies=("scapula",),
        rules=RULES,
        write_faulty=write_faulty,
        owner_split=owner_split,
    )
)  # fmt: skip
