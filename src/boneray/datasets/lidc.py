"""LIDC-IDRI (1010 patients) with vertebra masks given by the user: the images of TransVert's replication.

Layout: images as LIDC-IDRI-####/<study>/<series>/*.dcm (as TCIA's retriever unpacks them) or LIDC-IDRI-####.nii.gz, and
masks as masks/LIDC-IDRI-####<anything>.nii.gz in VerSe's numbering.
Licence: images CC BY 3.0; masks as their makers state. Citation: Armato et al. 2011, doi:10.1118/1.3528204.
The masks are silver standard: a model made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from boneray.core.errors import InputError
from boneray.datasets.dicom_miniature import write_series
from boneray.datasets.label_maps import LABEL_MAPS, label_map
from boneray.datasets.miniature import numbered, phantom_scan, shifted, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, WHOLE_BONE
from boneray.io.files import require_folder

CITATION = "Armato et al. 2011, doi:10.1118/1.3528204"
BONES = LABEL_MAPS["verse"]
RULES = (WHOLE_BONE, *COMMON)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every mask with its patient's CT; `names` if the masks are not numbered as VerSe's."""
    require_folder(root, "LIDC-IDRI folder")
    masks = sorted((root / "masks").glob("LIDC-IDRI-*.nii.gz"))
    if not masks:
        raise InputError(f"{root} holds no masks/LIDC-IDRI-####.nii.gz; put vertebra masks there")
    for mask in masks:
        name = re.match(r"LIDC-IDRI-\d+", mask.name)
        if name is None:
            continue
        packed = root / f"{name[0]}.nii.gz"
        ct = packed if packed.is_file() else root / name[0]
        yield Pair(name[0], name[0], ct, mask, label_map(names) if names else BONES, labels_from="model")


def write_miniature(root: Path) -> None:
    """One patient as DICOM, one as NIfTI."""
    for n in range(2):
        name = f"LIDC-IDRI-{n + 1:04d}"
        ct, labels = phantom_scan("spine", n, 32)
        if n == 0:
            write_series(root / name / "study" / "series", ct, "1.2.826.0.3.1", patient_id=name)
        else:
            write_ct(root / f"{name}.nii.gz", ct, "LPS")
        write_bones(root / "masks" / f"{name}_vertebrae.nii.gz", numbered(labels, BONES), "LPS")


def write_faulty(root: Path) -> dict[str, str]:
    """One patient per fault; the rule that must name each."""
    spine = phantom_scan("spine", 0, 32)
    for name, (ct, labels) in {"LIDC-IDRI-0001": spine, "LIDC-IDRI-0002": shifted(spine, 6)}.items():
        write_ct(root / f"{name}.nii.gz", ct)
        write_bones(root / "masks" / f"{name}.nii.gz", numbered(labels, BONES))
    write_bones(root / "masks" / "LIDC-IDRI-0003.nii.gz", numbered(spine[1], BONES))
    for series in ("a", "b"):
        write_series(root / "LIDC-IDRI-0004" / series, spine[0], f"1.2.826.0.3.{ord(series)}")
    write_bones(root / "masks" / "LIDC-IDRI-0004.nii.gz", numbered(spine[1], BONES))
    return {
        "LIDC-IDRI-0001": "",
        "LIDC-IDRI-0002": "ct_label_mismatch",
        "LIDC-IDRI-0003": "missing_ct",
        "LIDC-IDRI-0004": "unreadable",
    }


DATASETS.register("lidc", "chest CTs with given vertebra masks", source=CITATION, licence="CC-BY-3.0")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="CC-BY-3.0",
        citation=CITATION,
        url="https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",
        anatomies=("vertebra", "spine"),
        rules=RULES,
        write_faulty=write_faulty,
    )
)
