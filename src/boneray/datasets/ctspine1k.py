"""CTSpine1K: vertebrae of 1005 CTs from four public sources (COLONOG, COVID-19, HNSCC, MSD liver).

Layout: labels below the folder as <source>/<id>_seg.nii.gz, CTs as <source>/<id>.nii.gz (in folders of their own or
side by side), and data_split.txt with sections trainset:, test_public:, test_private:.
Licence: labels CC BY-NC-SA 4.0; each source of CTs has its own.
Citation: Deng et al. 2021, arXiv:2105.14711. Ids as VerSe: 1-7 C, 8-19 T, 20-25 L.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boneray.core.errors import InputError
from boneray.datasets.label_maps import LABEL_MAPS
from boneray.datasets.miniature import Pairing, numbered, phantom_scan, shifted, swapped, without, write_bones, write_ct
from boneray.datasets.published_splits import read_published
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, WHOLE_BONE, gap_in_sequence
from boneray.io.files import require_folder, write_text

CITATION = "Deng et al. 2021, arXiv:2105.14711"
BONES = LABEL_MAPS["verse"]
RULES = (
    Rule("gap", "a vertebra missing inside the column was overlooked", gap_in_sequence),
    WHOLE_BONE,
    *COMMON,
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every label map below `root` with its CT, sorted."""
    require_folder(root, "CTSpine1K folder")
    labels = sorted(root.rglob("*_seg.nii.gz"))
    if not labels:
        raise InputError(f"{root} holds no <source>/<id>_seg.nii.gz; unpack CTSpine1K there")
    places = {p.name: p for p in sorted(root.rglob("*.nii.gz")) if not p.name.endswith("_seg.nii.gz")}
    for file in labels:
        name = file.name.removesuffix("_seg.nii.gz")
        ct = places.get(f"{name}.nii.gz", file.with_name(f"{name}.nii.gz"))
        site = file.parent.name
        yield Pair(name, name, ct, file, BONES, groups={"site": site}, labels_from="semi-automatic")


def owner_split(root: Path) -> dict[str, list[str]]:
    """The parts of data_split.txt; the public test part is taken for validation, as Swin-X2S does."""
    file = next(iter(sorted(root.rglob("data_split.txt"))), root / "data_split.txt")
    return read_published(file)


def write_miniature(root: Path) -> None:
    """Two scans of two sources and their split."""
    for n, (source, name) in enumerate((("COLONOG", "1.3.6.1.4.1.9328.50.4.0001"), ("MSD-T10", "liver_0"))):
        ct, labels = phantom_scan("spine", n)
        write_ct(root / "volumes" / source / f"{name}.nii.gz", ct, ("LPS", "RAS")[n])
        write_bones(root / "labels" / source / f"{name}_seg.nii.gz", numbered(labels, BONES), ("LPS", "RAS")[n])
    write_text(root / "data_split.txt", "trainset:\n1.3.6.1.4.1.9328.50.4.0001.nii.gz\ntest_public:\nliver_0.nii.gz\n")


def write_faulty(root: Path) -> dict[str, str]:
    """One scan per fault; the rule that must name each."""
    spine = phantom_scan("spine")
    scans = {
        "liver_1": (spine, ""),
        "liver_2": (without(spine, "L1"), "gap"),
        "liver_3": (swapped(spine, "L3", "L4"), "label_mixup"),
        "liver_4": (shifted(spine), "ct_label_mismatch"),
    }
    write_scans(root, {name: scan for name, (scan, _) in scans.items()})
    return {name: want for name, (_, want) in scans.items()}


def write_scans(root: Path, scans: dict[str, Pairing]) -> None:
    """Scans of one source in the owners' layout."""
    for name, (ct, labels) in scans.items():
        write_ct(root / "volumes" / "MSD-T10" / f"{name}.nii.gz", ct)
        write_bones(root / "labels" / "MSD-T10" / f"{name}_seg.nii.gz", numbered(labels, BONES))


CTSPINE1K = DatasetSpec(
    cases,
    write_miniature,
    licence="CC-BY-NC-SA-4.0",
    citation=CITATION,
    url="https://github.com/MIRACLE-Center/CTSpine1K",
    anatomies=("spine", "vertebra"),
    rules=RULES,
    write_faulty=write_faulty,
    published=("swin-x2s_ctspine1k",),
    owner_split=owner_split,
)
DATASETS.register("ctspine1k", "vertebrae of 1005 CTs of four sources", source=CITATION, licence="CC-BY-NC-SA-4.0")(
    CTSPINE1K
)
