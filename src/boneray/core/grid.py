"""A regular voxel grid placed in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.errors import GeometryError


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array (i, j, k) lie in RAS+ mm.

    Attributes:
        shape: voxels along i, j, k.
        spacing_mm: edge lengths of a voxel.
        origin_mm: world position of the centre of voxel (0, 0, 0).
        direction: 3x3, columns are the unit world directions of i, j, k (row-major tuple of 9).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "spacing_mm", tuple(float(s) for s in self.spacing_mm))
        object.__setattr__(self, "origin_mm", tuple(float(o) for o in self.origin_mm))
        object.__setattr__(self, "direction", tuple(float(d) for d in np.ravel(self.direction)))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"grid shape {self.shape} must be three positive numbers")
        if len(self.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise GeometryError(f"grid spacing {self.spacing_mm} mm must be three positive numbers")
        if not np.all(np.isfinite(self.origin_mm)):
            raise GeometryError(f"grid origin {self.origin_mm} mm must be finite")
        matrix = np.reshape(self.direction, (3, 3))
        if not np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-3):
            raise GeometryError(f"grid direction {matrix.tolist()} is not orthonormal")

    @classmethod
    def from_affine(cls, shape: ArrayLike, affine: ArrayLike) -> Grid:
        """The grid of an array of `shape` whose 4x4 `affine` maps voxel indices to RAS mm."""
        matrix = np.asarray(affine, dtype=float)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not np.all(np.isfinite(matrix)) or np.any(spacing <= 0):
            raise GeometryError(f"the header's affine {matrix[:3].tolist()} has no valid spacing; repair the header")
        direction = matrix[:3, :3] / spacing
        i, j, k = (int(n) for n in np.asarray(shape)[:3])
        return cls((i, j, k), tuple(spacing), tuple(matrix[:3, 3]), tuple(direction.ravel()))

    @classmethod
    def cube(cls, n: int, size_mm: float, centre_mm: ArrayLike = (0.0, 0.0, 0.0)) -> Grid:
        """An axis-aligned RAS cube of n^3 voxels and edge `size_mm` about `centre_mm`."""
        spacing = size_mm / n
        origin = np.asarray(centre_mm, dtype=float) - spacing * (n - 1) / 2
        return cls((n, n, n), (spacing,) * 3, tuple(origin))

    @property
    def direction_matrix(self) -> NDArray[np.float64]:
        """Unit directions of i, j, k as columns, (3, 3)."""
        return np.array(self.direction).reshape(3, 3)

    @property
    def world_from_voxel(self) -> NDArray[np.float64]:
        """4x4 affine from voxel indices to RAS mm (nibabel's affine)."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction_matrix * np.array(self.spacing_mm)
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def voxel_from_world(self) -> NDArray[np.float64]:
        """4x4 affine from RAS mm to (fractional) voxel indices."""
        return np.asarray(np.linalg.inv(self.world_from_voxel), dtype=float)

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """World position of the middle of the grid, (3,)."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    @property
    def size_mm(self) -> NDArray[np.float64]:
        """Outer edge lengths along i, j, k, (3,)."""
        return np.array(self.shape) * np.array(self.spacing_mm)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """RAS mm of voxel indices (..., 3)."""
        affine = self.world_from_voxel
        return np.asarray(index, dtype=float) @ affine[:3, :3].T + affine[:3, 3]

    def to_index(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel indices of RAS points (..., 3)."""
        affine = self.voxel_from_world
        return np.asarray(point_mm, dtype=float) @ affine[:3, :3].T + affine[:3, 3]

    def matches(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """True if both grids have the same shape and their corners agree within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "shape": list(self.shape),
            "spacing_mm": list(self.spacing_mm),
            "origin_mm": list(self.origin_mm),
            "direction": list(self.direction),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Grid:
        """The grid that `to_dict` wrote."""
        return cls(values["shape"], values["spacing_mm"], values["origin_mm"], values["direction"])
