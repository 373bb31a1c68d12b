"""The outline of a bone as a camera sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from boneray.core.camera import Camera
from boneray.core.volume import LabelMap
from boneray.projection.joseph import line_integrals


def projected_thickness(labels: LabelMap, bone_id: int, camera: Camera) -> NDArray[np.float32]:
    """Thickness of one bone along each ray in mm, (rows, columns)."""
    return line_integrals(labels.mask(bone_id), labels.grid, camera)


def projected_outline(labels: LabelMap, bone_id: int, camera: Camera) -> list[NDArray[np.float64]]:
    """Silhouette contours of one bone as (n, 2) polylines of (column, row) pixels; empty if unseen.

    The contour is drawn where the ray crosses half a voxel of bone, on a picture fine enough to
    resolve the voxels.
    """
    level_mm = 0.5 * min(labels.grid.spacing_mm)
    thickness = np.pad(projected_thickness(labels, bone_id, camera), 1)
    contours = find_contours(thickness, level_mm)
    return [contour[:, ::-1] - 1.0 for contour in contours if len(contour) >= 4]
