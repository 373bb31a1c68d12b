"""The proximal femur, one side at a time."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import FEMORA

FEMUR = add(
    Anatomy(
        name="femur",
        bones=FEMORA,
        one_bone=True,
        grid_size_mm=128.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=("femoral_head_centre", "neck_centre", "shaft_proximal", "shaft_distal"),
        source="XrayTo3D benchmark: 128 mm cube about the proximal femur",
    ),
    "proximal femur of one side",
)
