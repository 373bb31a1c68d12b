"""The rib cage: 24 ribs."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import RIBS

RIB_CAGE = add(
    Anatomy(
        name="ribs",
        bones=RIBS,
        one_bone=False,
        grid_size_mm=360.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(),
        source="XrayTo3D benchmark (320 mm cube), widened to hold large chests; 24 ids of Swin-X2S",
    ),
    "the twelve pairs of ribs",
)
