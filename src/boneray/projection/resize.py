"""Reading a radiograph out at another number of pixels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from boneray.core.radiograph import Radiograph


def resized(radiograph: Radiograph, shape: tuple[int, int]) -> Radiograph:
    """The same picture with (rows, columns) pixels; anti-aliased, its camera adjusted with it."""
    values = radiograph.line_integrals
    if values.shape == shape:
        return radiograph
    factors = [old / new for old, new in zip(values.shape, shape, strict=True)]
    if all(f == int(f) and f >= 1 for f in factors):
        rows, columns = (int(f) for f in factors)
        small = values.reshape(shape[0], rows, shape[1], columns).mean(axis=(1, 3))
    else:
        from skimage.transform import resize  # takes a quarter of a second to load

        sigma = [max(0.0, (f - 1) / 2) for f in factors]
        small = resize(ndimage.gaussian_filter(values, sigma), shape, order=1, mode="edge", anti_aliasing=False)
    return Radiograph(small.astype(np.float32), radiograph.camera.resized(shape), radiograph.scaled)
