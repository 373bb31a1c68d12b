"""CTPelvic1K: pelves of 1106 CTs from seven sources, masks by the owners, most CTs from elsewhere.

Layout: masks anywhere below the folder as `datasetN_<id>_mask_4label.nii.gz` (as the archives unpack), CTs anywhere as
`datasetN_<id>_data.nii.gz`, `<id>.nii.gz`, `<id>/imaging.nii.gz` (KiTS19) or a folder `<id>` with a DICOM series.
N: 1 Abdomen (35), 2 Colonog (714), 3 MSD-T10 (155), 4 KiTS19 (44), 5 Cervix (41), 6 Clinic (103, fractures),
7 Clinic-metal (14, implants). Clinic and Clinic-metal are the shift sets of the XrayTo3D benchmark.
Licence: masks CC BY-NC-SA 4.0; each source of CTs has its own. Published at doi:10.5281/zenodo.4588403.
Citation: Liu et al. 2021, Int J Comput Assist Radiol Surg, doi:10.1007/s11548-021-02363-8.

Ids: 1 sacrum, 2 and 3 the hip bones, 4 lumbar spine (left out). The owners call 2 right and 3 left; where the liver
shows the side, 2 is the patient's LEFT and 3 the RIGHT. So they are named here, and every case is held against the
frame: where they disagree the case is flagged (`side_disagrees`), and the names follow the frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from boneray.core.bones import HIPS, bone
from boneray.core.errors import InputError
from boneray.core.volume import LabelMap
from boneray.datasets.label_maps import LABEL_MAPS
from boneray.datasets.miniature import (
    cropped_right,
    mirrored,
    numbered,
    phantom_scan,
    scaled,
    shifted,
    swapped,
    thick_slices,
    with_metal,
    write_bones,
    write_ct,
)
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, cut_by_field, fewer_than, in_subset
from boneray.datasets.scan import Scan
from boneray.io.files import require_folder

CITATION = "Liu et al. 2021, doi:10.1007/s11548-021-02363-8"
BONES = LABEL_MAPS["ctpelvic1k"]
SUBSETS = {"1": "abdomen", "2": "colonog", "3": "msd-t10", "4": "kits19", "5": "cervix", "6": "clinic",
           "7": "clinic-metal"}  # fmt: skip
SHIFT_SETS = ("clinic", "clinic-metal")
MASK = re.compile(r"dataset([1-7])_(.+)_mask_4label\.nii\.gz")
DISAGREES = "label 2 lies on the patient's right by the frame; names follow the frame"


def named_by_frame(labels: LabelMap) -> tuple[LabelMap, list[str]]:
    """Ids of the table of bones; hips that lie the other way round by the frame change names, with a remark."""
    out = labels.renumbered(BONES).data
    left, right = (np.argwhere(labels.data == number) for number in (2, 3))
    if len(left) and len(right):
        x_left, x_right = (labels.grid.to_world(inside.mean(0))[0] for inside in (left, right))
        if x_left > x_right:
            a, b = (bone(name).bone_id for name in HIPS)
            table = np.arange(256, dtype=np.uint8)
            table[[a, b]] = b, a
            return LabelMap(table[out], labels.grid), [DISAGREES]
    return LabelMap(out, labels.grid), []


def side_disagrees(scan: Scan, bones: tuple[str, ...]) -> str:
    """Labels 2 and 3 lie the other way round than in the cases checked by the liver."""
    return DISAGREES if DISAGREES in scan.notes else ""


def half_turned(scan: Scan, bones: tuple[str, ...]) -> str:
    """Sides and front both contradict the frame: the patient is turned about the body axis, or mirrored twice over."""
    both = DISAGREES in scan.notes and (scan.repaired or scan.findings.mirrored)
    return "sides and front contradict the header together; it is turned by half a turn or mirrored" if both else ""


RULES = (
    Rule("msd_t10", "its thick slices make unrealistic, stepped radiographs (XrayTo3D)",
         partial(in_subset, names=("msd-t10",), what="highly anisotropic")),
    Rule("side_disagrees", "which of labels 2 and 3 is left must be checked in every case", side_disagrees, "flag"),
    Rule("half_turn", "a frame that is wrong in two axes cannot be repaired by flipping one", half_turned),
    Rule("cropped_hip", "many scans of its sources end in the ischium", partial(cut_by_field, names=HIPS), "flag"),
    Rule("incomplete", "both hip bones and the sacrum make a pelvis",
         partial(fewer_than, names=("sacrum", *HIPS), count=3)),
    *COMMON,
)  # fmt: skip


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every mask below `root` with its CT, sorted by data set and id."""
    require_folder(root, "CTPelvic1K folder")
    masks = sorted(p for p in root.rglob("*_mask_4label.nii.gz") if MASK.fullmatch(p.name))
    if not masks:
        raise InputError(f"{root} holds no datasetN_<id>_mask_4label.nii.gz; unpack the CTPelvic1K archives there")
    places = _places(root)
    for mask in masks:
        found = MASK.fullmatch(mask.name)
        assert found
        number, name = found.groups()
        subset = SUBSETS[number]
        yield Pair(
            f"{subset}-{name}",
            name,
            _ct(places, number, name) or mask.with_name(f"dataset{number}_{name}_data.nii.gz"),
            mask,
            BONES,
            naming=named_by_frame,
            groups={
                "subset": subset,
                "site": subset,
                "fracture": True if subset == "clinic" else None,
                "implant": subset == "clinic-metal",
                "shift_set": subset in SHIFT_SETS,
            },
            labels_from="semi-automatic",
        )


