"""The radiographs that a trained network is shown in a test: as stored, misaligned, or of other views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boneray.core.case import Case
from boneray.core.errors import DataError
from boneray.core.radiograph import Radiograph
from boneray.datasets.splits import read_splits
from boneray.datasets.views import standard_cameras
from boneray.io.case_folder import case_folders
from boneray.projection.render import render
from boneray.training.samples import turned


def tested_cases(data: Path, splits: Path) -> list[Path]:
    """Folders of the part `test` of a split; without a split every case with labels."""
    if splits.is_file():
        return [data / case_id for case_id in read_splits(splits)["test"]]
    return [case for case in sorted(case_folders(data)) if (case / "labels.nii.gz").is_file()]


def radiographs_of(case: Case, condition: dict[str, Any] | None) -> dict[str, Radiograph]:
    """What is shown of a case.

    Args:
        condition: values of `study.Condition`; None for the stored radiographs. A view that is
            turned by `turn_deg` is rendered anew; where the network is not `told`, it comes with
            the camera of the view as it should have been.
    Raises:
        DataError: the condition needs a CT or a view that the case does not have.
    """
    if condition is None:
        return case.radiographs
    if case.ct is None or case.labels is None:
        raise DataError(f"case {case.case_id} has no CT, so its radiographs cannot be taken under another condition")
    cameras = {view: radiograph.camera for view, radiograph in case.radiographs.items()}
    if condition["views"]:
        pixels = next(iter(cameras.values())).detector_shape[0]
        cameras = standard_cameras(case.labels.grid, tuple(condition["views"]), pixels=pixels)
    view, angle_deg = condition["view"], condition["turn_deg"]
    if angle_deg and view not in cameras:
        raise DataError(f"case {case.case_id} has no view {view} to turn; it has {', '.join(cameras)}")
    shown = {}
    for name, camera in cameras.items():
        true = turned(camera, angle_deg, case.labels.grid.centre_mm) if angle_deg and name == view else camera
        taken = render(case.ct, true)
        shown[name] = taken if condition["told"] else Radiograph(taken.line_integrals, camera, taken.scaled)
    return shown
