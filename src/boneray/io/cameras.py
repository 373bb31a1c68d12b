"""Cameras in JSON: cameras.json, and the views of case.json, which have the same form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError, InputError
from boneray.io.files import read_json, write_json


def view_entry(name: str, file: str, line_integral_per_grey: float | None, camera: Camera) -> dict[str, Any]:
    """One entry of `views`: the picture's file, its scale (None where unknown) and its camera."""
    return {
        "name": name,
        "file": file,
        "line_integral_per_grey": line_integral_per_grey,
        "camera": camera.to_dict(),
    }


def write_cameras(
    path: Path,
    cameras: Mapping[str, Camera],
    *,
    files: Mapping[str, str] | None = None,
    line_integral_per_grey: Mapping[str, float] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write cameras by view, with the files of their pictures and the scale from grey to line integral.

    A view that `files` does not name is said to lie in `<view>.png`; one without scale gets null.
    `extra` entries (what the pictures were made from) are kept beside the views. Returns what was
    written.
    """
    files, scales = files or {}, line_integral_per_grey or {}
    unknown = sorted((set(files) | set(scales)) - set(cameras))
    if unknown:
        raise InputError(f"view {unknown[0]} has a file or a scale but no camera; the views are {', '.join(cameras)}")
    views = [
        view_entry(name, files.get(name, f"{name}.png"), scales.get(name), camera) for name, camera in cameras.items()
    ]
    values = {"frame": "RAS+ mm", "views": views, **(extra or {})}
    write_json(path, values)
    return values


def read_cameras(file: Path) -> dict[str, Camera]:
    """Cameras by view from cameras.json (`{"views": [{"name", "camera"}]}`) or from a case.json."""
    values = read_json(file, "camera file")
    views = values.get("views")
    if not isinstance(views, list) or not views:
        raise InputError(f'camera file {file} has no "views" list; see docs/case-folder.md')
    out = {}
    for view in views:
        if not isinstance(view, dict) or not {"name", "camera"} <= set(view):
            raise InputError(f'camera file {file}: each view needs a "name" and a "camera"; see docs/case-folder.md')
        try:
            out[str(view["name"])] = Camera.from_dict(view["camera"])
        except GeometryError as error:
            raise GeometryError(f"camera file {file}, view {view['name']}: {error}") from None
    return out
