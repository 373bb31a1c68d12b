"""The pelvis: both hip bones and the sacrum."""

from boneray.anatomy.registry import Anatomy, add
from boneray.core.bones import HIPS

PELVIS = add(
    Anatomy(
        name="pelvis",
        bones=("sacrum", *HIPS),
        one_bone=False,
        grid_size_mm=320.0,
        grid_voxels=64,
        views=("ap", "lat"),
        landmarks=(
            "anterior_superior_iliac_spine_left",
            "anterior_superior_iliac_spine_right",
            "pubic_tubercle_left",
            "pubic_tubercle_right",
            "posterior_superior_iliac_spine_left",
            "posterior_superior_iliac_spine_right",
            "ischial_spine_left",
            "ischial_spine_right",
            "sacral_promontory",
        ),
        source="XrayTo3D benchmark (288 mm cube), widened to hold large pelves; landmarks of Fischer 2019",
    ),
    "both hip bones and the sacrum",
)
