"""Depth projection: where the rays of a camera enter and leave each bone.

Front and back depth are what 3DDX predicts from one radiograph; between them lies the bone's thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.depth_surface import points_of_depth, surface_of_depth, volume_of_depth_mm3
from boneray.projection.joseph import BLOCK, flattened, ray_length_mm
from boneray.projection.rays import in_threads, ray_fan
from boneray.projection.siddon import enter_volume, next_voxel

Faces = Literal["both", "front"]


@dataclass(frozen=True)
class DepthMaps:
    """Front and back face of each bone as one camera sees them.

    Attributes:
        bone_ids: the bones, in the order of the maps.
        front_mm, back_mm: (bones, rows, columns) float32, mm along the ray from the source (of a
            parallel beam from the plane through the camera's origin) to where it first enters
            and last leaves the bone; NaN where the ray misses it.
    """

    bone_ids: tuple[int, ...]
    front_mm: NDArray[np.float32]
    back_mm: NDArray[np.float32]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where a ray meets the bone, (bones, rows, columns)."""
        return np.isfinite(self.front_mm)

    @property
    def thickness_mm(self) -> NDArray[np.float32]:
        """From the front to the back face, gaps between them included; NaN where missed."""
        return self.back_mm - self.front_mm

    def points(self, camera: Camera, *, faces: Faces = "both") -> list[NDArray[np.float64]]:
        """The surface points in RAS mm that the maps stand for, (n, 3) per bone; front before back."""
        both = zip(self.front_mm, self.back_mm, strict=True)
        return [points_of_depth(np.stack(pair[: 2 if faces == "both" else 1]), camera) for pair in both]

    def surfaces(self, camera: Camera) -> list[Mesh | None]:
        """A closed surface per bone from its two faces; None for a bone that is not in the picture."""
        both = zip(self.front_mm, self.back_mm, strict=True)
        return [surface_of_depth(f, b, camera) if np.isfinite(f).any() else None for f, b in both]

    def volumes_mm3(self, camera: Camera) -> list[float]:
        """Volume between the faces of each bone, gaps included; 0 for a bone that is not in the picture."""
        both = zip(self.front_mm, self.back_mm, strict=True)
        return [volume_of_depth_mm3(front, back, camera) for front, back in both]

    def centred(self, depth_mm: float) -> DepthMaps:
        """All maps moved along their rays until the mean of all their depths is `depth_mm`.

        3DDX's depth-centre alignment: a network trained by CASI leaves the common depth open.

        Raises:
            DataError: no pixel holds a depth.
        """
        if not self.valid.any():
            raise DataError("no pixel of the depth maps holds a depth; there is no centre to move")
        shift = np.float32(depth_mm - np.nanmean(np.stack([self.front_mm, self.back_mm]), dtype=float))
        return replace(self, front_mm=self.front_mm + shift, back_mm=self.back_mm + shift)


def depth_maps(labels: LabelMap, camera: Camera, bone_ids: Sequence[int] | None = None) -> DepthMaps:
    """Front and back depth of bones, all in one walk per ray.

    The walk goes from voxel face to voxel face; each crossing is then placed where the
    interpolated mask of the bone passes one half, so that the result is finer than a voxel.

    Args:
        labels: bone ids on a grid.
        camera: any pose.
        bone_ids: which bones, in this order; default: all that occur.
    Raises:
        DataError: an id is not between 1 and 255, or is named twice.
    """
    ids = tuple(labels.ids if bone_ids is None else (int(i) for i in bone_ids))
    if len(set(ids)) != len(ids) or any(not 0 < i < 256 for i in ids):
        raise DataError(f"bone ids {ids} must be different whole numbers from 1 to 255")
    order = np.zeros(256, np.uint8)
    order[list(ids)] = np.arange(1, len(ids) + 1)
    data = np.ascontiguousarray(order[np.clip(labels.data, 0, 255)] * (labels.data < 256))
    flat, shape, jump = flattened(data)
    fan = ray_fan(camera, labels.grid)
    rows, columns = fan.shape
    out = np.full((columns, rows, 2, len(ids)), np.nan, np.float32)

    def block(first: int) -> None:
        part = out[first : first + BLOCK]
        _depth_block(flat, shape, jump, fan.start, fan.step, fan.length_mm, fan.forward_only, first, part)

    in_threads(block, range(0, columns, BLOCK))
    front, back = out.transpose(2, 3, 1, 0)
    return DepthMaps(ids, np.ascontiguousarray(front), np.ascontiguousarray(back))


@njit(cache=True, nogil=True)
def _depth_block(flat, shape, jump, start, step, length_mm, forward_only, first, out):  # pragma: no cover - compiled
    voxel, sign = np.empty(3, np.int64), np.empty(3, np.int64)
    time = np.empty(8)
    bones = out.shape[3]
    for b in range(out.shape[0]):
        column = first + b
        for row in range(out.shape[1]):
            if not enter_volume(shape, start, step, forward_only, column, row, voxel, sign, time):
                continue
            face = out[b, row]
            before, inside = 0, True
            while inside:
                here = flat[voxel[0] * jump[0] + voxel[1] * jump[1] + voxel[2] * jump[2]]
                now = time[0]
                inside = next_voxel(shape, voxel, sign, time)
                if here > 0:
                    if here != before and np.isnan(face[0, here - 1]):
                        face[0, here - 1] = now
                    face[1, here - 1] = time[0]
                before = here
            unit_mm = ray_length_mm(length_mm, column, row)
            for bone in range(bones):
                if np.isnan(face[0, bone]):
                    continue
                for side in range(2):
                    t = _half_crossing(
                        flat, shape, jump, start, step, column, row, face[side, bone], bone + 1, 1 - 2 * side
                    )
                    face[side, bone] = t * unit_mm
                if face[1, bone] < face[0, bone]:
                    middle = 0.5 * (face[0, bone] + face[1, bone])
                    face[0, bone] = face[1, bone] = middle


@njit(cache=True, nogil=True)
def _half_crossing(flat, shape, jump, start, step, column, row, t, bone, inward):  # pragma: no cover - compiled
    """t near the face crossing at which the interpolated mask passes one half; t itself if it does not.

    Looks one voxel to either side, from outside (-inward) to inside.
    """
    place, along = np.empty(3), np.empty(3)
    longest = 0.0
    for axis in range(3):
        place[axis] = start[0, axis] + column * start[1, axis] + row * start[2, axis]
        along[axis] = step[0, axis] + column * step[1, axis] + row * step[2, axis]
        longest = max(longest, abs(along[axis]))
    pace = inward * 0.25 / longest
    last = _mask_at(flat, shape, jump, place, along, t - 4 * pace, bone)
    for n in range(-3, 5):
        value = _mask_at(flat, shape, jump, place, along, t + n * pace, bone)
        if last < 0.5 <= value:
            return t + (n - 1 + (0.5 - last) / (value - last)) * pace
        last = value
    return t


@njit(cache=True, nogil=True)
def _mask_at(flat, shape, jump, place, along, t, bone):  # pragma: no cover - compiled
    """Trilinear interpolation of the mask of one bone; outside the volume there is none."""
    value = 0.0
    i0 = np.floor(place[0] + t * along[0])
    j0 = np.floor(place[1] + t * along[1])
    k0 = np.floor(place[2] + t * along[2])
    for corner in range(8):
        i, j, k = int(i0) + (corner >> 2), int(j0) + ((corner >> 1) & 1), int(k0) + (corner & 1)
        if 0 <= i < shape[0] and 0 <= j < shape[1] and 0 <= k < shape[2]:
            if flat[i * jump[0] + j * jump[1] + k * jump[2]] == bone:
                value += (
                    (1.0 - abs(place[0] + t * along[0] - i))
                    * (1.0 - abs(place[1] + t * along[1] - j))
                    * (1.0 - abs(place[2] + t * along[2] - k))
                )
    return value
