"""A statistical shape model: a mean surface and the modes in which a population varies about it.

Source: Cootes et al. 1995, Active shape models, for the principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.errors import DataError
from boneray.core.mesh import Mesh

SMALLEST_SHARE = 1e-9  # of the variance: a mode below it is rounding, not shape


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """shape = mean + sum over modes of weight * SD * mode.

    Attributes:
        mean_mm: (n, 3) RAS mm.
        faces: (m, 3) vertex indices, those of every member.
        modes: (k, n, 3), orthonormal as vectors of 3n numbers, the largest variance first.
        variances_mm2: (k,) variance of the members along each mode (divided by their number).
        name: of the bone, or of the file it came from.
    """

    mean_mm: NDArray[np.float64]
    faces: NDArray[np.int64]
    modes: NDArray[np.float64]
    variances_mm2: NDArray[np.float64]
    name: str = ""

    def __post_init__(self) -> None:
        n, k = len(self.mean_mm), len(self.modes)
        if self.mean_mm.shape != (n, 3) or self.modes.shape != (k, n, 3) or self.variances_mm2.shape != (k,):
            raise DataError(
                f"shape model {self.name}: mean {self.mean_mm.shape}, modes {self.modes.shape} and variances "
                f"{self.variances_mm2.shape} do not belong together"
            )
        if k == 0 or not (self.variances_mm2 > 0).all():
            raise DataError(f"shape model {self.name} has {k} modes of positive variance; it needs one at least")
        if len(self.faces) and int(self.faces.max()) >= n:
            raise DataError(f"shape model {self.name}: a face names vertex {int(self.faces.max())} of {n}")

    @property
    def mode_count(self) -> int:
        """Number of modes."""
        return len(self.modes)

    @property
    def deviations_mm(self) -> NDArray[np.float64]:
        """Standard deviation along each mode, (k,)."""
        return np.sqrt(self.variances_mm2)

    def shape_mm(self, weights: ArrayLike) -> NDArray[np.float64]:
        """Vertices (n, 3) of the shape with these weights, in standard deviations; missing ones are 0."""
        w = np.asarray(weights, dtype=float)
        scaled = w * self.deviations_mm[: len(w)]
        return self.mean_mm + np.tensordot(scaled, self.modes[: len(w)], axes=1)

    def mesh(self, weights: ArrayLike = ()) -> Mesh:
        """The surface with these weights in standard deviations; the mean without any."""
        return Mesh(self.shape_mm(np.asarray(weights, dtype=float)), self.faces)

    def weights(self, vertices_mm: NDArray) -> NDArray[np.float64]:
        """Weights (k,) in standard deviations of the shape nearest to vertices in correspondence and in its pose."""
        if np.shape(vertices_mm) != self.mean_mm.shape:
            raise DataError(
                f"shape of {np.shape(vertices_mm)} is not in correspondence with the model's {self.mean_mm.shape}"
            )
        return np.tensordot(self.modes, vertices_mm - self.mean_mm, axes=2) / self.deviations_mm

    def reconstructed(self, vertices_mm: NDArray) -> NDArray[np.float64]:
        """The nearest shape of the model to vertices (n, 3) in correspondence."""
        return self.shape_mm(self.weights(vertices_mm))

    def sampled(self, rng: np.random.Generator, *, limit: float = 3.0) -> NDArray[np.float64]:
        """A random member, (n, 3): normal weights, each drawn anew beyond `limit` standard deviations."""
        weights = rng.standard_normal(self.mode_count)
        while (far := np.abs(weights) > limit).any():
            weights[far] = rng.standard_normal(int(far.sum()))
        return self.shape_mm(weights)

    def truncated(self, count: int) -> ShapeModel:
        """The model with its first `count` modes."""
        if not 1 <= count <= self.mode_count:
            raise DataError(f"{count} modes of a shape model that has {self.mode_count}; ask for 1 to that many")
        return replace(self, modes=self.modes[:count], variances_mm2=self.variances_mm2[:count])


def shape_model(members_mm: Sequence[NDArray] | NDArray, faces: NDArray, *, name: str = "") -> ShapeModel:
    """Principal components of shapes in correspondence and in a common pose.

    Args:
        members_mm: (members, n, 3); vertex i is the same place of the bone in all of them.
        faces: (m, 3).
    Raises:
        DataError: fewer than two members, or members of different size, or all the same.
    """
    if len(members_mm) < 2:
        raise DataError(f"{len(members_mm)} shape makes no model; at least two are needed")
    sizes = {np.shape(member) for member in members_mm}
    if len(sizes) > 1:
        raise DataError(f"the shapes have {', '.join(map(str, sorted(sizes)))} vertices; correspond them first")
    data = np.asarray(members_mm, dtype=float)
    mean = data.mean(axis=0)
    flat = (data - mean).reshape(len(data), -1)
    _, singular, modes = np.linalg.svd(flat, full_matrices=False)
    variances = singular**2 / len(data)
    kept = variances > SMALLEST_SHARE * max(float(variances.sum()), 1e-300)
    if not kept.any() or not variances.sum() > 0:
        raise DataError("all shapes are the same; a model needs members that differ")
    kept[len(data) - 1 :] = False  # the mean takes one degree of freedom
    return ShapeModel(mean, np.asarray(faces, np.int64), modes[kept].reshape(-1, *mean.shape), variances[kept], name)
