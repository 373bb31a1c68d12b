"""Livers of TotalSegmentator: the same scans, mask liver. A soft organ goes the way of a bone.

Layout, licence and citation as `totalsegmentator`. It is not asked to be denser than what surrounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boneray.anatomy.liver import ORGAN
from boneray.datasets.miniature import Pairing, shaped_scan, write_ct, write_mask
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import cut_by_field
from boneray.datasets.totalsegmentator import CITATION, metadata, owner_split, scan_of
from boneray.io.files import require_folder
from boneray.phantom.primitive import ellipsoid

RULES = (Rule("partial", "an organ cut by the field of view", cut_by_field),)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every scan with a liver mask."""
    require_folder(root, "TotalSegmentator folder")
    groups = metadata(root)
    for folder in sorted(p.parent for p in root.glob("s*/segmentations")):
        pair = scan_of(folder, groups.get(folder.name, {}), (ORGAN,))
        if pair.parts:
            yield pair


def _liver(shift_mm: float = 0.0) -> Pairing:
    lobes = [
        ellipsoid((30.0, 0.0, shift_mm), (55.0, 45.0, 40.0)),
        ellipsoid((-20.0, 15.0, shift_mm), (40.0, 25.0, 25.0)),
    ]
    return shaped_scan({ORGAN: lobes}, hu=110.0)


def _write(root: Path, scans: dict[str, Pairing]) -> None:
    for name, (ct, labels) in scans.items():
        write_ct(root / name / "ct.nii.gz", ct, "LAS")
        write_mask(root / name / "segmentations" / f"{ORGAN}.nii.gz", labels, ORGAN, "LAS")


def write_miniature(root: Path) -> None:
    """One scan with a liver."""
    _write(root, {"s0001": _liver()})


def write_faulty(root: Path) -> dict[str, str]:
    """A liver whose dome is above the scan."""
    _write(root, {"s0001": _liver(), "s0002": _liver(100.0)})
    return {"s0001": "", "s0002": "partial"}


DATASETS.register("totalsegmentator-liver", "livers of TotalSegmentator", source=CITATION, licence="CC-BY-4.0")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="CC-BY-4.0",
        citation=CITATION,
        anatomies=("liver",),
        rules=RULES,
        write_faulty=write_faulty,
        owner_split=owner_split,
    )
)
