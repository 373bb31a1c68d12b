"""TotalSegmentator, versions 1 (1204 CTs, 104 structures) and 2 (1228 CTs, 117 structures), 1.5 mm.

Layout: meta.csv beside s0000/ct.nii.gz and s0000/segmentations/<structure>.nii.gz, one mask per structure.
Licence: CC BY 4.0. Citation: Wasserthal et al. 2023, Radiology: Artificial Intelligence 5(5), doi:10.1148/ryai.230024.
Published at doi:10.5281/zenodo.6802613 (v1) and doi:10.5281/zenodo.10047292 (v2).

Labels were made by iterated learning: a network's proposals, corrected by hand. Known faults: vertebrae and ribs that
are numbered wrongly or mixed up, ribs cut off near the spine. Both have a detector here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from boneray.core.bones import BONES, FEMORA, HIPS, NAMES, RIBS, VERTEBRAE
from boneray.core.errors import InputError
from boneray.datasets.miniature import (
    Pairing,
    cropped_right,
    hollow,
    mirrored,
    phantom_scan,
    scaled,
    shifted,
    shrunk,
    swapped,
    with_metal,
    without,
    write_ct,
    write_mask,
)
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, WHOLE_BONE, angiography, cut_by_field, fewer_than, gap_in_sequence, rib_cut
from boneray.io.files import require_folder, write_text
from boneray.io.spreadsheet import read_table

CITATION = "Wasserthal et al. 2023, doi:10.1148/ryai.230024"
PARTS = {"train": "train", "val": "validation", "test": "test"}
ANATOMIES = ("femur", "femora", "pelvis", "ribs", "spine", "vertebra", "all")

RULES = (
    Rule("angiography", "vessels full of contrast, often a narrow field of view (Swin-X2S)", angiography,
         anatomies=("ribs", "spine")),
    Rule("gap", "a vertebra missing inside the column was mixed up or overlooked (Swin-X2S)", gap_in_sequence,
         anatomies=("spine", "vertebra", "all")),
    Rule("cropped_hip", "a hip bone cut by the field of view (XrayTo3D, there by eye)",
         partial(cut_by_field, names=HIPS), anatomies=("pelvis",)),
    Rule("incomplete_ribs", "fewer than six ribs say little of a rib cage (Swin-X2S)",
         partial(fewer_than, names=RIBS, count=6), anatomies=("ribs",)),
    Rule("rib_cut", "ribs are known to be cut off in this data set", partial(rib_cut, share=0.5), "flag",
         anatomies=("ribs", "all")),
    WHOLE_BONE,
    *COMMON,
)  # fmt: skip


def mask_names(name: str) -> tuple[str, ...]:
    """Files of a bone in `segmentations`, without ending; S1 is a file of its own since version 2."""
    if name == "sacrum":
        return ("sacrum", "vertebrae_S1")
    return (f"vertebrae_{name}" if name in VERTEBRAE else name,)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every s#### below `root`, sorted; groups come from meta.csv where it is there."""
    require_folder(root, "TotalSegmentator folder")
    folders = sorted(p.parent for p in root.glob("s*/segmentations"))
    if not folders:
        raise InputError(f"{root} holds no s####/segmentations; unpack the TotalSegmentator data set there")
    groups = metadata(root)
    for folder in folders:
        yield scan_of(folder, groups.get(folder.name, {}))


def scan_of(folder: Path, groups: dict[str, object], bones: tuple[str, ...] = NAMES) -> Pair:
    """One scan with a mask file per bone."""
    masks = folder / "segmentations"
    parts = {
        name: tuple(f for f in (masks / f"{stem}.nii.gz" for stem in mask_names(name)) if f.is_file()) for name in bones
    }
    return Pair(
        folder.name,
        folder.name,
        folder / "ct.nii.gz",
        masks,
        {},
        parts={name: files for name, files in parts.items() if files},
        groups=groups,
        labels_from="semi-automatic",
    )


def metadata(root: Path) -> dict[str, dict[str, object]]:
    """Age, sex, site, study type and the owners' part of every scan by id."""
    file = root / "meta.csv"
    if not file.is_file():
        return {}
    return {
        row["image_id"]: {
            "age_years": float(row["age"]) if row.get("age", "").replace(".", "", 1).isdecimal() else None,
            "sex": {"m": "male", "f": "female"}.get(row.get("gender", "").lower()[:1]),
            "site": row.get("institute") or None,
            "study_type": row.get("study_type") or None,
            "pathology": row.get("pathology") or None,
            "owner_part": row.get("split") or None,
        }
        for row in read_table(file, "TotalSegmentator meta.csv")
    }


def owner_split(root: Path) -> dict[str, list[str]]:
    """The parts of the `split` column of meta.csv (version 2: 1082 train, 57 validation, 89 test)."""
    parts: dict[str, list[str]] = {}
    for name, row in metadata(root).items():
        part = PARTS.get(str(row["owner_part"]))
        if part:
            parts.setdefault(part, []).append(name)
    return parts


