"""VerSe 2019 (160 CTs) and VerSe 2020 (319 CTs): vertebrae of 355 patients, in the subject-based layout.

Layout: <part>/rawdata/sub-verseNNN/..._ct.nii.gz, <part>/derivatives/sub-verseNNN/..._seg-vert_msk.nii.gz and
..._seg-subreg_ctd.json (centres of the vertebral bodies in voxels), where <part> ends in training, validation or test.
A patient with several scans is sub-verse4NN with `_split-verseNNN` in the file names.
Licence: CC BY-SA 4.0; the `sub-gl` scans of 2020 are marked CC BY-NC-ND here, as redistributors state of their images.
Citation: Sekuboyina et al. 2021, doi:10.1016/j.media.2021.102166; Loeffler et al. 2020, doi:10.1148/ryai.2020190138
(2019, with grades); Liebl, Schinz et al. 2021, doi:10.1038/s41597-021-01060-0 (2020).
Published at osf.io/nqjyw (2019) and osf.io/t98fz (2020).

The grading sheet of 2019 (ryai190138_appendixe1.xlsx or .csv, in the folder) gives shape and grade per level: 0 normal,
1 wedge, 2 biconcave, 3 crush, x foreign material; grades 0 to 3. Ids: 1-7 C, 8-19 T, 20-25 L; sacrum, coccyx and T13
(26-28) are left out, since the table of bones has no T13 and the others are not labelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from boneray.core.bones import VERTEBRAE
from boneray.core.errors import DataError, InputError
from boneray.datasets.label_maps import LABEL_MAPS
from boneray.datasets.miniature import (
    Pairing,
    numbered,
    other_grid,
    phantom_scan,
    shifted,
    spine_levels,
    swapped,
    thick_slices,
    with_metal,
    without,
    write_bones,
    write_ct,
)
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, cut_by_field, gap_in_sequence, graded_foreign
from boneray.io.files import require_folder, write_json, write_text
from boneray.io.nifti import read_grid
from boneray.io.spreadsheet import read_table

CITATION = "Sekuboyina et al. 2021, doi:10.1016/j.media.2021.102166"
BONES = LABEL_MAPS["verse"]
SHAPES = {"0": "normal", "1": "wedge", "2": "biconcave", "3": "crush", "x": "foreign"}
GRADES = {"0": "normal", "1": "mild", "2": "moderate", "3": "severe"}
SHEET = "ryai190138_appendixe1"
PARTS = {"training": "train", "validation": "validation", "test": "test"}

RULES = (
    Rule("foreign_graded", "cement and screws are too few to learn from (XrayTo3D)", graded_foreign, each=True,
         anatomies=("vertebra",)),
    Rule("partial", "half a vertebra is no vertebra to measure", cut_by_field, "flag", each=True,
         anatomies=("vertebra",)),
    Rule("gap", "a vertebra missing inside the column was overlooked", gap_in_sequence),
    *COMMON,
)  # fmt: skip


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every scan below `root`, sorted by name."""
    require_folder(root, "VerSe folder")
    scans = sorted(root.glob("**/rawdata/*/*_ct.nii.gz"))
    if not scans:
        raise InputError(f"{root} holds no rawdata/sub-*/*_ct.nii.gz; unpack the subject-based VerSe archives there")
    grades = gradings(root)
    for ct in scans:
        yield _scan(ct, grades)


def _scan(ct: Path, grades: dict[str, dict[str, dict[str, Any]]]) -> Pair:
    subject = ct.parent.name
    stem = ct.name.removesuffix("_ct.nii.gz")
    folder = ct.parents[2] / "derivatives" / subject
    centres = folder / f"{stem}_seg-subreg_ctd.json"
    number = re.search(r"split-verse(\d+)", stem) or re.search(r"verse(\d+)", stem)
    part = owner_part(ct.parents[2].name)
    return Pair(
        stem,
        subject,
        ct,
        folder / f"{stem}_seg-vert_msk.nii.gz",
        BONES,
        groups={"owner_part": part} if part else {},
        bone_groups=grades.get(str(int(number[1])), {}) if number else {},
        centres=partial(body_centres_mm, centres, ct) if centres.is_file() else None,
        labels_from="semi-automatic",
        licence="CC-BY-NC-ND-4.0" if subject.startswith("sub-gl") else "",
    )


