"""Femora made of balls, capsules and ellipsoids, whose numbers are known in closed form, at any pose on the grid."""

from dataclasses import dataclass

import numpy as np

from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap

RADIUS_MM, OFFSET_MM, NECK_MM, SHAFT_MM = 23.5, 42.0, 14.0, 15.0
LENGTH_MM = 400.0


@dataclass(frozen=True)
class FemurBody:
    """A right femur with its head centre at the origin and its shaft along z (x lateral, y front).

    A whole femur has condyles, and its shaft is a parabola about the middle of the part that the
    shaft axis is measured on (25 to 70 % of the length), so that the axis stays parallel to z.
    """

    nsa_deg: float = 125.0
    version_deg: float = 0.0
    below_mm: float = 150.0
    whole: bool = False
    bow_mm: float = 0.0

    @property
    def joint(self):
        """Where neck axis and shaft meet."""
        turn = np.deg2rad(self.version_deg)
        drop = OFFSET_MM / np.tan(np.pi - np.deg2rad(self.nsa_deg))
        return np.array([OFFSET_MM * np.cos(turn), -OFFSET_MM * np.sin(turn), -drop])

    @property
    def bottom_mm(self):
        """Height of the lowest point."""
        return RADIUS_MM - LENGTH_MM if self.whole else -self.below_mm

    def shaft_front_mm(self, z):
        """How far the bowed shaft lies in front of the joint of neck and shaft at height z."""
        middle, half = self.bottom_mm + 0.475 * LENGTH_MM, 0.5 * LENGTH_MM
        return self.bow_mm * (((self.joint[2] - middle) / half) ** 2 - ((z - middle) / half) ** 2)

    def parts(self):
        """Signed-inside tests of the parts, each a function of points (..., 3)."""
        joint = self.joint

        def shaft(p):
            centre = joint[:2] + np.stack([np.zeros_like(p[..., 2]), self.shaft_front_mm(p[..., 2])], -1)
            across = np.linalg.norm(p[..., :2] - centre, axis=-1) <= SHAFT_MM
            return across & (p[..., 2] <= joint[2]) & (p[..., 2] >= self.bottom_mm)

        found = [
            lambda p: np.linalg.norm(p, axis=-1) <= RADIUS_MM,
            lambda p: capsule(p, np.zeros(3), joint, NECK_MM),
            lambda p: np.linalg.norm(p - joint, axis=-1) <= SHAFT_MM,
            lambda p: np.linalg.norm((p - joint - [10.0, 0, 6.0]) / [22.0, 17.0, 30.0], axis=-1) <= 1,
            shaft,
        ]
        if self.whole:
            end = joint[:2] + np.array([0.0, self.shaft_front_mm(self.bottom_mm + 20.0)])
            for x, radius in ((-24.0, 20.0), (24.0, 20.0)):
                centre = np.array([end[0] + x, end[1] - 16.0, self.bottom_mm + 20.0])
                found.append(lambda p, centre=centre, radius=radius: np.linalg.norm(p - centre, axis=-1) <= radius)
            low = np.array([end[0], end[1] - 6.0, self.bottom_mm + 30.0])
            found.append(lambda p, low=low: np.linalg.norm((p - low) / [38.0, 20.0, 28.0], axis=-1) <= 1)
        return found

    def labels(self, spacing_mm=1.5, turn=None, side="right", shift_mm=(0.0, 0.0, 0.0)):
        """The label map of the body turned by `turn` (3, 3) on an axis-aligned grid; a cut femur ends at the cut."""
        rotation = np.eye(3) if turn is None else np.asarray(turn)
        corners = np.array(np.meshgrid([-70.0, 110.0], [-75.0, 60.0], [self.bottom_mm, 55.0])).reshape(3, -1).T
        reach = corners @ rotation.T
        low = reach.min(axis=0) - 2 * spacing_mm
        shape = np.ceil((reach.max(axis=0) + 2 * spacing_mm - low) / spacing_mm).astype(int)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
        points = (index * spacing_mm + low) @ rotation
        points = points.astype(np.float32)
        bone = np.logical_or.reduce([part(points) for part in self.parts()])
        grid = Grid(tuple(shape), (spacing_mm,) * 3, tuple(low + np.asarray(shift_mm)))
        data = (bone * BONES[f"femur_{side}"].bone_id).astype(np.uint8)
        return LabelMap(data, grid) if side == "right" else LabelMap(data, _mirrored(grid))


def capsule(points, start, stop, radius):
    """Points within `radius` of a segment."""
    along = np.clip((points - start) @ (stop - start) / ((stop - start) @ (stop - start)), 0, 1)
    return np.linalg.norm(points - start - along[..., None] * (stop - start), axis=-1) <= radius


def _mirrored(grid):
    return Grid.from_affine(grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.world_from_voxel)
