"""Is a bone in one piece, and has it holes it should not have?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import euler_number

from boneray.metrics.facts import PairFacts
from boneray.metrics.registry import metric

SOURCE = "26-connected bone, 6-connected background; Euler number = components - tunnels + cavities"


@dataclass(frozen=True)
class Topology:
    """Pieces, tunnels through and cavities within a mask; all 0 for an empty one."""

    components: int
    tunnels: int
    cavities: int


def topology(mask: NDArray[np.bool_]) -> Topology:
    """Topology of a mask (i, j, k); bone voxels touch at corners, background only at faces."""
    if not mask.any():
        return Topology(0, 0, 0)
    padded = np.pad(mask, 1)
    components = int(ndimage.label(padded, structure=np.ones((3, 3, 3), dtype=bool))[1])
    cavities = int(ndimage.label(~padded)[1]) - 1
    return Topology(components, components + cavities - int(euler_number(padded, connectivity=3)), cavities)


def _register(side: str, what: str, summary: str, mask_of: Callable[[PairFacts], NDArray[np.bool_]]) -> None:
    @metric(
        f"{what}_{side}",
        f"{summary} of the {side}",
        unit="1",
        direction="none",
        empty="0 where the bone is absent",
        source=SOURCE,
        reported=False,
    )
    def value(facts: PairFacts) -> float:
        return float(getattr(topology(mask_of(facts)), what))


for _what, _summary in (
    ("components", "separate pieces"),
    ("tunnels", "holes through the bone"),
    ("cavities", "closed holes inside the bone"),
):
    _register("reference", _what, _summary, lambda facts: facts.reference)
    _register("prediction", _what, _summary, lambda facts: facts.prediction)