def owner_part(folder: str) -> str:
    """train, validation or test, from the end of an archive's name."""
    return next((part for end, part in PARTS.items() if folder.lower().endswith(end)), "")


def owner_split(root: Path) -> dict[str, list[str]]:
    """The challenge's own parts by case id."""
    parts: dict[str, list[str]] = {}
    for pair in cases(root):
        if pair.groups:
            parts.setdefault(pair.groups["owner_part"], []).append(pair.case_id)
    return parts


def body_centres_mm(file: Path, ct: Path) -> dict[str, tuple[float, float, float]]:
    """Annotated centres by bone, RAS mm. The file counts voxels along the directions it names (such as P, I, R).

    Raises:
        InputError, DataError: no such list.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        direction = entries[0]["direction"]
        points = {int(e["label"]): [float(e[k]) for k in "XYZ"] for e in entries[1:] if "label" in e}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"centre file {file} is not a list of directions and points: {error}") from None
    grid = read_grid(ct, "CT")
    have = nib.orientations.io_orientation(grid.world_from_voxel)
    try:
        want = nib.orientations.axcodes2ornt(tuple(direction))
    except ValueError:
        raise DataError(f"centre file {file} names directions {direction}; three of L R A P S I are needed") from None
    change = nib.orientations.ornt_transform(want, have)  # from the file's axes to the image's
    out = {}
    for number, point in points.items():
        index = np.zeros(3)
        for axis, (to, flip) in enumerate(change):
            index[int(to)] = point[axis] if flip > 0 else grid.shape[int(to)] - 1 - point[axis]
        if number in BONES:
            x, y, z = grid.to_world(index)
            out[BONES[number]] = (float(x), float(y), float(z))
    return out


def gradings(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Shape and grade by scan number and bone from the grading sheet; empty without one.

    Cervical vertebrae are not graded and count as normal, as in XrayTo3D.
    """
    sheet = next((f for end in (".xlsx", ".csv") if (f := root / f"{SHEET}{end}").is_file()), None)
    if sheet is None:
        return {}
    rows = read_table(sheet, "grading sheet")
    key = next(iter(rows[0])) if rows else ""
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        number = re.search(r"\d+", row[key])
        if number:
            out[str(int(number[0]))] = {name: _graded(row, name) for name in VERTEBRAE}
    return {scan: {n: g for n, g in bones.items() if g} for scan, bones in out.items()}


def _graded(row: dict[str, str], name: str) -> dict[str, Any]:
    if name[0] == "C":
        return {"shape": "normal", "grade": "normal", "fracture": False}
    shape = SHAPES.get(row.get(f"{name}_fx-s", "").lower().removesuffix(".0"))
    grade = GRADES.get(row.get(f"{name}_fx-g", "").lower().removesuffix(".0"))
    found: dict[str, Any] = {k: v for k, v in (("shape", shape), ("grade", grade)) if v}
    if shape == "foreign":
        found["implant"] = True
    elif found:
        found["fracture"] = grade not in (None, "normal") or shape not in (None, "normal")
    return found


def write_miniature(root: Path) -> None:
    """Two scans of one patient and one of another, stored in three orientations."""
    scans = {
        "verse19training": {
            "sub-verse004": phantom_scan("spine"),
            "sub-verse402_split-verse251": phantom_scan("spine", 1),
        },
        "verse19test": {"sub-verse402_split-verse252": phantom_scan("spine", 2)},
    }  # fmt: skip
    write_parts(root, scans, {4: {"L1": ("1", "2"), "L2": ("0", "0")}, 251: {}, 252: {"T12": ("3", "3")}})


