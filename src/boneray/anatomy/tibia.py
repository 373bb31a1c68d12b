"""The proximal tibia, one side at a time. Adds both tibiae to the table of bones."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import add_bone

TIBIAE = (add_bone("tibia_left", 60).name, add_bone("tibia_right", 61).name)

TIBIA = add(
    Anatomy(
        name="tibia",
        bones=TIBIAE,
        one_bone=True,
        grid_size_mm=160.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(),
        source="boneray: the plateau (about 75 mm wide) and the upper third of the shaft",
    ),
    "proximal tibia of one side",
)
