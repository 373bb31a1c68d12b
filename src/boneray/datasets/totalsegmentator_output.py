"""What the TotalSegmentator program writes: a folder per case with its CT and a mask per structure, or one label map.

Layout: <case>/ct.nii.gz (or <case>.nii.gz beside the folder) with <case>/segmentations/<structure>.nii.gz, masks
directly in <case>/, or <case>/segmentations.nii.gz with the ids of version 2 (--ml). The labels are a model's output,
never a manual reference, and every case says so.
Source: Wasserthal et al. 2023, doi:10.1148/ryai.230024; the program's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from boneray.core.bones import NAMES
from boneray.core.errors import InputError
from boneray.datasets.label_maps import LABEL_MAPS, label_map
from boneray.datasets.miniature import numbered, phantom_scan, shifted, swapped, write_bones, write_ct, write_mask
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, gap_in_sequence, only_flagged
from boneray.datasets.totalsegmentator import mask_names, scan_of
from boneray.io.files import require_folder

CITATION = "Wasserthal et al. 2023, doi:10.1148/ryai.230024"
BONES = LABEL_MAPS["totalsegmentator"]
RULES = (
    *COMMON,
    *only_flagged(
        (Rule("gap", "a model may lose a vertebra", gap_in_sequence, anatomies=("spine", "vertebra", "all")),)
    ),
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every case below `root`, sorted."""
    require_folder(root, "TotalSegmentator output folder")
    found = 0
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        ct = folder / "ct.nii.gz" if (folder / "ct.nii.gz").is_file() else root / f"{folder.name}.nii.gz"
        whole = folder / "segmentations.nii.gz"
        if whole.is_file():
            bones = label_map(names) if names else BONES
            yield Pair(folder.name, folder.name, ct, whole, bones, labels_from="model")
        else:
            masks = folder / "segmentations" if (folder / "segmentations").is_dir() else folder
            if not any((masks / f"{stem}.nii.gz").is_file() for name in NAMES for stem in mask_names(name)):
                continue
            pair = scan_of(folder, {})
            parts = {
                name: tuple(f for f in (masks / f"{stem}.nii.gz" for stem in mask_names(name)) if f.is_file())
                for name in NAMES
            }
            parts = {name: files for name, files in parts.items() if files}
            yield replace(pair, ct=ct, labels=masks, parts=parts, labels_from="model")
        found += 1
    if not found:
        raise InputError(f"{root} holds no <case>/segmentations; give the folder that holds the case folders")


def write_miniature(root: Path) -> None:
    """Three cases, one in each form of output."""
    for n, name in enumerate(("masks", "flat", "whole")):
        ct, labels = phantom_scan("pelvis", n, 32)
        write_ct(root / f"{name}.nii.gz" if name == "flat" else root / name / "ct.nii.gz", ct, "LAS")
        if name == "whole":
            write_bones(root / name / "segmentations.nii.gz", numbered(labels, BONES), "LAS")
            continue
        for bone in ("sacrum", "hip_left", "hip_right"):
            folder = root / name / "segmentations" if name == "masks" else root / name
            write_mask(folder / f"{bone}.nii.gz", labels, bone, "LAS")


def write_faulty(root: Path) -> dict[str, str]:
    """One case per fault; the rule that must name each."""
    pelvis = phantom_scan("pelvis", 0, 32)
    scans = {
        "sound": (pelvis, ""),
        "sides": (swapped(pelvis, "hip_left", "hip_right"), "label_mixup"),
        "shifted": (shifted(pelvis, 6), "ct_label_mismatch"),
    }
    for name, ((ct, labels), _) in scans.items():
        write_ct(root / name / "ct.nii.gz", ct)
        write_bones(root / name / "segmentations.nii.gz", numbered(labels, BONES))
    write_bones(root / "no_ct" / "segmentations.nii.gz", numbered(pelvis[1], BONES))
    return {name: want for name, (_, want) in scans.items()} | {"no_ct": "missing_ct"}


DATASETS.register("totalsegmentator-output", "what the TotalSegmentator program writes", source=CITATION,
                  licence="unstated")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="unstated",
        citation=CITATION,
        anatomies=("pelvis", "femur", "femora", "ribs", "spine", "vertebra", "all"),
        rules=RULES,
        write_faulty=write_faulty,
    )
)  # fmt: skip
