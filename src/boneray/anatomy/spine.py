"""The part of the spine that the grid holds."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import VERTEBRAE

SPINE = add(
    Anatomy(
        name="spine",
        bones=VERTEBRAE,
        one_bone=False,
        grid_size_mm=256.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=("body_centre",),
        source="Swin-X2S: labelled vertebrae C1..L6",
    ),
    "all vertebrae in the field of view",
)
