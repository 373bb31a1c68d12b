"""What can be added to a reconstruction: measurements, and a picture of the bones without a graphics library."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from boneray.core.bones import bone_colour
from boneray.core.errors import DataError
from boneray.core.purpose import RESEARCH_USE
from boneray.geometry.surface import faithful_meshes
from boneray.io.case_folder import read_case
from boneray.io.files import write_atomic, write_json
from boneray.morphometry.measure import measure
from boneray.report.pictures import mesh_picture


def add_measurements(folder: Path) -> Path:
    """Write measurements.json: every measurement of the bones in the folder, with status and landmarks."""
    case = read_case(folder, with_ct=False)
    if case.labels is None:
        raise DataError(f"{folder} has no labels.nii.gz; reconstruct it first")
    rows = [one.to_dict() for one in measure(case.labels, case.anatomy)]
    return write_json(folder / "measurements.json", {"purpose": RESEARCH_USE, "measurements": rows})


def add_preview(folder: Path) -> Path:
    """Write preview.png: the bones from the front and from the right; its comment says what it is for."""
    case = read_case(folder, with_ct=False)
    if case.labels is None:
        raise DataError(f"{folder} has no labels.nii.gz; reconstruct it first")
    meshes = faithful_meshes(case.labels)
    raw = mesh_picture(meshes, {name: bone_colour(name) for name in meshes})
    words = PngInfo()
    words.add_text("Comment", RESEARCH_USE)
    image = Image.open(io.BytesIO(raw))
    return write_atomic(folder / "preview.png", lambda file: image.save(file, optimize=True, pnginfo=words))
