"""RSNA 2022 Cervical Spine Fracture Detection: the 87 studies that have vertebra masks.

Layout: segmentations/<StudyInstanceUID>.nii, train_images/<StudyInstanceUID>/<n>.dcm, train.csv (one row per study with
patient_overall and C1..C7: 1 where fractured). Ids: 1-7 C1-C7, 8 and more T1 and below.
Licence: RSNA's terms, non-commercial use with citation. Citation: Lin et al. 2023, doi:10.1148/ryai.230034.
The XrayTo3D benchmark kept 710 vertebrae and rejected 212 that the field of view cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.errors import InputError
from boneray.datasets.dicom_miniature import write_series
from boneray.datasets.label_maps import LABEL_MAPS
from boneray.datasets.miniature import Pairing, numbered, phantom_scan, swapped, without, write_bones
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, WHOLE_BONE, gap_in_sequence
from boneray.io.files import require_folder, write_text
from boneray.io.spreadsheet import read_table

CITATION = "Lin et al. 2023, doi:10.1148/ryai.230034"
LICENCE = "LicenseRef-RSNA-noncommercial"
BONES = LABEL_MAPS["verse"]
RULES = (
    WHOLE_BONE,
    Rule("gap", "a vertebra missing inside the column was overlooked", gap_in_sequence),
    *COMMON,
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every study with masks, sorted by its UID."""
    require_folder(root, "RSNA folder")
    masks = sorted((root / "segmentations").glob("*.nii*"))
    if not masks:
        raise InputError(f"{root} holds no segmentations/<StudyInstanceUID>.nii; unpack the RSNA 2022 archive there")
    fractures = _fractures(root)
    for mask in masks:
        uid = mask.name.removesuffix(".gz").removesuffix(".nii")
        found = fractures.get(uid, {})
        yield Pair(
            uid,
            uid,
            root / "train_images" / uid,
            mask,
            BONES,
            groups={"fracture": any(found.values())} if found else {},
            bone_groups={name: {"fracture": value} for name, value in found.items()},
            labels_from="semi-automatic",
        )


def _fractures(root: Path) -> dict[str, dict[str, bool]]:
    file = root / "train.csv"
    if not file.is_file():
        return {}
    levels = [f"C{n}" for n in range(1, 8)]
    return {
        row["StudyInstanceUID"]: {name: row.get(name) == "1" for name in levels}
        for row in read_table(file, "RSNA train.csv")
    }


def _cervical(scan: Pairing) -> Pairing:
    """The lumbar phantom, numbered as if it were C1..T1, since there is no cervical one."""
    ids = scan[1].ids
    table = np.zeros(256, np.uint8)
    for number, bone_id in enumerate(ids, start=1):
        table[bone_id] = number
    return scan[0], type(scan[1])(table[scan[1].data], scan[1].grid)


def write_miniature(root: Path) -> None:
    """Two studies as DICOM series with masks in NIfTI, and the fracture table."""
    _write(
        root,
        {
            "1.2.826.0.1.1": _cervical(phantom_scan("spine", 0, 32)),
            "1.2.826.0.1.2": _cervical(phantom_scan("spine", 1, 32)),
        },
    )


def write_faulty(root: Path) -> dict[str, str]:
    """One study per fault; the rule that must name each."""
    sound = _cervical(phantom_scan("spine", 0, 32))
    scans = {
        "1.2.826.0.2.1": (sound, ""),
        "1.2.826.0.2.2": (without(sound, "C4"), "gap"),
        "1.2.826.0.2.3": (swapped(sound, "C3", "C4"), "label_mixup"),
    }
    _write(root, {uid: scan for uid, (scan, _) in scans.items()})
    _write(root, {"1.2.826.0.2.4": sound})
    (root / "train_images" / "1.2.826.0.2.4" / "12.dcm").unlink()
    write_bones(root / "segmentations" / "1.2.826.0.2.5.nii", numbered(sound[1], BONES))
    wanted: dict[str, Any] = {uid: want for uid, (_, want) in scans.items()}
    return wanted | {"1.2.826.0.2.4": "bad_header", "1.2.826.0.2.5": "missing_ct"}


def _write(root: Path, scans: dict[str, Pairing]) -> None:
    lines = ["StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"]
    for uid, (ct, labels) in scans.items():
        write_series(root / "train_images" / uid, ct, uid)
        write_bones(root / "segmentations" / f"{uid}.nii", numbered(labels, BONES), "LPS")
        lines.append(f"{uid},1,0,1,0,0,0,0,0")
    write_text(root / "train.csv", "\n".join(lines) + "\n")


DATASETS.register("rsna-cervical", "87 cervical CTs with masks and fractures", source=CITATION, licence=LICENCE)(
    DatasetSpec(
        cases,
        write_miniature,
        licence=LICENCE,
        citation=CITATION,
        url="https://www.kaggle.com/competitions/rsna-2022-cervical-spine-fracture-detection",
        anatomies=("vertebra", "spine"),
        rules=RULES,
        write_faulty=write_faulty,
        published=("xrayto3d_vertebra_rsna",),
    )
)
