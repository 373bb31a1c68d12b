"""A vertebra made of half planes, whose heights, lengths, canal and process are known in closed form."""

from dataclasses import dataclass, field

import numpy as np

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap


def rotated(direction, angle_deg):
    """A vector (2,) turned counter-clockwise."""
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([c * direction[0] - s * direction[1], s * direction[0] + c * direction[1]])


@dataclass(frozen=True)
class VertebraBody:
    """A vertebra in (x right, y front, z up) mm; its body is a prism over a quadrilateral with sharp corners.

    The posterior wall runs up from the origin of (y, z). The process is a straight bar with round ends
    whose angle to the upper endplate is `spa_deg` and whose front is `canal_mm` behind the wall.
    """

    pvbh_mm: float = 24.0
    svbl_mm: float = 33.0
    ivbl_mm: float = 34.0
    rise_deg: float = 3.0
    fall_deg: float = 2.0
    canal_mm: float = 15.0
    spa_deg: float = 150.0
    process_mm: float = 32.0
    process_height_mm: float = 12.0
    half_width_mm: float = 21.0
    corners: dict = field(init=False)

    def __post_init__(self):
        rise, fall = np.deg2rad(self.rise_deg), np.deg2rad(self.fall_deg)
        top = np.array([0.0, self.pvbh_mm])
        corners = {
            "superior_posterior": top,
            "superior_anterior": top + self.svbl_mm * np.array([np.cos(rise), np.sin(rise)]),
            "inferior_posterior": np.zeros(2),
            "inferior_anterior": self.ivbl_mm * np.array([np.cos(fall), -np.sin(fall)]),
        }
        object.__setattr__(self, "corners", corners)

    @property
    def truth(self):
        """Every number that the shape defines."""
        c = self.corners
        plates = (c["superior_anterior"] - c["superior_posterior"], c["inferior_anterior"] - c["inferior_posterior"])
        middle = (sum(c[f"superior_{w}"] for w in ("anterior", "posterior")) / 2)[1]
        return {
            "anterior_body_height_mm": float(np.linalg.norm(c["superior_anterior"] - c["inferior_anterior"])),
            "posterior_body_height_mm": self.pvbh_mm,
            "superior_body_length_mm": self.svbl_mm,
            "inferior_body_length_mm": self.ivbl_mm,
            "canal_length_mm": self.canal_mm,
            "wedge_angle_deg": self.rise_deg + self.fall_deg,
            "spinous_process_length_mm": self.process_mm,
            "spinous_process_angle_deg": self.spa_deg,
            "middle_body_height_mm": float(middle - (plates[1] / 2)[1]),
        }

    def contains(self, points):
        """Whether points (..., 3) lie in the bone."""
        x, y, z = np.moveaxis(points, -1, 0)
        flat = np.stack([y, z], axis=-1)
        bone = (np.abs(x) <= self.half_width_mm) & self._in_quadrilateral(flat)
        axis = rotated(self._endplate(), -self.spa_deg)
        across = np.array([-axis[1], axis[0]])
        front = self._bar_front(axis)
        along = (flat - front) @ axis
        half = self.process_height_mm / 2
        off = flat - front - np.multiply.outer(np.clip(along, half, self.process_mm - half), axis)
        bone |= (np.linalg.norm(off, axis=-1) <= half) & (np.abs(x) <= 5.0)
        beside = np.abs(x) >= 4.0
        lamina = beside & (np.abs(x) <= 17) & (along >= 3) & (along <= 11)
        lamina &= np.abs((flat - front) @ across) <= self.process_height_mm / 2
        reach = float((front + 8 * axis)[0])
        pedicle = (np.abs(x) >= 11) & (np.abs(x) <= 17) & (y <= 2) & (y >= reach)
        pedicle &= (z >= 0.52 * self.pvbh_mm) & (z <= 0.9 * self.pvbh_mm)
        link = (np.abs(x) >= 11) & (np.abs(x) <= 17) & (y >= reach - 4) & (y <= reach + 4)
        link &= (z >= front[1] - 6) & (z <= 0.9 * self.pvbh_mm)
        return bone | lamina | pedicle | link

    def labels(self, spacing_mm, *, rotation=None, shift_mm=(0.0, 0.0, 0.0), bone="L3", margin_mm=6.0):
        """Label map of the bone turned about its body and shifted, on a grid of cubes along the world axes."""
        turn = np.eye(3) if rotation is None else np.asarray(rotation)
        middle = np.array([0.0, 12.0, 12.0])
        ends = np.array([[x, y, z] for x in (-22, 22) for y in (-64, 36) for z in (-24, 30)], dtype=float)
        world = (ends - middle) @ turn.T + shift_mm
        low, high = world.min(axis=0) - margin_mm, world.max(axis=0) + margin_mm
        grid = Grid(tuple(np.ceil((high - low) / spacing_mm).astype(int)), (spacing_mm,) * 3, tuple(low))
        points = (grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - shift_mm) @ turn + middle
        return LabelMap((self.contains(points) * BONES[bone].bone_id).astype(np.uint8), grid)

    def _endplate(self):
        c = self.corners
        return (c["superior_anterior"] - c["superior_posterior"]) / self.svbl_mm

    def _bar_front(self, axis):
        """Start of the bar's axis, so that its round front reaches to `canal_mm` behind the wall, at half height."""
        half = self.process_height_mm / 2
        middle = np.array([-self.canal_mm - half, 0.5 * self.pvbh_mm])
        return middle - half * axis

    def _in_quadrilateral(self, flat):
        c = self.corners
        loop = [c[n] for n in ("inferior_posterior", "inferior_anterior", "superior_anterior", "superior_posterior")]
        inside = np.ones(flat.shape[:-1], dtype=bool)
        for start, stop in zip(loop, loop[1:] + loop[:1], strict=True):
            edge = stop - start
            inside &= edge[0] * (flat[..., 1] - start[1]) - edge[1] * (flat[..., 0] - start[0]) >= 0
        return inside
