"""nnU-Net raw layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz.

Source: nnU-Net v2 documentation, "dataset format" (Isensee et al. 2021). The first channel must be a CT. Licence and
origin of the labels are those of the data that lies in the folder: state the licence with --licence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boneray.core.errors import DataError, InputError
from boneray.datasets.label_maps import label_map, map_from_names
from boneray.datasets.miniature import broken_files, numbered, phantom_scan, put, write_bones, write_ct
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.datasets.rules import COMMON, only_flagged
from boneray.io.files import read_json, write_json

BONES = {1: "sacrum", 2: "hip_left", 3: "hip_right"}  # of the miniature


def cases(source: Path, labels_are: str | None = None) -> Iterator[Pair]:
    """The training pairs of an nnU-Net raw folder, sorted by name; also images without labels, and the reverse.

    Bone names come from `labels_are`, else from the names in dataset.json.
    """
    description = read_json(source / "dataset.json", "nnU-Net description")
    names = description.get("labels")
    if not isinstance(names, dict):
        raise InputError(f'{source}/dataset.json has no "labels" table; is this an nnU-Net raw folder?')
    bones = label_map(labels_are) if labels_are else map_from_names(names)
    if not bones:
        raise DataError(
            f"no label name in {source}/dataset.json ({', '.join(names)}) is a known bone; give --label-map"
        )
    ending = str(description.get("file_ending", ".nii.gz"))
    labels = {p.name.removesuffix(ending): p for p in (source / "labelsTr").glob(f"*{ending}")}
    images = {p.name.removesuffix(f"_0000{ending}"): p for p in (source / "imagesTr").glob(f"*_0000{ending}")}
    if not labels and not images:
        raise InputError(f"{source}/labelsTr holds no *{ending} file")
    for name in sorted({*labels, *images}):
        ct = source / "imagesTr" / f"{name}_0000{ending}"
        yield Pair(name, name, ct, source / "labelsTr" / f"{name}{ending}", bones)


def write_miniature(root: Path) -> None:
    """Two pelvis phantoms in nnU-Net raw layout."""
    for n, name in enumerate(("mini_001", "mini_002")):
        ct, labels = phantom_scan("pelvis", n, 24)
        write_ct(root / "imagesTr" / f"{name}_0000.nii.gz", ct)
        write_bones(root / "labelsTr" / f"{name}.nii.gz", numbered(labels, BONES))
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{name: number for number, name in BONES.items()}},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    write_json(root / "dataset.json", description)


def write_faulty(root: Path) -> dict[str, str]:
    """One case per fault a file can have; the rule that must name each."""
    write_miniature(root)
    good_ct = root / "imagesTr" / "mini_001_0000.nii.gz"
    good_labels = (root / "labelsTr" / "mini_001.nii.gz").read_bytes()
    wanted = {"mini_001": "", "mini_002": ""}
    for name, content in broken_files(good_ct).items():
        put(root / "imagesTr" / f"{name}_0000.nii.gz", content)
        put(root / "labelsTr" / f"{name}.nii.gz", good_labels)
        wanted[name] = "bad_header" if name in ("zero_spacing", "singular_affine") else "unreadable"
    put(root / "labelsTr" / "labels_only.nii.gz", good_labels)
    put(root / "imagesTr" / "image_only_0000.nii.gz", good_ct.read_bytes())
    put(root / "imagesTr" / "ct_as_labels_0000.nii.gz", good_ct.read_bytes())
    put(root / "labelsTr" / "ct_as_labels.nii.gz", good_ct.read_bytes())
    return wanted | {"labels_only": "missing_ct", "image_only": "missing_labels", "ct_as_labels": "bad_content"}


DATASETS.register("nnunet", "any data set in nnU-Net raw layout", source="Isensee et al. 2021", licence="unstated")(
    DatasetSpec(
        cases,
        write_miniature,
        licence="unstated",
        citation="Isensee et al. 2021, doi:10.1038/s41592-020-01008-z (the layout)",
        rules=only_flagged(COMMON),
        write_faulty=write_faulty,
    )
)
