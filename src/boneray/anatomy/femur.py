"""The proximal femur, one side at a time.

The grid is taller than the 128 mm of the XrayTo3D benchmark: a neck-shaft angle needs at least 4.2
head radii of bone below the head centre, and 128 mm do not hold them for a large head.
"""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import FEMORA

FEMUR = add(
    Anatomy(
        name="femur",
        bones=FEMORA,
        one_bone=True,
        grid_size_mm=144.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=("femoral_head_centre", "neck_centre", "shaft_proximal", "shaft_distal"),
        source="XrayTo3D benchmark (128 mm cube about the proximal femur), made taller to hold the shaft axis",
    ),
    "proximal femur of one side",
)
