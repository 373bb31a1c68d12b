"""nnU-Net raw layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz.

Source: nnU-Net v2 documentation, "dataset format" (Isensee et al. 2021). The first channel must be a CT.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from boneray.core.errors import DataError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.label_maps import label_map, map_from_names
from boneray.datasets.registry import DATASETS, DatasetSpec, Pair
from boneray.io.files import read_json
from boneray.io.nifti import write_labels, write_volume


def pairs(source: Path, labels_are: str | None) -> Iterator[Pair]:
    """The training pairs of an nnU-Net raw folder, sorted by name.

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
    ending = description.get("file_ending", ".nii.gz")
    files = sorted((source / "labelsTr").glob(f"*{ending}"))
    if not files:
        raise InputError(f"{source}/labelsTr holds no *{ending} file")
    for labels in files:
        name = labels.name.removesuffix(ending)
        yield Pair(name, name, source / "imagesTr" / f"{name}_0000{ending}", labels, bones)


def write_miniature(root: Path) -> None:
    """Two tiny pelvis-like cases in nnU-Net raw layout."""
    root.mkdir(parents=True, exist_ok=True)
    grid = Grid.cube(24, 288.0)
    x, y, z = np.moveaxis(grid.to_world(np.moveaxis(np.mgrid[:24, :24, :24], 0, -1)), -1, 0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[(x**2 + (y + 50) ** 2 + z**2) < 40**2] = 1
    labels[((x + 90) ** 2 + (y - 10) ** 2 + z**2) < 40**2] = 2
    labels[((x - 90) ** 2 + (y - 10) ** 2 + z**2) < 40**2] = 3
    hu = np.where(labels > 0, 400, np.where(x**2 + y**2 < 140**2, 40, -1000)).astype(np.int16)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(exist_ok=True)
    for name in ("mini_001", "mini_002"):
        write_volume(root / "imagesTr" / f"{name}_0000.nii.gz", Volume(hu, grid))
        write_labels(root / "labelsTr" / f"{name}.nii.gz", LabelMap(labels, grid))
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "sacrum": 1, "hip_left": 2, "hip_right": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))


DATASETS.register("nnunet", "any data set in nnU-Net raw layout", source="Isensee et al. 2021")(
    DatasetSpec(pairs, write_miniature, "as the source")
)
