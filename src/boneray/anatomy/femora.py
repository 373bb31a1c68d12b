"""Both femora together, as far as the field of view shows them."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import FEMORA

BOTH = add(
    Anatomy(
        name="femora",
        bones=FEMORA,
        one_bone=False,
        grid_size_mm=448.0,
        grid_voxels=128,
        views=("ap", "lat"),
        landmarks=(),
        source="Swin-X2S: left and right femur in one volume",
    ),
    "both femora in the field of view",
)
