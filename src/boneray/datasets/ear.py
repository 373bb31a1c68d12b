"""EAR's single vertebrae: T1 to L5 of VerSe 2019, VerSe 2020 and CTSpine1K, alone in air (Tan et al. 2024).

Layout: a folder with any of verse19, verse20 and ctspine1k, each as `boneray prepare` reads it by itself.

Every other voxel becomes -1000 HU. The vertebra is cropped or padded, never stretched, to 128 x 128 x 128 voxels of
1 mm, with its mean and SD stored (`z_score` in the case), by which a training target is (HU - mean) / SD. Radiographs
are taken of the isolated vertebra: 60 kVp, 3.5 mm Al, a million photons per pixel, 128 x 128 pixels. EAR does not state
its distances; the source stands 1000 mm from the vertebra and 1500 mm from the detector, as everywhere in boneray.

EAR removed duplicated and incomplete scans: a scan that an earlier folder has by name or by content is rejected as
duplicate, a vertebra that the field of view cuts as partial. EAR split vertebrae 8 : 1 : 1 without saying whether by
patient; here it is by patient (`--split patient --test-share 0.1 --validation-share 0.1`). Its 5838 vertebrae of 1162
scans are not listed anywhere.
Licence: the strictest of its parts, CC BY-NC-SA 4.0; every case states its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from boneray.core.bones import VERTEBRAE
from boneray.core.errors import InputError
from boneray.datasets import ctspine1k, verse
from boneray.datasets.miniature import phantom_scan, put
from boneray.datasets.prepare import PrepareOptions
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair, Rule
from boneray.datasets.rules import COMMON, cut_by_field, graded_foreign, only_flagged, other_level
from boneray.io.files import require_folder

Cases = Callable[[Path, str | None], Iterator[Pair]]
Write = Callable[[Path], None]
Faulty = Callable[[Path], dict[str, str]]
PAPER = "Tan et al. 2024, arXiv:2407.20937"
LEVELS = VERTEBRAE[7:24]
SOURCES: dict[str, tuple[Cases, str]] = {
    "verse19": (verse.cases, "CC-BY-SA-4.0"),
    "verse20": (verse.cases, "CC-BY-SA-4.0"),
    "ctspine1k": (ctspine1k.cases, "CC-BY-NC-SA-4.0"),
}


RULES = (
    Rule("level", "EAR takes T1 to L5", partial(other_level, levels=LEVELS), each=True),
    Rule("partial", "EAR removed incomplete ones", cut_by_field, each=True),
    *only_flagged((Rule("foreign_graded", "cement and screws change the intensities", graded_foreign, each=True),)),
    *only_flagged(COMMON),
)


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """The scans of every source there is; a repeated one is a problem of its case."""
    require_folder(root, "EAR folder")
    found = [name for name in SOURCES if (root / name).is_dir()]
    if not found:
        raise InputError(f"{root} holds none of the folders {', '.join(SOURCES)}")
    by_name: dict[str, str] = {}
    by_size: dict[int, list[tuple[Path, str]]] = {}
    for source in found:
        read, licence = SOURCES[source]
        for pair in read(root / source, names):
            twin = by_name.get(pair.case_id) or _twin(pair.ct, by_size)
            here = f"{source}/{pair.case_id}"
            by_name.setdefault(pair.case_id, here)
            groups = pair.groups | {"subset": source}
            problem = f"duplicate: the same scan as {twin}" if twin else pair.problem
            case_id = f"{source}-{pair.case_id}"
            yield replace(pair, case_id=case_id, groups=groups, problem=problem, licence=pair.licence or licence)
            if pair.ct.is_file():
                by_size.setdefault(pair.ct.stat().st_size, []).append((pair.ct, here))


def _twin(ct: Path, by_size: dict[int, list[tuple[Path, str]]]) -> str:
    """An earlier file with the same bytes; only files of the same size are read."""
    if not ct.is_file():
        return ""
    rivals = by_size.get(ct.stat().st_size, [])
    own = _hash(ct) if rivals else ""
    return next((name for path, name in rivals if _hash(path) == own), "")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_miniature(root: Path) -> None:
    """The miniatures of VerSe 2019 and CTSpine1K in their folders."""
    verse.write_miniature(root / "verse19")
    ctspine1k.write_miniature(root / "ctspine1k")


def write_faulty(root: Path) -> dict[str, str]:
    """A scan that comes again in VerSe 2020 by name, and in CTSpine1K with the same bytes."""
    first, other = phantom_scan("spine"), phantom_scan("spine", 1)
    grades = {101: {"L3": ("x", "")}}
    verse.write_parts(root / "verse19", {"verse19test": {"sub-verse100": first, "sub-verse101": other}}, grades)
    verse.write_parts(root / "verse20", {"verse20test": {"sub-verse100": other}}, {})
    ctspine1k.write_scans(root / "ctspine1k", {"liver_0": first, "liver_1": phantom_scan("spine", 2)})
    same = next((root / "verse19").glob("**/sub-verse100_ct.nii.gz")).read_bytes()
    put(root / "ctspine1k" / "volumes" / "MSD-T10" / "liver_0.nii.gz", same)
    return {
        "verse19-sub-verse100": "",
        "verse19-sub-verse101": "flag foreign_graded L3",
        "verse20-sub-verse100": "duplicate",
        "ctspine1k-liver_0": "duplicate",
        "ctspine1k-liver_1": "",
    }


OPTIONS = PrepareOptions(
    "vertebra", voxels=128, size_mm=128.0, pixels=128, beam="60KV_AL35", isolate=True, z_score=True
)


def _set(
    name: str, summary: str, base: str, read: Cases, licence: str, miniature: Write, faulty: Faulty | None
) -> None:
    DATASETS.register(name, summary, source=PAPER, licence=licence, preset="ear", base=base, anatomy="vertebra")(
        DatasetSpec(
            read,
            miniature,
            licence=licence,
            citation=f"{PAPER}; {verse.CITATION}; {ctspine1k.CITATION}",
            anatomies=("vertebra",),
            rules=RULES,
            write_faulty=faulty,
            options=OPTIONS,
        )
    )


_set(
    "ear-vertebra",
    "single vertebrae T1-L5 in air, of all three",
    "",
    cases,
    "CC-BY-NC-SA-4.0",
    write_miniature,
    write_faulty,
)
for _name, (_read, _licence) in SOURCES.items():
    _small = ctspine1k.write_miniature if _name == "ctspine1k" else verse.write_miniature
    _set(f"ear-{_name}", f"single vertebrae T1-L5 in air, of {_name}", _name, _read, _licence, _small, None)