def write_scan(folder: Path, scan: Pairing, bones: tuple[str, ...] = NAMES) -> None:
    """One scan in the owners' layout; some masks of absent bones are there and empty, as all are in the real data."""
    write_ct(folder / "ct.nii.gz", scan[0])
    present = set(scan[1].ids)
    for name in bones:
        if BONES[name].bone_id in present or name in (*FEMORA, *HIPS, "sacrum", "L1", "rib_left_1"):
            write_mask(folder / "segmentations" / f"{mask_names(name)[0]}.nii.gz", scan[1], name)


def write_miniature(root: Path) -> None:
    """Four scans: a pelvis, two femora, a rib cage and a lumbar spine."""
    write_scans(
        root,
        {"s0001": (phantom_scan("pelvis"), "ct pelvis", "train"), "s0002": (phantom_scan("femur"), "ct thigh", "test"),
         "s0003": (phantom_scan("ribs"), "ct thorax", "val"), "s0004": (phantom_scan("spine"), "ct spine", "train")},
    )  # fmt: skip


def write_faulty(root: Path) -> dict[str, str]:
    """One scan per fault; the rule that must name each. Prepared as `pelvis`, `ribs` and `spine` in turn."""
    pelvis, ribs, spine = (phantom_scan(name) for name in ("pelvis", "ribs", "spine"))
    scans = {
        "s0100": (pelvis, "ct pelvis", "train", ""),
        "s0101": (cropped_right(pelvis, "hip_right"), "ct pelvis", "train", "cropped_hip"),
        "s0102": (swapped(pelvis, "hip_left", "hip_right"), "ct pelvis", "train", "label_mixup"),
        "s0103": (mirrored(pelvis), "ct pelvis", "train", "flag mirrored_header"),
        "s0104": (scaled(pelvis, 0.5), "ct pelvis", "train", "wrong_scale"),
        "s0105": (shifted(pelvis), "ct pelvis", "train", "ct_label_mismatch"),
        "s0106": (with_metal(pelvis, "hip_left"), "ct pelvis", "train", "flag foreign_material"),
        "s0107": (hollow(pelvis, "sacrum"), "ct pelvis", "train", "flag holes"),
        "s0108": (without(pelvis, "sacrum", "hip_left", "hip_right"), "ct pelvis", "train", "absent"),
        "s0200": (ribs, "ct thorax", "train", ""),
        "s0201": (without(ribs, *RIBS[:10], *RIBS[12:22]), "ct thorax", "train", "incomplete_ribs"),
        "s0202": (ribs, "ct angiography thorax", "train", "angiography"),
        "s0203": (swapped(ribs, "rib_left_4", "rib_left_7"), "ct thorax", "train", "label_mixup"),
        "s0204": (shrunk(ribs, "rib_right_5", 0.3), "ct thorax", "train", "flag rib_cut"),
        "s0300": (spine, "ct spine", "train", ""),
        "s0301": (without(spine, "L2"), "ct spine", "train", "gap"),
        "s0302": (swapped(spine, "L1", "L2"), "ct spine", "train", "label_mixup"),
        "s0303": (mirrored(spine, axis=2), "ct spine", "train", "upside_down_header"),
        "s0304": (shrunk(spine, "L3", 0.4), "ct spine", "train", "flag label_size"),
    }  # fmt: skip
    write_scans(root, {name: row[:3] for name, row in scans.items()})
    return {name: row[3] for name, row in scans.items()}


def write_scans(root: Path, scans: dict[str, tuple[Pairing, str, str]]) -> None:
    """Scans by id with study type and owners' part, and meta.csv."""
    lines = ["image_id;age;gender;institute;study_type;split"]
    for n, (name, (scan, study, part)) in enumerate(scans.items()):
        write_scan(root / name, scan)
        lines.append(f"{name};{40 + n};{'mf'[n % 2]};{'AB'[n % 2]};{study};{part}")
    write_text(root / "meta.csv", "\n".join(lines) + "\n")


def spec(url: str, published: tuple[str, ...]) -> DatasetSpec:
    """The data set in one of its versions."""
    return DatasetSpec(
        cases,
        write_miniature,
        licence="CC-BY-4.0",
        citation=CITATION,
        url=url,
        anatomies=ANATOMIES,
        rules=RULES,
        write_faulty=write_faulty,
        published=published,
        owner_split=owner_split,
    )


V1 = spec("https://doi.org/10.5281/zenodo.6802613", ("xrayto3d_femur", "xrayto3d_hip", "xrayto3d_rib"))
V2 = spec(
    "https://doi.org/10.5281/zenodo.10047292",
    tuple(f"swin-x2s_totalsegmentator_{name}" for name in ("femur", "pelvic", "spine", "rib", "all")),
)
DATASETS.register(
    "totalsegmentator-v1", "1204 CTs with 104 structures, version 1", source=CITATION, licence="CC-BY-4.0"
)(V1)
DATASETS.register("totalsegmentator", "1228 CTs with 117 structures, version 2", source=CITATION, licence="CC-BY-4.0")(
    V2
)
