"""The shoulder blade, one side at a time. Adds both scapulae to the table of bones."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import add_bone

SCAPULAE = (add_bone("scapula_left", 62).name, add_bone("scapula_right", 63).name)

SCAPULA = add(
    Anatomy(
        name="scapula",
        bones=SCAPULAE,
        one_bone=True,
        grid_size_mm=192.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(),
        source="boneray: about 160 mm long and 110 mm wide in adults",
    ),
    "shoulder blade of one side",
)