def write_faulty(root: Path) -> dict[str, str]:
    """One scan per fault; the rule that must name each."""
    spine = phantom_scan("spine")
    scans = {
        "sub-verse100": (spine, ""),
        "sub-verse101": (spine, "foreign_graded L3"),
        "sub-verse102": (without(spine, "L2"), "gap"),
        "sub-verse103": (swapped(spine, "T12", "L1"), "label_mixup"),
        "sub-verse104": (thick_slices(spine), "flag anisotropic"),
        "sub-verse105": (with_metal(spine, "L4"), "flag foreign_material"),
        "sub-verse106": (shifted(spine), "ct_label_mismatch"),
        "sub-verse107": (other_grid(spine), "ct_label_mismatch"),
    }
    write_parts(root, {"verse19validation": {n: s for n, (s, _) in scans.items()}}, {101: {"L3": ("x", "")}})
    return {name: want for name, (_, want) in scans.items()}


def write_parts(
    root: Path, parts: dict[str, dict[str, Pairing]], grades: dict[int, dict[str, tuple[str, str]]]
) -> None:
    """Scans by archive and name, and a grading sheet of (shape, grade) by scan number and level."""
    codes = ("PIR", "LAS", "RAS")
    for part, scans in parts.items():
        for n, (name, (ct, labels)) in enumerate(scans.items()):
            subject = name.partition("_")[0]
            raw, derived = (root / f"dataset-{part}" / kind / subject for kind in ("rawdata", "derivatives"))
            write_ct(raw / f"{name}_ct.nii.gz", ct, codes[n % 3])
            write_bones(derived / f"{name}_seg-vert_msk.nii.gz", numbered(labels, BONES), codes[n % 3])
            _write_centres(
                derived / f"{name}_seg-subreg_ctd.json", (ct, labels), raw / f"{name}_ct.nii.gz", codes[n % 3]
            )
    levels = [name for name in VERTEBRAE if name[0] != "C"]
    lines = [",".join(["verse_ID", *(f"{name}_fx-{kind}" for name in levels for kind in "sg")])]
    for number, found in grades.items():
        lines.append(",".join([f"verse{number:03d}", *(v for name in levels for v in found.get(name, ("", "")))]))
    write_text(root / f"{SHEET}.csv", "\n".join(lines) + "\n")


def _write_centres(file: Path, scan: Pairing, ct: Path, codes: str) -> None:
    grid = read_grid(ct, "CT")
    entries: list[dict[str, Any]] = [{"direction": list(codes)}]
    for name in spine_levels(scan[1]):
        inside = np.argwhere(scan[1].data == VERTEBRAE.index(name) + 1)
        x, y, z = grid.to_index(scan[1].grid.to_world(inside.mean(0)))
        entries.append({"label": VERTEBRAE.index(name) + 1, "X": round(x, 3), "Y": round(y, 3), "Z": round(z, 3)})
    write_json(file, entries)


def spec(published: tuple[str, ...], url: str) -> DatasetSpec:
    """The data set of one year."""
    return DatasetSpec(
        cases,
        write_miniature,
        licence="CC-BY-SA-4.0",
        citation=CITATION,
        url=url,
        anatomies=("spine", "vertebra"),
        rules=RULES,
        write_faulty=write_faulty,
        published=published,
        owner_split=owner_split,
    )


VERSE19 = spec(("xrayto3d_vertebra_verse19", "swin-x2s_verse19"), "https://osf.io/nqjyw")
VERSE20 = spec(("xrayto3d_vertebra_verse20",), "https://osf.io/t98fz")
DATASETS.register("verse19", "160 spine CTs with graded fractures", source=CITATION, licence="CC-BY-SA-4.0")(VERSE19)
DATASETS.register("verse20", "319 spine CTs of many scanners", source=CITATION, licence="CC-BY-SA-4.0")(VERSE20)
