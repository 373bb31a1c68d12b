"""A reconstruction's folder as DICOM objects beside it: segmentation with its carrier series, encapsulated STL."""

from __future__ import annotations

from pathlib import Path

from boneray import __version__
from boneray.core.errors import InputError
from boneray.geometry.surface import faithful_meshes
from boneray.io.dicom_seg import write_dicom_objects
from boneray.io.files import read_json
from boneray.io.nifti import read_labels


def add_dicom(folder: Path) -> list[Path]:
    """Write `folder`/dicom from the labels and run.json in it; returns the files.

    Raises:
        ConfigError: highdicom is not installed.
        InputError: no reconstruction is in the folder.
    """
    run = read_json(folder / "run.json", "run description")
    if run.get("command") != "reconstruct":
        raise InputError(f"{folder} holds no reconstruction")
    labels = read_labels(folder / "labels.nii.gz")
    case_id, model = str(run["case"]), str(run["model"])
    return write_dicom_objects(
        folder / "dicom", labels, faithful_meshes(labels), case_id=case_id, model=model, version=__version__
    )
