"""Cameras in files: cameras.json, the views of case.json, which have the same form, and one camera by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError, InputError
from boneray.io.files import read_json, require_file, write_json
from boneray.io.mayacam import read_mayacam

SAME_SHARE = 0.002  # a row or two that was cut off when pixels were binned


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


def read_camera(file: Path) -> Camera:
    """The one camera in a file: JSON (a camera, or a `views` list of one) or a MayaCam 2.0 text.

    Raises:
        InputError: neither, or a list of several; GeometryError: no camera an X-ray tube can be.
    """
    require_file(file, "camera file")
    with file.open("rb") as start:
        is_json = start.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    if not is_json:
        return read_mayacam(file)
    values = read_json(file, "camera file")
    if "views" in values:
        cameras = read_cameras(file)
        if len(cameras) != 1:
            raise InputError(
                f"camera file {file} holds {len(cameras)} views; give it alone, or one file with one camera per view"
            )
        return next(iter(cameras.values()))
    try:
        return Camera.from_dict(values)
    except GeometryError as error:
        raise GeometryError(f"camera file {file}: {error}") from None


def fitted(camera: Camera, shape: tuple[int, ...], path: Path) -> Camera:
    """The camera of a picture with (rows, columns): the same detector, its pixels binned or split by a whole number.

    Raises:
        GeometryError: the picture is not of that detector.
    """
    rows, columns = (max(n / m, m / n) for n, m in zip(shape, camera.detector_shape, strict=True))
    same_way = (shape[0] >= camera.detector_shape[0]) == (shape[1] >= camera.detector_shape[1])
    if not same_way or abs(rows - columns) > SAME_SHARE * rows or abs(rows - round(rows)) > SAME_SHARE * rows:
        raise GeometryError(
            f"radiograph {path} has {shape[1]} x {shape[0]} pixels, its camera {camera.detector_shape[1]} x "
            f"{camera.detector_shape[0]}; they must show the same field"
        )
    return camera.resized((int(shape[0]), int(shape[1])))


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
