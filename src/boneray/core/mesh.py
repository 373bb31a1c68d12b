"""A triangle surface in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """A closed triangle surface, faces counter-clockwise seen from outside.

    Attributes:
        vertices_mm: (n, 3) RAS mm.
        faces: (m, 3) vertex indices.
    """

    vertices_mm: NDArray[np.float64]
    faces: NDArray[np.int64]

    @property
    def volume_mm3(self) -> float:
        """Signed enclosed volume; positive when the faces point outwards."""
        a, b, c = (self.vertices_mm[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)

    @property
    def face_centres_mm(self) -> NDArray[np.float64]:
        """Centres of the triangles, (m, 3)."""
        return self.vertices_mm[self.faces].mean(axis=1)

    @property
    def face_normals(self) -> NDArray[np.float64]:
        """Unit outward normals, (m, 3); zero for a degenerate triangle."""
        normals = self._cross()
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)

    @property
    def face_areas_mm2(self) -> NDArray[np.float64]:
        """Areas of the triangles, (m,)."""
        return np.linalg.norm(self._cross(), axis=1) / 2.0

    def _cross(self) -> NDArray[np.float64]:
        a, b, c = (self.vertices_mm[self.faces[:, i]] for i in range(3))
        return np.cross(b - a, c - a)
