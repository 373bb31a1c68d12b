"""A metal implant, whatever it is fixed to. Adds it to the table of bones, since it is reconstructed like one."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import add_bone

METAL = add_bone("implant", 64).name

IMPLANT = add(
    Anatomy(
        name="implant",
        bones=(METAL,),
        one_bone=False,
        grid_size_mm=192.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(),
        source="boneray: holds the stem and cup of a hip prosthesis",
    ),
    "metal implant",
)
