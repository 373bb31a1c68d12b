"""The outline of a bone as a camera sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from boneray.core.camera import Camera
from boneray.core.volume import LabelMap
from boneray.projection.maximum import ray_maxima


def projected_outline(labels: LabelMap, bone_id: int, camera: Camera) -> list[NDArray[np.float64]]:
    """Silhouette contours of one bone as (n, 2) polylines of (column, row) pixels; empty if unseen.

    Drawn where the ray touches the surface: where the interpolated bone mask reaches one half.
    """
    touched = np.pad(ray_maxima(labels.mask(bone_id), labels.grid, camera), 1)
    contours = find_contours(touched, 0.5)
    return [contour[:, ::-1] - 1.0 for contour in contours if len(contour) >= 4]
