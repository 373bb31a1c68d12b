"""Does the result explain the radiographs? The bones projected back onto them, and how well the edges meet.

Of every view the line integrals of the bones' labels (mm of bone along the ray) are compared with the picture by the
correlation of their gradients, as 2D/3D registration does (`boneray.projection.registration`): soft tissue, which
changes slowly, counts little. Only the neighbourhood of the bones' shadow is compared. 1 is the same picture, 0
nothing in common. The outlines themselves come from `boneray.projection.outline`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.projection.joseph import line_integrals
from boneray.projection.outline import projected_outline
from boneray.projection.resize import resized
from boneray.reconstruction.film_values import cut_to_grid

NEAR_MM = 12.0
COMPARED_PX = 128
BLUR_PX = 1.0


@dataclass(frozen=True)
class Agreement:
    """How well a result explains one view.

    Attributes:
        score: correlation of the gradients near the bones' shadow, -1 to 1.
        covered: share of the bones' shadow that lies within the picture.
    """

    score: float
    covered: float


def agreements(labels: LabelMap, radiographs: Mapping[str, Radiograph]) -> dict[str, Agreement]:
    """How well the bones together explain each view."""
    thickness = (labels.data > 0).astype(np.float32)
    return {view: _agreement(thickness, labels, radiograph) for view, radiograph in radiographs.items()}


def outlines(labels: LabelMap, radiographs: Mapping[str, Radiograph]) -> dict[str, dict[int, list[NDArray]]]:
    """By view and bone id the polylines of (column, row) pixels on the radiograph as it is given."""
    return {
        view: {bone_id: projected_outline(labels, bone_id, radiograph.camera) for bone_id in labels.ids}
        for view, radiograph in radiographs.items()
    }


def _agreement(thickness: NDArray[np.float32], labels: LabelMap, radiograph: Radiograph) -> Agreement:
    cut = cut_to_grid(radiograph, labels.grid)
    rows, columns = cut.line_integrals.shape
    small = resized(cut, (min(rows, COMPARED_PX), min(columns, COMPARED_PX)))
    seen = line_integrals(thickness, labels.grid, small.camera)
    if not seen.any():
        return Agreement(0.0, 0.0)
    near = ndimage.distance_transform_edt(seen <= 0, small.camera.pixel_mm) <= NEAR_MM
    return Agreement(_gradient_correlation(seen, small.line_integrals, near), _covered(thickness, labels, radiograph))


def _gradient_correlation(first: NDArray, second: NDArray, near: NDArray[np.bool_]) -> float:
    """Mean correlation of the two derivatives over the pixels of `near`; 0 where there is no contrast."""
    soft = [ndimage.gaussian_filter(np.asarray(picture, dtype=np.float64), BLUR_PX) for picture in (first, second)]
    found = []
    for axis in (0, 1):
        a, b = (np.gradient(picture, axis=axis)[near] for picture in soft)
        a, b = a - a.mean(), b - b.mean()
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        found.append(float(a @ b) / size if size > 0 else 0.0)
    return float(np.mean(found))


def _covered(thickness: NDArray[np.float32], labels: LabelMap, radiograph: Radiograph) -> float:
    """Share of the bone's voxels that are projected into the picture."""
    index = np.argwhere(thickness > 0)
    pixels = radiograph.camera.project(labels.grid.to_world(index[:: max(1, len(index) // 5000)]))
    rows, columns = radiograph.camera.detector_shape
    inside = (pixels >= -0.5).all(1) & (pixels[:, 0] <= columns - 0.5) & (pixels[:, 1] <= rows - 0.5)
    return float(inside.mean())
