"""The table of phantoms: one factory per anatomy, found by being registered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boneray.core.registry import Registry
from boneray.phantom.scene import Scene

# A factory draws one patient: (rng, deformity) -> Scene. It knows nothing of voxels.
Factory = Callable[[np.random.Generator, str], Scene]

PHANTOMS: Registry[Factory] = Registry("phantom", "boneray.phantom", "boneray.phantoms")
