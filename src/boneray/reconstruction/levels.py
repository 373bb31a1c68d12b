"""A spine from whole films: a model of one vertebra, level by level, composed in the world.

The file of regions says where each level is in each view, in pixels of the film as it was given:

    {"levels": {"L3": {"ap": [412, 630], "lat": {"box": [300, 580, 420, 690]}}, ...}}

A pair is a centroid (column, row), four numbers are a box (first column, first row, last column, last row), whose
middle counts. The rays through the centroids of a level meet at its centre, where the working grid goes. Levels are
then laid into one grid of the same voxels; where two claim a voxel, the one whose centre is nearer has it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone
from boneray.core.camera import Camera
from boneray.core.errors import ConfigError, DataError, InputError
from boneray.core.grid import Grid
from boneray.core.purpose import DEMONSTRATION
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.geometry.surface import faithful_meshes
from boneray.io.files import read_json
from boneray.reconstruction.agreement import agreements
from boneray.reconstruction.checks import checks_of_films, checks_of_geometry, require
from boneray.reconstruction.radiographs import LoadedRadiographs, Values, load_radiographs
from boneray.reconstruction.reconstruct import Reconstruction, Reconstructor, write_reconstruction
from boneray.reconstruction.sources import require_writable

MOST_APART_MM = 25.0  # rays of one level that miss each other by more belong to different vertebrae


def read_regions(file: Path, views: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """(column, row) of the middle of each level in each view, levels in the file's order.

    Raises:
        InputError: not such a file, an unknown level, or a level that lacks a view.
    """
    values = read_json(file, "regions")
    levels = values.get("levels")
    if not isinstance(levels, dict) or not levels:
        raise InputError(f'regions {file} has no "levels"; see docs/own-xrays.md')
    found = {}
    for level, places in levels.items():
        try:
            bone(level)
        except ConfigError as error:
            raise InputError(f"regions {file}: {error}") from None
        if not isinstance(places, dict) or any(view not in places for view in views):
            raise InputError(f"regions {file}: level {level} needs a place in each view ({', '.join(views)})")
        found[level] = {view: _middle(places[view], file, level, view) for view in views}
    return found


def _middle(place: Any, file: Path, level: str, view: str) -> tuple[float, float]:
    numbers: Any = place.get("box", place.get("centroid")) if isinstance(place, dict) else place
    try:
        values = [float(n) for n in numbers or ()]
    except (TypeError, ValueError):
        values = []
    if len(values) not in (2, 4) or not np.all(np.isfinite(values)):
        raise InputError(f"regions {file}: level {level}, view {view}: {place!r} is neither a centroid nor a box")
    if len(values) == 4:
        return (values[0] + values[2]) / 2, (values[1] + values[3]) / 2
    return values[0], values[1]


def meeting(cameras: Mapping[str, Camera], pixels: Mapping[str, tuple[float, float]]) -> tuple[NDArray, float]:
    """The point nearest to the rays through one pixel of each view, RAS mm, and its largest distance from them."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    rays = [cameras[view].ray(pixel) for view, pixel in pixels.items()]
    for start, direction in rays:
        across = np.eye(3) - np.outer(direction, direction)
        normal += across
        right += across @ start
    if np.linalg.cond(normal) > 1e6:
        raise DataError("one view, or parallel ones, cannot place a vertebra in space; give two from different sides")
    point = np.linalg.solve(normal, right)
    off = [float(np.linalg.norm((np.eye(3) - np.outer(d, d)) @ (point - s))) for s, d in rays]
    return point, max(off)


def spine_from_levels(
    reconstructor: Reconstructor,
    radiographs: dict[str, Radiograph],
    places: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    anyway: bool = False,
) -> tuple[LabelMap, tuple[str, ...]]:
    """All levels in one label map, and warnings.

    Raises:
        DataError: the rays of a level do not meet, or a check refuses.
    """
    found, centres = [], []
    warnings: list[str] = []
    cameras = {view: r.camera for view, r in radiographs.items()}
    for level, pixels in places.items():
        centre, apart = meeting(cameras, dict(pixels))
        if apart > MOST_APART_MM:
            raise DataError(f"level {level}: its places in the views miss each other by {apart:.0f} mm in space")
        warnings += require(checks_of_geometry(radiographs, reconstructor.card.grid_at(centre)), anyway=anyway)
        labels = reconstructor.labels(radiographs, target=level, centre_mm=centre)
        if not labels.ids:
            warnings.append(f"not found: {level}")
            continue
        found.append(labels)
        centres.append(centre)
    if not found:
        raise DataError("nothing was reconstructed: the network found no vertebra; check the regions and the cameras")
    return composed(found, centres), tuple(warnings)


