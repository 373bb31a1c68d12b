"""Where radiographs come from: a case folder, or pictures with a camera file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boneray.core.errors import InputError
from boneray.core.radiograph import Radiograph
from boneray.io.cameras import read_cameras
from boneray.io.case_folder import read_case
from boneray.io.files import prepare_output, read_json
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
    reconstructor = Reconstructor.load(checkpoint)
    reconstructor.require_anatomy(case.anatomy)
    target = bone or case.target
    reconstructor.bone_ids(target)
    _prepare(out, force=force)
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
    cameras = read_cameras(camera_file)
    missing = [view for view in files if view not in cameras]
    if missing:
        raise InputError(f"camera file {camera_file} has no view {', '.join(missing)}; it has {', '.join(cameras)}")
    radiographs = {
        view: Radiograph(read_picture(path, f"{view} radiograph"), cameras[view], scaled=False)
        for view, path in files.items()
    }
    reconstructor = Reconstructor.load(checkpoint)
    reconstructor.bone_ids(bone)
    _prepare(out, force=force)
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


def _prepare(out: Path, *, force: bool) -> None:
    """The output folder; one that holds a reference case or a data set is refused even with `force`."""
    if (out / "dataset.json").exists():
        raise InputError(f"output {out} is a data set; choose another folder")
    if (out / "case.json").is_file():
        provenance = read_json(out / "case.json", "case file").get("provenance")
        if not isinstance(provenance, dict) or provenance.get("labels_are") != "prediction":
            raise InputError(f"output {out} holds a case that is no reconstruction; choose another folder")
    prepare_output(out, force=force)
