"""Volume of any bone."""

from __future__ import annotations

from boneray.morphometry.facts import BoneFacts
from boneray.morphometry.registry import Finding, measurement


@measurement(
    "bone_volume_mm3",
    "volume of the bone in the field of view",
    unit="mm3",
    definition="voxels of the label times the volume of a voxel; for a mesh the volume it encloses",
    normal="",
    source="definition",
    anatomy="any",
)
def bone_volume_mm3(facts: BoneFacts) -> Finding:
    """Volume of all parts of the bone; of a bone cut by the grid only what is seen."""
    if facts.border:
        return Finding(facts.volume_mm3, "low_confidence", f"cut by the grid ({', '.join(facts.border)})")
    return Finding(facts.volume_mm3)
