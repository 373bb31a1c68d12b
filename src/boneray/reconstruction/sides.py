"""Left and right: the mirror image of a patient's radiographs, and of the bones found in it.

A checkpoint that knows one side only (its card says so, or all its classes are of one side) is shown the mirror image
of a patient whose other side is wanted. The world is reflected at a sagittal plane, x to 2 c - x. A camera has no
mirror, so the reflected camera is given back its handedness by turning the columns of its detector over, and with them
the picture: what a radiograph shows is the same, seen in a mirror.

A network that learnt lateral views from the right has never seen one from the left, and reflected patients are seen
from there, as are PA films where AP ones were learnt. The two pictures differ by a turn of the columns and by what is
magnified more. So a view from the opposite side is shown to the network with its columns turned over and its depth
counted from the other end, while the projection it lifts by remains the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from boneray.core.bones import bone, bone_name
from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import GeometryError
from boneray.core.mesh import Mesh
from boneray.core.radiograph import Radiograph
from boneray.core.views import view_angles
from boneray.core.volume import LabelMap
from boneray.models.card import CheckpointCard
from boneray.models.network_input import NetworkInput

OPPOSITE = -0.5  # cosine to the trained beam from which a view counts as taken from the other side
_FLIP = np.diag([-1.0, 1.0, 1.0])


def other_side(name: str) -> str:
    """The bone of the other side: femur_left for femur_right; a bone without side is its own."""
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(part, part) for part in name.split("_"))


def side_of(card: CheckpointCard) -> str:
    """left or right if the checkpoint knows that side only, else empty.

    The card's `training` may say `side`; otherwise all classes that have a side must have the same.
    """
    stated = str(card.training.get("side", ""))
    if stated in ("left", "right"):
        return stated
    sides = {part for name in card.classes for part in name.split("_") if part in ("left", "right")}
    return sides.pop() if len(sides) == 1 else ""


def as_learnt(given: NetworkInput, cameras: Sequence[Camera], card: CheckpointCard) -> NetworkInput:
    """The input with every view that was taken from the side opposite to the trained one turned over."""
    images, projections, depths = (np.array(a) for a in (given.images, given.projections, given.depths))
    for i, (camera, name) in enumerate(zip(cameras, card.views, strict=False)):
        try:
            angle, cranial = view_angles(name)
        except GeometryError:  # a view by another name stands where it likes
            continue
        learnt = orbit_camera(angle, cranial_deg=cranial).central_ray
        if float(camera.central_ray @ learnt) < OPPOSITE:
            images[:, i] = images[:, i, ..., ::-1]
            projections[:, i, 0] *= -1.0
            depths[:, i] *= -1.0
    return NetworkInput(images, projections, depths)


def mirrored_camera(camera: Camera, x_mm: float) -> Camera:
    """The camera of the reflected world whose picture is turned over."""
    pose = np.eye(4)
    pose[:3, :3] = _FLIP @ camera.pose[:3, :3] @ _FLIP
    pose[:3, 3] = camera.pose[:3, 3] * (-1.0, 1.0, 1.0) + (2.0 * x_mm, 0.0, 0.0)
    row0, column0 = camera.principal_point_px
    return replace(
        camera,
        principal_point_px=(row0, camera.detector_shape[1] - 1 - column0),
        world_from_camera=tuple(pose.ravel()),
    )


def mirrored_radiograph(radiograph: Radiograph, x_mm: float) -> Radiograph:
    """The radiograph of the patient reflected at the sagittal plane through `x_mm`."""
    values = np.ascontiguousarray(radiograph.line_integrals[:, ::-1])
    return Radiograph(values, mirrored_camera(radiograph.camera, x_mm), radiograph.scaled)


def mirrored_labels(labels: LabelMap, x_mm: float) -> LabelMap:
    """The label map of the reflected patient on the reflected grid (axis-aligned RAS); sides change names."""
    grid = labels.grid
    far = grid.origin_mm[0] + grid.spacing_mm[0] * (grid.shape[0] - 1)
    table = np.arange(256, dtype=np.uint8)
    for bone_id in labels.ids:
        name = bone_name(bone_id)
        if other_side(name) != name:
            table[bone_id] = bone(other_side(name)).bone_id
    reflected = replace(grid, origin_mm=(2.0 * x_mm - far, *grid.origin_mm[1:]))
    return LabelMap(np.ascontiguousarray(table[labels.data[::-1]]), reflected)


def mirrored_mesh(mesh: Mesh, x_mm: float) -> Mesh:
    """The surface of the reflected bone; faces are turned so that they still look outwards."""
    vertices = mesh.vertices_mm * (-1.0, 1.0, 1.0) + (2.0 * x_mm, 0.0, 0.0)
    return replace(mesh, vertices_mm=vertices, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))
