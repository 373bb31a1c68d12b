"""Medical Segmentation Decathlon and MONAI: dataset.json that lists pairs of image and label.

Layout: {"labels": {"1": "name"}, "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]}, with
the paths relative to the file; MONAI's lists may add "validation" and a "fold" per pair. Source: Antonelli et al. 2022,
doi:10.1038/s41467-022-30695-9; MONAI's load_decathlon_datalist. Labels may also be given as {"name": 1}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boneray.core.errors import DataError, InputError
from boneray.datasets.label_maps import label_map, map_from_names
from boneray.datasets.miniature import numbered, phantom_scan, put, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, only_flagged
from boneray.io.files import read_json, write_json

BONES = {1: "sacrum", 2: "hip_left", 3: "hip_right"}  # of the miniature
PARTS = {"training": "train", "validation": "validation", "test": "test", "testing": "test"}


def cases(root: Path, names: str | None = None) -> Iterator[Pair]:
    """Every labelled pair of every list in dataset.json, in its order."""
    description = read_json(root / "dataset.json", "data list")
    bones = label_map(names) if names else map_from_names(_by_name(description.get("labels", {})))
    if not bones:
        raise DataError(f"no label name in {root}/dataset.json is a known bone; give --label-map")
    rows = [(part, row) for key, part in PARTS.items() for row in description.get(key, []) if isinstance(row, dict)]
    rows = [(part, row) for part, row in rows if "image" in row and "label" in row]
    if not rows:
        raise InputError(f'{root}/dataset.json lists no {{"image", "label"}} under training or validation')
    for part, row in rows:
        image = str(row["image"][0] if isinstance(row["image"], list) else row["image"])
        name = Path(image).name.removesuffix(".gz").removesuffix(".nii")
        groups: dict[str, Any] = {"owner_part": part} | ({"fold": row["fold"]} if "fold" in row else {})
        yield Pair(name, name, root / image, root / str(row["label"]), bones, groups=groups)


def _by_name(labels: dict[str, Any]) -> dict[str, object]:
    return {str(v): int(k) for k, v in labels.items() if k.isdecimal()} or dict(labels)


def owner_split(root: Path) -> dict[str, list[str]]:
    """The lists' own parts."""
    parts: dict[str, list[str]] = {}
    for pair in cases(root):
        parts.setdefault(pair.groups["owner_part"], []).append(pair.case_id)
    return parts


def write_miniature(root: Path) -> None:
    """A pelvis for training and one for validation."""
    _write(root, {"pelvis_001": "training", "pelvis_002": "validation"}, [])


def write_faulty(root: Path) -> dict[str, str]:
    """A pair twice, a list that leads out of the folder, and one link that does."""
    extra = [("pelvis_001", "./labelsTr/pelvis_001.nii.gz"), ("../outside", "./labelsTr/pelvis_001.nii.gz")]
    _write(root, {"pelvis_001": "training", "linked": "training"}, extra)
    inside = (root / "imagesTr" / "pelvis_001.nii.gz").read_bytes()
    put(root / "outside.nii.gz", inside)  # what "../outside" means from imagesTr: inside of the folder, allowed
    put(root.parent / "elsewhere.nii.gz", inside)
    (root / "imagesTr" / "linked.nii.gz").unlink()
    (root / "imagesTr" / "linked.nii.gz").symlink_to(root.parent / "elsewhere.nii.gz")
    return {"pelvis_001": "", "pelvis_001#2": "duplicate_id", "outside": "", "linked": "outside"}


def _write(root: Path, parts: dict[str, str], extra: list[tuple[str, str]]) -> None:
    lists: dict[str, list[dict[str, str]]] = {}
    for n, (name, part) in enumerate(parts.items()):
        ct, labels = phantom_scan("pelvis", n, 24)
        write_ct(root / "imagesTr" / f"{name}.nii.gz", ct)
        write_bones(root / "labelsTr" / f"{name}.nii.gz", numbered(labels, BONES))
        row = {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        lists.setdefault(part, []).append(row)
    for name, label in extra:
        lists["training"].append({"image": f"./imagesTr/{name}.nii.gz", "label": label})
    write_json(root / "dataset.json", {"labels": {"0": "background", **{str(k): v for k, v in BONES.items()}}, **lists})


DATASETS.register("datalist", "pairs listed in a Decathlon or MONAI dataset.json", source="Antonelli et al. 2022",
                  licence="unstated")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="unstated",
        citation="Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9 (the layout)",
        rules=only_flagged(COMMON),
        write_faulty=write_faulty,
        owner_split=owner_split,
    )
)  # fmt: skip