def _places(root: Path) -> dict[str, Path]:
    """NIfTI files by name without ending, and folders by name."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.is_dir():
            found.setdefault(path.name + "/", path)
        elif path.name.endswith(".nii.gz") and not path.name.endswith("_mask_4label.nii.gz"):
            found.setdefault(path.name.removesuffix(".nii.gz"), path)
    return found


def _ct(places: dict[str, Path], number: str, name: str) -> Path | None:
    for key in (f"dataset{number}_{name}_data", name, f"{name}_data"):
        if key in places:
            return places[key]
    folder = places.get(f"{name}/")
    if folder is None:
        return None
    return folder / "imaging.nii.gz" if (folder / "imaging.nii.gz").is_file() else folder


def write_miniature(root: Path) -> None:
    """A pelvis of three sources, stored in three orientations, one of them in KiTS19's layout."""
    for number, name, codes in (("2", "1.3.6.1.4.1.9328.50.4.0001", "LPS"), ("4", "case_00000", "LAS"),
                                ("6", "CLINIC_0001", "RAS")):  # fmt: skip
        ct, labels = phantom_scan("pelvis", int(number))
        file = f"kits19/{name}/imaging.nii.gz" if number == "4" else f"dataset{number}_{name}_data.nii.gz"
        write_ct(root / file, ct, codes)
        write_bones(_mask(root, number, name), numbered(labels, BONES), codes)


def write_faulty(root: Path) -> dict[str, str]:
    """One scan per fault; the rule that must name each."""
    pelvis = phantom_scan("pelvis")
    scans = {
        ("2", "sound"): (pelvis, ""),
        ("2", "sides"): (swapped(pelvis, "hip_left", "hip_right"), "flag side_disagrees"),
        ("3", "colon_001"): (thick_slices(pelvis), "msd_t10"),
        ("1", "img0001"): (cropped_right(pelvis, "hip_right"), "flag cropped_hip"),
        ("5", "0507688Image"): (shifted(pelvis), "ct_label_mismatch"),
        ("5", "0507689Image"): (mirrored(pelvis), "flag mirrored_header"),
        ("5", "0507690Image"): (mirrored(mirrored(pelvis), axis=0), "half_turn"),
        ("6", "CLINIC_0002"): (scaled(pelvis, 2.0), "wrong_scale"),
        ("7", "CLINIC_metal_0000"): (with_metal(pelvis, "hip_right"), "flag foreign_material"),
    }
    for (number, name), ((ct, labels), _) in scans.items():
        write_ct(root / f"dataset{number}_{name}_data.nii.gz", ct)
        write_bones(_mask(root, number, name), numbered(labels, BONES))
    write_bones(_mask(root, "4", "case_00001"), numbered(pelvis[1], BONES))
    wanted = {f"{SUBSETS[number]}-{name}": want for (number, name), (_, want) in scans.items()}
    return wanted | {"kits19-case_00001": "missing_ct"}


def _mask(root: Path, number: str, name: str) -> Path:
    return root / f"CTPelvic1K_dataset{number}_mask_mappingback" / f"dataset{number}_{name}_mask_4label.nii.gz"


CTPELVIC1K = DatasetSpec(
    cases,
    write_miniature,
    licence="CC-BY-NC-SA-4.0",
    citation=CITATION,
    url="https://doi.org/10.5281/zenodo.4588403",
    anatomies=("pelvis",),
    rules=RULES,
    write_faulty=write_faulty,
    published=("swin-x2s_ctpelvic1k",),
)
DATASETS.register("ctpelvic1k", "pelves of 1106 CTs of seven sources", source=CITATION, licence="CC-BY-NC-SA-4.0")(
    CTPELVIC1K
)
