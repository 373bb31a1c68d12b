"""One vertebra with its neighbours out of the target."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import VERTEBRAE

VERTEBRA = add(
    Anatomy(
        name="vertebra",
        bones=VERTEBRAE,
        one_bone=True,
        grid_size_mm=96.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=("body_centre", "spinous_process_tip"),
        source="XrayTo3D benchmark: 96 mm cube about one vertebra",
    ),
    "one vertebra",
)
