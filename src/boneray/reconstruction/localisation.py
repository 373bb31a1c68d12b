"""Where the bone is on a large film: the place whose field looks most like the pictures the network knows.

The strangeness of `familiarity` is searched for its minimum: every view over a lattice of places across its beam, then
the sum of all views over the places in space that have been tried, then finer about the best. Needs a calibration.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone_side
from boneray.core.errors import DataError, InputError
from boneray.core.radiograph import Radiograph
from boneray.models.card import CheckpointCard
from boneray.reconstruction.calibration import Calibration
from boneray.reconstruction.familiarity import kind_of, thumbnail
from boneray.reconstruction.film_values import pooled, shown_share

COARSE_MM, FINE_MM, FINE_STEPS = 12.0, 4.0, 3
SHOWN = 0.8
SEARCHED_PX = 512


def located(
    radiographs: Mapping[str, Radiograph],
    card: CheckpointCard,
    target: str,
    calibration: Calibration | None,
    start_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Centre of the bone, (3,) RAS mm, found from `start_mm` (where the central rays pass closest).

    Raises:
        InputError: no calibration, so nothing to compare with; DataError: no place shows the grid in all views.
    """
    if calibration is None:
        raise InputError("the bone cannot be located without a calibration of the checkpoint; give --centre-mm x,y,z")
    small = [pooled(r, SEARCHED_PX) for r in radiographs.values()]
    side = bone_side(target) if target else "none"

    def strangeness(centre: NDArray[np.float64]) -> float:
        total = 0.0
        for radiograph in small:
            grid = card.grid_at(centre)
            known = calibration.descriptions.get(kind_of(radiograph.camera))
            if known is None or shown_share(radiograph.camera, grid) < SHOWN:
                return np.inf
            total += known.strangeness(thumbnail(radiograph, grid, side))
        return total

    reach = 0.5 * max(_field_mm(r, start_mm) for r in small)
    steps = np.arange(-np.floor(reach / COARSE_MM), np.floor(reach / COARSE_MM) + 1) * COARSE_MM
    best, least = start_mm, strangeness(start_mm)
    # One height after the other: the best place across is found for each view's own direction in turn.
    for dz in steps:
        at = start_mm + np.array([0.0, 0.0, dz])
        for axis in (0, 1, 0):
            tried = [at + step * np.eye(3)[axis] for step in steps]
            found = [strangeness(place) for place in tried]
            if np.isfinite(min(found)):
                at = tried[int(np.argmin(found))]
                if min(found) < least:
                    best, least = at, min(found)
    for step in (FINE_MM, FINE_MM / 2):
        for _ in range(FINE_STEPS):
            tried = [best + step * sign * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
            found = [strangeness(place) for place in tried]
            if min(found) >= least:
                break
            best, least = tried[int(np.argmin(found))], min(found)
    if not np.isfinite(least):
        raise DataError("no place on the films shows the whole working grid; give the bone's centre with --centre-mm")
    return best


def _field_mm(radiograph: Radiograph, at_mm: NDArray[np.float64]) -> float:
    """The longer edge of a film, at the depth of a point."""
    camera = radiograph.camera
    edge = max(n * pitch for n, pitch in zip(camera.detector_shape, camera.pixel_mm, strict=True))
    if camera.kind == "parallel":
        return edge
    return edge * float((at_mm - camera.source_mm) @ camera.central_ray) / camera.source_detector_mm
