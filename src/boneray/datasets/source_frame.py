"""The way back: a case's labels on the voxels of the file they came from, with its axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap, to_canonical
from boneray.datasets.frame_checks import flip_second_axis
from boneray.geometry.resample import nearest_labels
from boneray.io.case_folder import read_description
from boneray.io.nifti import read_labels


def labels_in_source(folder: Path) -> LabelMap:
    """The labels of a case folder (ids of the table of bones) on the grid of its source, axes as stored there.

    Every voxel takes the nearest label; it is exact where the case was prepared with region `native`.
    What lies outside of the case is 0. A flipped second axis is flipped back.

    Raises:
        DataError: the case does not say what it was made from.
    """
    provenance = read_description(folder)["provenance"]
    try:
        source = Grid.from_dict(provenance["source"]["grid"])
        flipped = bool(provenance["second_axis_flipped"])
    except (KeyError, TypeError):
        raise DataError(f"{folder}/case.json does not state the grid of its source; prepare it again") from None
    labels = read_labels(folder / "labels.nii.gz")
    if not flipped:
        return nearest_labels(labels, source)
    upright = to_canonical(np.zeros(source.shape, np.uint8), source)[1]
    there = nearest_labels(labels, upright)
    back = LabelMap(flip_second_axis(there.data, upright), upright)
    return nearest_labels(back, source)