def composed(parts: Sequence[LabelMap], centres_mm: Sequence[NDArray]) -> LabelMap:
    """Label maps of axis-aligned grids with the same spacing, laid into one grid that holds all.

    Parts are moved by less than half a voxel to fit. A voxel that several claim goes to the nearest centre.
    """
    spacing = np.array(parts[0].grid.spacing_mm)
    low = np.min([part.grid.origin_mm for part in parts], axis=0)
    high = np.max([part.grid.to_world(np.array(part.grid.shape) - 1) for part in parts], axis=0)
    shape = tuple(int(n) for n in np.round((high - low) / spacing) + 1)
    grid = Grid(shape, tuple(spacing), tuple(low))  # type: ignore[arg-type]
    out = np.zeros(shape, np.uint8)
    nearest = np.full(shape, np.inf, np.float32)
    for part, centre in zip(parts, centres_mm, strict=True):
        first = np.round((np.array(part.grid.origin_mm) - low) / spacing).astype(int)
        index = np.argwhere(part.data > 0)
        at = tuple((index + first).T)
        distance = np.linalg.norm(part.grid.to_world(index) - centre, axis=1).astype(np.float32)
        wins = distance < nearest[at]
        at = tuple(axis[wins] for axis in at)
        out[at] = part.data[part.data > 0][wins]
        nearest[at] = distance[wins]
    return LabelMap(out, grid)


def reconstruct_levels(
    files: dict[str, Path],
    cameras: Sequence[Path],
    roi: Path,
    *,
    checkpoint: str,
    out: Path,
    sdd_mm: float | None = None,
    sod_mm: float | None = None,
    pixel_mm: float | None = None,
    values: Values = "auto",
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    anyway: bool = False,
    reconstructor: Reconstructor | None = None,
) -> dict[str, Any]:
    """Reconstruct the levels of `roi` from whole films and write one spine. Returns run.json.

    Raises:
        ConfigError: the checkpoint is not of one vertebra; InputError, DataError, GeometryError as above.
    """
    loaded = load_radiographs(
        files, cameras=cameras, sdd_mm=sdd_mm, sod_mm=sod_mm, pixel_mm=pixel_mm, values=values, whole=True
    )
    places = read_regions(roi, list(files))
    reconstructor = reconstructor or Reconstructor.load(checkpoint)
    if reconstructor.card.anatomy != "vertebra":
        raise ConfigError(f"--roi needs a checkpoint of one vertebra; this one shows {reconstructor.card.anatomy}")
    require_writable(out, force=force)
    warnings = require(checks_of_films(loaded, reconstructor.card, ""), anyway=anyway)
    started = time.perf_counter()
    labels, more = spine_from_levels(reconstructor, loaded.radiographs, places, anyway=anyway)
    meshes = faithful_meshes(labels)
    if reconstructor.is_demonstration:
        more = (*more, DEMONSTRATION)
    result = Reconstruction(labels, meshes, (*warnings, *more), time.perf_counter() - started)
    return _written(out, result, reconstructor, loaded, checkpoint, roi, formats, force)


def _written(
    out: Path,
    result: Reconstruction,
    reconstructor: Reconstructor,
    loaded: LoadedRadiographs,
    checkpoint: str,
    roi: Path,
    formats: tuple[str, ...],
    force: bool,
) -> dict[str, Any]:
    card = replace(reconstructor.card, anatomy=find_anatomy("spine").name)
    fit = agreements(result.labels, loaded.radiographs)
    return write_reconstruction(
        out,
        result,
        card,
        case_id=out.resolve().name,
        radiographs=loaded.radiographs,
        target="",
        formats=formats,
        force=force,
        inputs={"views": loaded.to_dict(), "regions": roi.name, "checkpoint": str(checkpoint)},
        more={"assumed": list(loaded.notes), "reprojection": {view: vars(one) for view, one in fit.items()}}
        | reconstructor.about(),
    )
