"""DICOM series with NIfTI labels: a folder per case, its label map beside it as <case>.nii.gz or inside it.

Source: none, a form to bring one's own data. Ids are boneray's or those of --label-map (often `totalsegmentator`, for
what that program made of the series). Age and sex are taken from the headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boneray.core.errors import InputError
from boneray.datasets.dicom_miniature import write_series
from boneray.datasets.label_maps import label_map
from boneray.datasets.miniature import phantom_scan, put, write_bones
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, only_flagged
from boneray.io.dicom_series import find_series
from boneray.io.files import require_folder

SEXES = {"M": "male", "F": "female"}


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every folder below `root` that has labels, sorted."""
    require_folder(root, "folder of DICOM series")
    bones = label_map(names or "boneray")
    found = 0
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        inside = sorted(folder.glob("*.nii.gz"))
        labels = inside[0] if inside else root / f"{folder.name}.nii.gz"
        series = find_series(folder)
        if not series and not labels.is_file():
            continue
        found += 1
        first = series[0] if series else None
        groups = {"age_years": first.age_years, "sex": SEXES.get(first.sex)} if first else {}
        patient = (first.patient_id if first else "") or folder.name
        yield Pair(folder.name, patient, folder, labels, bones, groups=groups)
    if not found:
        raise InputError(f"{root} holds no folder with a CT series and <case>.nii.gz")


def write_miniature(root: Path) -> None:
    """One patient with the labels beside the series, one with the labels inside."""
    for n, name in enumerate(("beside", "inside")):
        ct, labels = phantom_scan("pelvis", n, 32)
        write_series(root / name, ct, f"1.2.826.0.4.{n}", patient_id=f"patient-{n}")
        write_bones(root / (f"{name}.nii.gz" if n == 0 else f"{name}/bones.nii.gz"), labels, "LPS")


def write_faulty(root: Path) -> dict[str, str]:
    """A missing slice, a doubled one, a broken one, a series without labels."""
    ct, labels = phantom_scan("pelvis", 0, 32)
    for n, name in enumerate(("a_sound", "b_gap", "c_doubled", "d_broken", "e_unlabelled")):
        write_series(root / name, ct, f"1.2.826.0.5.{n}")
        if name != "e_unlabelled":
            write_bones(root / f"{name}.nii.gz", labels)
    (root / "b_gap" / "20.dcm").unlink()
    put(root / "c_doubled" / "twice.dcm", (root / "c_doubled" / "20.dcm").read_bytes())
    put(root / "d_broken" / "20.dcm", (root / "d_broken" / "20.dcm").read_bytes()[:-500])
    return {"a_sound": "", "b_gap": "bad_header", "c_doubled": "bad_header", "d_broken": "unreadable",
            "e_unlabelled": "missing_labels"}  # fmt: skip


DATASETS.register("dicom-labels", "a DICOM series per folder with a NIfTI label map", source="own data",
                  licence="unstated")(
    DatasetSpec(cases, write_miniature, licence="unstated", rules=only_flagged(COMMON), write_faulty=write_faulty)
)  # fmt: skip
