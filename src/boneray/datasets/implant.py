"""Metal implants: <case>_ct.nii.gz beside <case>_implant.nii.gz, a mask.

Source: none, a form to bring one's own data, such as implants drawn in the Clinic-metal scans of CTPelvic1K.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from boneray.anatomy.implant import METAL
from boneray.core.errors import InputError
from boneray.core.volume import LabelMap
from boneray.datasets.miniature import Pairing, shaped_scan, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import not_on_bone
from boneray.io.files import require_folder
from boneray.phantom.primitive import ball, cone

RULES = (Rule("not_metal", "metal is far denser than what surrounds it", partial(not_on_bone, contrast_hu=500.0)),)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every implant mask with its CT."""
    require_folder(root, "folder of implants")
    masks = sorted(root.glob("*_implant.nii.gz"))
    if not masks:
        raise InputError(f"{root} holds no <case>_implant.nii.gz")
    for mask in masks:
        name = mask.name.removesuffix("_implant.nii.gz")
        yield Pair(name, name, root / f"{name}_ct.nii.gz", mask, {1: METAL}, groups={"implant": True})


def _stem(hu: float) -> Pairing:
    return shaped_scan({METAL: [ball((0, 0, 50), 20.0), cone((0, 0, 40), (0, 0, -70), 12.0, 8.0)]}, hu=hu)


def _write(root: Path, scans: dict[str, Pairing]) -> None:
    for name, (ct, labels) in scans.items():
        write_ct(root / f"{name}_ct.nii.gz", ct)
        write_bones(root / f"{name}_implant.nii.gz", LabelMap((labels.data > 0).astype(np.uint8), labels.grid))


def write_miniature(root: Path) -> None:
    """The stem and head of a hip prosthesis."""
    _write(root, {"stem": _stem(3000.0)})


def write_faulty(root: Path) -> dict[str, str]:
    """An implant of bone."""
    _write(root, {"stem": _stem(3000.0), "bone": _stem(300.0)})
    return {"stem": "", "bone": "not_metal"}


DATASETS.register("implant", "CTs with implant masks", source="own data", licence="unstated")(
    DatasetSpec(
        cases, write_miniature, licence="unstated", anatomies=("implant",), rules=RULES, write_faulty=write_faulty
    )
)
