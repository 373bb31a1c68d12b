"""The nine sets of Swin-X2S, by its rules (Liu et al. 2025, arXiv:2501.05961).

All show the whole field of view on an isotropic grid of 128 x 128 x 160 voxels, with radiographs of a parallel beam of
magnification 1 at one pixel per voxel, HU above 0, ap and lat: what its published pictures show.

| set | from | rejected |
|---|---|---|
| totalsegmentator-femur | TotalSegmentator v2 | fewer than both femora |
| totalsegmentator-pelvic | | fewer than sacrum and both hips |
| totalsegmentator-spine | | a sixth lumbar vertebra, a gap in the sequence, angiographies |
| totalsegmentator-rib | | fewer than six ribs, angiographies |
| totalsegmentator-all | | nothing but scans without bones |
| ctpelvic1k | CTPelvic1K, MSD-T10 included as in its split | nothing |
| ctspine1k, verse19 | | nothing |
| ribseg | RibSeg v2 | nothing; fewer than 24 regions are marked |

Otherwise than its code, on purpose: volumes are placed by their headers (its permuted axes and overwritten directions
mirrored some of them), and the whole field of view is kept (its camera lost the outer tenth). The paper's counts differ
from its split files; see `boneray.datasets.published_splits`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from boneray.core.bones import FEMORA, HIPS, RIBS
from boneray.datasets import ctpelvic1k, ctspine1k, ribseg, totalsegmentator, verse
from boneray.datasets.miniature import phantom_scan, renamed, swapped, without
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, DatasetSpec, Rule
from boneray.datasets.rules import COMMON, angiography, fewer_than, gap_in_sequence, has_bone, only_flagged

PAPER = "Liu et al. 2025, arXiv:2501.05961"
SHAPE = (128, 128, 160)
MARKED = only_flagged(COMMON)
_ANGIO = Rule("angiography", "contrast in vessels, too narrow a field of view", angiography)

TASKS: dict[str, tuple[str, tuple[Rule, ...]]] = {
    "femur": ("femora", (Rule("incomplete", "both femora", partial(fewer_than, names=FEMORA, count=2)),)),
    "pelvic": (
        "pelvis",
        (Rule("incomplete", "sacrum and both hips", partial(fewer_than, names=("sacrum", *HIPS), count=3)),),
    ),
    "spine": (
        "spine",
        (
            Rule("sixth_lumbar", "the task has no class for L6", partial(has_bone, name="L6")),
            Rule("gap", "the sequence of labels must be unbroken", gap_in_sequence),
            _ANGIO,
        ),
    ),
    "rib": ("ribs", (Rule("incomplete_ribs", "fewer than six", partial(fewer_than, names=RIBS, count=6)), _ANGIO)),
    "all": ("all", ()),
}
OTHERS = {
    "ctpelvic1k": (
        "pelvis",
        ctpelvic1k.CTPELVIC1K,
        (Rule("side_disagrees", "see ctpelvic1k", ctpelvic1k.side_disagrees, "flag"),),
    ),
    "ctspine1k": ("spine", ctspine1k.CTSPINE1K, ()),
    "verse19": ("spine", verse.VERSE19, ()),
    "ribseg": ("ribs", ribseg.RIBSEG, (Rule("uncertain_numbers", "see ribseg", ribseg.uncertain_numbers, "flag"),)),
}


def _options(anatomy: str) -> PrepareOptions:
    return PrepareOptions(anatomy, region="field", shape=SHAPE, preset="swin-x2s")


def _spine_faults(root: Path) -> dict[str, str]:
    spine = phantom_scan("spine")
    lower = renamed(spine, dict(zip(("T11", "T12", "L1", "L2", "L3", "L4", "L5"), _UP, strict=True)))
    scans = {
        "s0001": (spine, "ct spine", ""),
        "s0002": (without(spine, "L1"), "ct spine", "gap"),
        "s0003": (lower, "ct spine", "sixth_lumbar"),
        "s0004": (spine, "ct angiography", "angiography"),
        "s0005": (swapped(spine, "L1", "L2"), "ct spine", "flag label_mixup"),
    }
    totalsegmentator.write_scans(root, {name: (scan, study, "train") for name, (scan, study, _) in scans.items()})
    return {name: want for name, (_, _, want) in scans.items()}


_UP = ("T12", "L1", "L2", "L3", "L4", "L5", "L6")


def _set(name: str, base: DatasetSpec, base_name: str, anatomy: str, rules: tuple[Rule, ...], published: str) -> None:
    facts = {"preset": "swin-x2s", "base": base_name, "anatomy": anatomy}
    DATASETS.register(
        f"swin-x2s-{name}",
        f"{name} on 128 x 128 x 160, whole field of view",
        source=PAPER,
        licence=base.licence,
        **facts,
    )(
        DatasetSpec(
            base.cases,
            base.write_miniature,
            licence=base.licence,
            citation=f"{PAPER}; {base.citation}",
            url=base.url,
            anatomies=(anatomy,),
            rules=(*rules, *MARKED),
            write_faulty=_spine_faults if name == "totalsegmentator-spine" else None,
            options=_options(anatomy),
            published=(published,),
            owner_split=base.owner_split,
        )
    )


for _task, (_anatomy, _rules) in TASKS.items():
    _set(f"totalsegmentator-{_task}", totalsegmentator.V2, "totalsegmentator", _anatomy, _rules,
         f"swin-x2s_totalsegmentator_{_task}")  # fmt: skip
for _name, (_anatomy, _base, _rules) in OTHERS.items():
    _set(_name, _base, _name, _anatomy, _rules, f"swin-x2s_{_name}")
