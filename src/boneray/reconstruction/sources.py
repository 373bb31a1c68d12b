"""Where radiographs come from: a case folder, or a person's own films; and where the answer goes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boneray.core.errors import InputError
from boneray.io.case_folder import read_case
from boneray.io.files import prepare_output, read_json
from boneray.reconstruction.answer import PLAIN, Wishes, answered
from boneray.reconstruction.calibration import Calibration, calibration_of
from boneray.reconstruction.radiographs import (
    LoadedRadiographs,
    LoadedView,
    Values,
    load_radiographs,
)
from boneray.reconstruction.reconstruct import Reconstructor, write_reconstruction


def reconstruct_case(
    folder: Path,
    *,
    checkpoint: str,
    out: Path,
    bone: str = "",
    wishes: Wishes = PLAIN,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    reconstructor: Reconstructor | None = None,
) -> dict[str, Any]:
    """Reconstruct a case folder from its radiographs; its labels are not looked at. Returns run.json."""
    case = read_case(folder, with_ct=False)
    if not case.radiographs:
        raise InputError(f"case {folder} holds no radiograph")
    reconstructor = reconstructor or Reconstructor.load(checkpoint)
    reconstructor.require_anatomy(case.anatomy)
    loaded = LoadedRadiographs(
        {
            view: LoadedView(r, f"{view}.png", "case", "line integrals" if r.scaled else "display")
            for view, r in case.radiographs.items()
        }
    )
    return reconstruct_loaded(
        loaded,
        reconstructor,
        checkpoint=checkpoint,
        out=out,
        case_id=case.case_id,
        bone=bone or case.target,
        wishes=wishes,
        formats=formats,
        force=force,
        inputs={"case": case.case_id},
    )


def reconstruct_files(
    files: dict[str, Path],
    cameras: Sequence[Path] = (),
    *,
    checkpoint: str,
    out: Path,
    bone: str = "",
    sdd_mm: float | None = None,
    sod_mm: float | None = None,
    pixel_mm: float | None = None,
    values: Values = "auto",
    wishes: Wishes = PLAIN,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    reconstructor: Reconstructor | None = None,
    case_id: str = "",
) -> dict[str, Any]:
    """Reconstruct from films by view name (see `load_radiographs`). Returns run.json."""
    start = time.perf_counter()
    loaded = load_radiographs(files, cameras=cameras, sdd_mm=sdd_mm, sod_mm=sod_mm, pixel_mm=pixel_mm, values=values)
    reconstructor = reconstructor or Reconstructor.load(checkpoint)
    return reconstruct_loaded(
        loaded,
        reconstructor,
        checkpoint=checkpoint,
        out=out,
        case_id=case_id or out.resolve().name,
        bone=bone,
        wishes=wishes,
        formats=formats,
        force=force,
        inputs={
            "cameras": [camera.name for camera in cameras],
            "sha256": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (*files.values(), *cameras)
            },
        },
        start=start,
    )


def reconstruct_loaded(
    loaded: LoadedRadiographs,
    reconstructor: Reconstructor,
    *,
    checkpoint: str,
    out: Path,
    case_id: str,
    bone: str = "",
    wishes: Wishes = PLAIN,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    inputs: dict[str, Any] | None = None,
    calibration: Calibration | None = None,
    start: float | None = None,
) -> dict[str, Any]:
    """Answer one patient and write the case folder with meshes and run.json, which is returned.

    `start` is when reading the films began (`time.perf_counter`), for the times in run.json.
    """
    read = time.perf_counter()
    reconstructor.bone_ids(bone)
    require_writable(out, force=force)
    calibration = calibration or calibration_of(checkpoint)
    answer = answered(reconstructor, loaded, target=bone, calibration=calibration, wishes=wishes)
    return write_reconstruction(
        out,
        answer.result,
        reconstructor.card,
        case_id=case_id,
        radiographs=loaded.radiographs,
        target=bone,
        formats=formats,
        force=force,
        inputs={**(inputs or {}), "views": loaded.to_dict(), "checkpoint": str(checkpoint)},
        more={
            **answer.to_dict(),
            **reconstructor.about(),
            "times": {
                "films_and_model_s": round(read - (start or read), 3),
                "answer_s": round(time.perf_counter() - read, 3),
            },
        },
    )


def require_writable(out: Path, *, force: bool) -> None:
    """The output folder; one that holds a reference case or a data set is refused even with `force`."""
    if (out / "dataset.json").exists():
        raise InputError(f"output {out} is a data set; choose another folder")
    if (out / "case.json").is_file():
        provenance = read_json(out / "case.json", "case file").get("provenance")
        if not isinstance(provenance, dict) or provenance.get("labels_are") != "prediction":
            raise InputError(f"output {out} holds a case that is no reconstruction; choose another folder")
    prepare_output(out, force=force)
