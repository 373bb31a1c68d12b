"""Where radiographs come from: a case folder, or pictures with a camera file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boneray.core.errors import InputError
from boneray.core.radiograph import Radiograph
from boneray.io.case_folder import read_cameras, read_case
from boneray.io.files import prepare_output
from boneray.io.images import read_picture
from boneray.reconstruction.reconstruct import Reconstructor, write_reconstruction


def reconstruct_case(
    folder: Path,
    *,
    checkpoint: str,
    out: Path,
    bone: str = "",
    centre_mm: tuple[float, ...] | None = None,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
) -> dict[str, Any]:
    """Reconstruct a case folder from its radiographs; its labels are not looked at. Returns run.json."""
    case = read_case(folder, with_ct=False)
    if not case.radiographs:
        raise InputError(f"case {folder} holds no radiograph")
    if out.resolve() == folder.resolve():
        raise InputError(f"output {out} is the case itself; choose another folder")
    prepare_output(out, force=force)
    reconstructor = Reconstructor.load(checkpoint)
    reconstructor.require_anatomy(case.anatomy)
    target = bone or case.target
    result = reconstructor(case.radiographs, target=target, centre_mm=centre_mm)
    return write_reconstruction(
        out,
        result,
        reconstructor.card,
        case_id=case.case_id,
        radiographs=case.radiographs,
        target=target,
        formats=formats,
        force=force,
        inputs={"case": case.case_id, "checkpoint": checkpoint},
    )


def reconstruct_files(
    files: dict[str, Path],
    camera_file: Path | None,
    *,
    checkpoint: str,
    out: Path,
    bone: str = "",
    centre_mm: tuple[float, ...] | None = None,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
) -> dict[str, Any]:
    """Reconstruct from pictures by view name with a camera file. Returns run.json.

    Raises:
        InputError: no picture, no camera file, or a view without camera.
    """
    if not files:
        raise InputError("nothing to reconstruct: give a case folder, or --ap and --lat with --camera")
    if camera_file is None:
        raise InputError("no camera file: give the geometry of the views with --camera cameras.json")
    prepare_output(out, force=force)
    cameras = read_cameras(camera_file)
    missing = [view for view in files if view not in cameras]
    if missing:
        raise InputError(f"camera file {camera_file} has no view {', '.join(missing)}; it has {', '.join(cameras)}")
    radiographs = {
        view: Radiograph(read_picture(path, f"{view} radiograph"), cameras[view], scaled=False)
        for view, path in files.items()
    }
    reconstructor = Reconstructor.load(checkpoint)
    result = reconstructor(radiographs, target=bone, centre_mm=centre_mm)
    return write_reconstruction(
        out,
        result,
        reconstructor.card,
        case_id=out.resolve().name,
        radiographs=radiographs,
        target=bone,
        formats=formats,
        force=force,
        inputs={
            **{view: path.name for view, path in files.items()},
            "camera": camera_file.name,
            "checkpoint": checkpoint,
        },
    )
