"""Every bone of the table, whole field of view."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import NAMES

ALL = add(
    Anatomy(
        name="all",
        bones=NAMES,
        one_bone=False,
        grid_size_mm=480.0,
        grid_voxels=128,
        views=("ap", "lat"),
        landmarks=(),
        source="Swin-X2S: the 54-bone set of TotalSegmentator",
    ),
    "all 54 bones in the field of view",
)
