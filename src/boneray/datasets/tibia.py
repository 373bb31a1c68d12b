"""Tibiae as TotalSegmentator's task `appendicular_bones` writes them: one mask for both sides.

Layout: <case>/ct.nii.gz with <case>/segmentations/tibia.nii.gz. The sides are told apart in the frame: of two regions
the one further to the patient's left is the left tibia. One region alone has no side and is refused.
Licence: that of the CTs. Source: Wasserthal et al. 2023, doi:10.1148/ryai.230024; the program's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from boneray.anatomy.tibia import TIBIAE
from boneray.core.bones import bone
from boneray.core.errors import DataError, InputError
from boneray.core.volume import LabelMap
from boneray.datasets.miniature import Pairing, shaped_scan, without, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import CONTENT
from boneray.io.files import require_folder
from boneray.phantom.primitive import box, cone

CITATION = "Wasserthal et al. 2023, doi:10.1148/ryai.230024"


def sided(labels: LabelMap) -> tuple[LabelMap, list[str]]:
    """The two largest regions of a mask as left and right tibia, smaller ones dropped.

    Raises:
        DataError: there is only one region.
    """
    regions, count = ndimage.label(labels.data > 0, np.ones((3, 3, 3)))
    if count < 2:
        raise DataError("one tibia alone: its side is not known; label it tibia_left or tibia_right yourself")
    sizes = np.bincount(regions.ravel())[1:]
    found = (np.argsort(-sizes, kind="stable")[:2] + 1).tolist()
    x = [labels.grid.to_world(np.argwhere(regions == i).mean(0))[0] for i in found]
    table = np.zeros(count + 1, np.uint8)
    for i, name in zip([found[n] for n in np.argsort(x)], TIBIAE, strict=True):
        table[i] = bone(name).bone_id
    remarks = [f"{count - 2} smaller regions dropped"] if count > 2 else []
    return LabelMap(table[regions], labels.grid), remarks


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every case with a tibia mask."""
    require_folder(root, "folder of cases")
    masks = sorted(root.glob("*/segmentations/tibia.nii.gz"))
    if not masks:
        raise InputError(f"{root} holds no <case>/segmentations/tibia.nii.gz")
    for mask in masks:
        folder = mask.parents[1]
        bones = {1: TIBIAE[0], 2: TIBIAE[1]}
        yield Pair(folder.name, folder.name, folder / "ct.nii.gz", mask, bones, naming=sided, labels_from="model")


def _knees() -> Pairing:
    shapes = {
        name: [box((x, 0, 70), (34, 24, 12), 6.0), cone((x, 0, 60), (x, 0, -100), 24.0, 12.0).joined(8.0)]
        for name, x in zip(TIBIAE, (-50.0, 50.0), strict=True)
    }
    return shaped_scan(shapes)


def _write(root: Path, scans: dict[str, Pairing]) -> None:
    for name, (ct, labels) in scans.items():
        write_ct(root / name / "ct.nii.gz", ct, "LPS")
        both = LabelMap((labels.data > 0).astype(np.uint8), labels.grid)
        write_bones(root / name / "segmentations" / "tibia.nii.gz", both, "LPS")


def write_miniature(root: Path) -> None:
    """Two knees in one scan."""
    _write(root, {"knees": _knees()})


def write_faulty(root: Path) -> dict[str, str]:
    """A scan with one knee."""
    _write(root, {"knees": _knees(), "one": without(_knees(), TIBIAE[1])})
    return {"knees": "", "one": "bad_content"}


DATASETS.register("tibia", "tibiae of TotalSegmentator's appendicular bones", source=CITATION, licence="unstated")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="unstated",
        citation=CITATION,
        anatomies=("tibia",),
        rules=CONTENT,
        write_faulty=write_faulty,
    )
)
