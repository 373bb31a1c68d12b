"""The liver, as an example of a soft organ. Adds it to the table of bones."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import add_bone

ORGAN = add_bone("liver", 65).name

LIVER = add(
    Anatomy(
        name="liver",
        bones=(ORGAN,),
        one_bone=False,
        grid_size_mm=288.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(),
        source="boneray: about 220 mm wide in adults",
    ),
    "liver",
)
