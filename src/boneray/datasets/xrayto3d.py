"""The four sets of the XrayTo3D benchmark, by its rules (Shakya and Khanal 2024, arXiv:2309.13587).

| set | from | region | grid | taken by the paper |
|---|---|---|---|---|
| femur | TotalSegmentator v1 | 128 mm, the proximal end, one side | 128 at 1 mm | both above 30 000 voxels: 465 scans |
| hip | TotalSegmentator v1 | 288 mm about the centroid of hips and sacrum | 128 at 2.25 mm | 446 of 1204 scans |
| rib | TotalSegmentator v1 | 320 mm about the centroid | 128 at 2.5 mm | all 24 ribs: 481 scans |
| vertebra | VerSe 2019 | 96 mm about the annotated centre | 64 at 1.5 mm | 1722 without foreign material |

Voxel thresholds are of scans with 1.5 mm voxels and are kept as volumes. Radiographs: cone beam, 1000 mm to the
isocentre, 1 mm pixels there, HU above 0, ap and lat, of the region alone.

Otherwise than the paper, on purpose: right femora are not mirrored into left ones (a side is a fact of the frame; that
belongs into training); the region follows the bone where the paper's origin ignored the place of the bone's box; the 90
hips rejected by eye are rejected here where the field of view cuts a hip bone (their list can be given with --exclude).
What `totalsegmentator-v1` and `verse19` ask beyond that only marks a case here, so that counts stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from boneray.core.bones import FEMORA, HIPS, RIBS
from boneray.datasets import totalsegmentator, verse
from boneray.datasets.miniature import Pairing, phantom_scan, shrunk, without
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.regions import Region
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import (
    COMMON,
    cut_by_field,
    fewer_than,
    graded_foreign,
    only_flagged,
    union_below,
    volume_below,
)

PAPER = "Shakya and Khanal 2024, arXiv:2309.13587"
VOXEL_MM3 = 1.5**3
MARKED = only_flagged(COMMON)

FEMUR_RULES = (
    Rule("too_few_voxels", "partial or absent femora: both sides above 30 000 voxels",
         partial(volume_below, names=FEMORA, at_least_mm3=30_000 * VOXEL_MM3)),
    *MARKED,
)  # fmt: skip
HIP_RULES = (
    Rule(
        "too_few_voxels", "hips and sacrum above 150 000 voxels", partial(union_below, at_least_mm3=150_000 * VOXEL_MM3)
    ),
    Rule("cropped_hip", "90 scans held only part of the hip", partial(cut_by_field, names=HIPS)),
    *MARKED,
)
RIB_RULES = (
    Rule(
        "incomplete_ribs", "incomplete or absent ribs: all 24 must be there", partial(fewer_than, names=RIBS, count=24)
    ),
    *MARKED,
)
VERTEBRA_RULES = (
    Rule("foreign_graded", "cement and screws were too few to learn from", graded_foreign, each=True),
    *MARKED,
)


def _options(anatomy: str, region: Region, voxels: int, size_mm: float, *, largest: bool = False) -> PrepareOptions:
    return PrepareOptions(
        anatomy,
        region=region,
        voxels=voxels,
        size_mm=size_mm,
        preset="xrayto3d",
        largest=largest,
    )


def _femur_faults(root: Path) -> dict[str, str]:
    femora = phantom_scan("femur", 0, 48)
    scans = {"s0001": (femora, ""), "s0002": (shrunk(femora, "femur_left", 0.5), "too_few_voxels")}
    return _totalsegmentator(root, scans)


def _hip_faults(root: Path) -> dict[str, str]:
    pelvis = phantom_scan("pelvis")
    few = without(pelvis, "hip_left")
    return _totalsegmentator(root, {"s0001": (pelvis, ""), "s0002": (few, "too_few_voxels")})


def _rib_faults(root: Path) -> dict[str, str]:
    ribs = phantom_scan("ribs")
    lost = without(ribs, "rib_right_12")
    return _totalsegmentator(root, {"s0001": (ribs, ""), "s0002": (lost, "incomplete_ribs")})


def _totalsegmentator(root: Path, scans: dict[str, tuple[Pairing, str]]) -> dict[str, str]:
    totalsegmentator.write_scans(root, {name: (scan, "ct", "train") for name, (scan, _) in scans.items()})
    return {name: want for name, (_, want) in scans.items()}


def _vertebra_faults(root: Path) -> dict[str, str]:
    wanted = verse.write_faulty(root)
    told = {"sub-verse100": "", "sub-verse101": "foreign_graded L3", "sub-verse102": ""}
    told |= {"sub-verse103": "flag label_mixup", "sub-verse104": "flag anisotropic"}
    told |= {"sub-verse105": "flag foreign_material", "sub-verse106": "flag ct_label_mismatch"}
    return told | {"sub-verse107": wanted["sub-verse107"]}


def _set(
    name: str,
    summary: str,
    base: DatasetSpec,
    base_name: str,
    options: PrepareOptions,
    rules: tuple[Rule, ...],
    faults: Callable[[Path], dict[str, str]],
    published: str,
    cases: Callable[[Path, str | None], Iterator[Pair]] | None = None,
) -> None:
    facts = {"preset": "xrayto3d", "base": base_name, "anatomy": options.anatomy}
    DATASETS.register(f"xrayto3d-{name}", summary, source=PAPER, licence=base.licence, **facts)(
        DatasetSpec(
            cases or base.cases,
            base.write_miniature,
            licence=base.licence,
            citation=f"{PAPER}; {base.citation}",
            url=base.url,
            anatomies=(options.anatomy,),
            rules=rules,
            write_faulty=faults,
            options=options,
            published=(published,),
            owner_split=base.owner_split,
        )
    )


TOTAL = (totalsegmentator.V1, "totalsegmentator-v1")
FEMUR = _options("femur", "proximal", 128, 128.0, largest=True)
HIP = _options("pelvis", "centroid", 128, 288.0)
RIB = _options("ribs", "centroid", 128, 320.0)
VERTEBRA = _options("vertebra", "annotated", 64, 96.0)
_set("femur", "femora in 128 mm cubes", *TOTAL, FEMUR, FEMUR_RULES, _femur_faults, "xrayto3d_femur")
_set("hip", "hips and sacrum in 288 mm cubes", *TOTAL, HIP, HIP_RULES, _hip_faults, "xrayto3d_hip")
_set("rib", "rib cages in 320 mm cubes", *TOTAL, RIB, RIB_RULES, _rib_faults, "xrayto3d_rib")
_set("vertebra", "vertebrae in 96 mm cubes", verse.VERSE19, "verse19", VERTEBRA, VERTEBRA_RULES, _vertebra_faults,
     "xrayto3d_vertebra_verse19")  # fmt: skip
