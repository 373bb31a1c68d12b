"""What is wrong with a view before it is rendered, in one line each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import Volume

SIDES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
# A face of the volume with more than this share of matter cuts the body.
CUT_SHARE = 0.02


def require_numbers(ct: Volume) -> None:
    """Raise `DataError` if a voxel is not a number."""
    if np.issubdtype(ct.data.dtype, np.floating) and not np.isfinite(ct.data).all():
        bad = np.argwhere(~np.isfinite(ct.data))
        raise DataError(f"the CT has {len(bad)} voxels that are not numbers, the first at {bad[0].tolist()}; mend it")


def require_view(camera: Camera, grid: Grid, view: str) -> None:
    """Raise `GeometryError` if the camera cannot take a picture of the volume.

    The source lies inside it, the detector before it, or no ray of the detector meets it.
    """
    if camera.kind == "perspective":
        index = grid.to_index(camera.source_mm)
        if np.all((index > -0.5) & (index < np.array(grid.shape) - 0.5)):
            raise GeometryError(
                f"view {view}: the source at {_point(camera.source_mm)} mm lies inside the volume; "
                "move it away with a larger source-object distance"
            )
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, -1).T
        depth = (grid.to_world(corners) - camera.source_mm) @ camera.central_ray
        if depth.min() > camera.source_detector_mm:
            raise GeometryError(
                f"view {view}: the volume lies behind the detector, {depth.min():.0f} mm from the source and the "
                f"detector at {camera.source_detector_mm:.0f} mm; check the centre and the distances"
            )
    low, high = shadow(camera, grid, np.array([[-0.5, n - 0.5] for n in grid.shape]))
    rows, columns = camera.detector_shape
    if high[0] < -0.5 or high[1] < -0.5 or low[0] > columns - 0.5 or low[1] > rows - 0.5:
        raise GeometryError(
            f"view {view}: the detector misses the volume, whose shadow lies at columns {low[0]:.0f} to {high[0]:.0f}, "
            f"rows {low[1]:.0f} to {high[1]:.0f} of {columns} x {rows}; check the centre, the distances and the size"
        )


def picture_warnings(camera: Camera, matter: NDArray[np.bool_], grid: Grid, view: str) -> list[str]:
    """Sides at which the picture cuts off the body; `matter` (i, j, k) says where it is."""
    box = _box(matter)
    if box is None:
        return [f"view {view}: the volume holds nothing that attenuates"]
    low, high = shadow(camera, grid, box)
    rows, columns = camera.detector_shape
    beyond = {
        "left": -0.5 - low[0],
        "right": high[0] - columns + 0.5,
        "top": -0.5 - low[1],
        "bottom": high[1] - rows + 0.5,
    }
    cut = [f"{side} ({pixels:.0f} pixels)" for side, pixels in beyond.items() if pixels > 1.0]
    return [f"view {view}: the picture may cut the body off at its {', '.join(cut)}"] if cut else []


def volume_warnings(matter: NDArray[np.bool_], grid: Grid) -> list[str]:
    """Sides at which the volume ends within the body, so that rays through there miss tissue."""
    cut = []
    for world in range(3):
        axis = int(np.argmax(np.abs(grid.direction_matrix[world])))
        ahead = grid.direction_matrix[world, axis] > 0
        for end in (0, -1):
            if np.mean(np.take(matter, end, axis=axis)) > CUT_SHARE:
                cut.append(SIDES[world][int((end == -1) == ahead)])
    if not cut:
        return []
    sides = f"{', '.join(sorted(cut))} side{'s' if len(cut) > 1 else ''}"
    return [f"the CT ends within the body on its {sides}: rays through there miss tissue"]


def _box(matter: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Index range of the matter, (3, 2) outer faces; None if there is none."""
    spans = []
    for axis in range(3):
        found = np.flatnonzero(matter.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(found) == 0:
            return None
        spans.append((found[0] - 0.5, found[-1] + 0.5))
    return np.array(spans)


def shadow(camera: Camera, grid: Grid, box: NDArray) -> tuple[NDArray, NDArray]:
    """Least and largest (column, row) of the corners of an index box; corners behind the source count as everywhere."""
    corners = np.array([[box[0][a], box[1][b], box[2][c]] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    pixels = camera.project(grid.to_world(corners))
    if np.isnan(pixels).any():
        return np.full(2, -np.inf), np.full(2, np.inf)
    return pixels.min(0), pixels.max(0)


def _point(mm: NDArray) -> str:
    return "(" + ", ".join(f"{v:.0f}" for v in mm) + ")"
