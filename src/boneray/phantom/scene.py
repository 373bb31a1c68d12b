"""What a phantom factory gives back: solids, soft tissue and the truth, free of any voxel grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.core.bones import bone_side
from boneray.core.measurement import Landmark, Measurement
from boneray.phantom.pose import Pose
from boneray.phantom.primitive import Primitive


@dataclass(frozen=True)
class Material:
    """HU of a bone as a function of depth, optionally changing along an axis (femoral shaft).

    Attributes:
        cortex_hu, inner_hu: of the shell and of what it encloses.
        cortex_mm: thickness of the shell.
        far_inner_hu, far_cortex_mm: the values at the far end of the ramp.
        ramp_from_mm, ramp_to_mm: world points between which near turns into far.
    """

    cortex_hu: float
    inner_hu: float
    cortex_mm: float
    far_inner_hu: float = 0.0
    far_cortex_mm: float = 0.0
    ramp_from_mm: tuple[float, float, float] | None = None
    ramp_to_mm: tuple[float, float, float] | None = None

    def placed(self, pose: Pose) -> Material:
        """The material carried along by `pose`; thickness belongs to the patient and does not scale."""
        if self.ramp_from_mm is None or self.ramp_to_mm is None:
            return self
        start, end = (tuple(pose.point(p).tolist()) for p in (self.ramp_from_mm, self.ramp_to_mm))
        return replace(self, ramp_from_mm=start, ramp_to_mm=end)

    def row(self) -> NDArray[np.float64]:
        """The numbers the kernel reads."""
        start = np.array(self.ramp_from_mm or (0.0, 0.0, 0.0))
        step = np.array(self.ramp_to_mm or (0.0, 0.0, 0.0)) - start
        step = step / max(float(step @ step), 1e-9)
        levels = [self.cortex_hu, self.inner_hu, self.cortex_mm, self.far_inner_hu, self.far_cortex_mm]
        return np.concatenate([levels, start, step])


@dataclass(frozen=True)
class Solid:
    """Primitives joined in order. `bone` names its label; empty for clutter and metal."""

    bone: str
    primitives: tuple[Primitive, ...]
    material: Material

    def placed(self, pose: Pose) -> Solid:
        """The solid carried along by `pose`."""
        parts = tuple(part.placed(pose) for part in self.primitives)
        return replace(self, primitives=parts, material=self.material.placed(pose))

    def unlabelled(self) -> Solid:
        """The same solid as clutter: in the CT, not in the label map."""
        return replace(self, bone="")


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of soft tissue or gas with a soft edge."""

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    hu: float
    edge_mm: float = 2.0


@dataclass(frozen=True)
class Outline:
    """The body: an elliptic cylinder along z with a rim of fat, in air.

    Attributes:
        noise_hu: strength of the low-frequency noise.
        noise_seed: seed of the noise lattice.
    """

    centre_mm: tuple[float, float]
    semi_axes_mm: tuple[float, float]
    fat_mm: float
    inner_hu: float
    noise_hu: float
    noise_seed: int


@dataclass(frozen=True)
class Scene:
    """One patient before it meets a grid.

    Attributes:
        solids: painted in order; a label, once set, stays, while HU are overwritten.
        mirrored: True if the finished arrays and points are to be reflected, x -> -x.
        parameters: everything drawn, for the provenance.
    """

    target: str
    solids: tuple[Solid, ...]
    outline: Outline
    blobs: tuple[Blob, ...]
    truth: tuple[Measurement, ...]
    landmarks: tuple[Landmark, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    mirrored: bool = False


def known(name: str, value: float, bone: str, landmarks: tuple[Landmark, ...] = ()) -> Measurement:
    """A measurement that is true by construction; its unit is the last word of its name."""
    return Measurement(name, bone, bone_side(bone), float(value), name.rsplit("_", 1)[1], landmarks=landmarks)


def landmark(name: str, point_mm: ArrayLike) -> Landmark:
    """A named point, RAS mm."""
    x, y, z = (float(v) for v in np.asarray(point_mm))
    return Landmark(name, (x, y, z))


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with numbers cut to four decimals, for the provenance."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
