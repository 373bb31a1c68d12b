"""The geometries, weights and grey scalings that published systems made their radiographs with, by name.

A preset says where source and detector stand about a volume, what a voxel weighs and how the
authors turned the sums into grey. The first two make a radiograph; the last is for a copy of it
that shall look like theirs, since it forgets the scale. The stored radiograph keeps it.

Published pictures and published code do not always agree; where they differ there are two presets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera, orbit_camera
from boneray.core.grid import Grid
from boneray.core.registry import Registry
from boneray.core.views import view_angles
from boneray.projection.render import attenuation_per_mm

CameraMaker = Callable[[Grid, float, float], Camera]
Weight = Literal["attenuation", "hu_above_zero"]


@dataclass(frozen=True)
class Preset:
    """How one published system takes its radiographs.

    Attributes:
        camera: the camera for a grid and a view's (angle_deg, cranial_deg).
        weight: what a voxel adds per mm: its attenuation, or its HU above 0 (then a radiograph is
            in HU mm, about 0.02 / 1000 of an attenuation without the water).
        grey: the scaling in GREYS its pictures are stored with.
        views: the views it takes if none are named.
    """

    camera: CameraMaker
    weight: Weight
    grey: str
    views: tuple[str, ...] = ("ap", "lat")

    def cameras(self, grid: Grid, views: tuple[str, ...] = ()) -> dict[str, Camera]:
        """Cameras by view about the middle of `grid`."""
        return {view: self.camera(grid, *view_angles(view)) for view in views or self.views}

    def per_mm(self, hu: NDArray) -> NDArray[np.float32]:
        """What the preset integrates along a ray, from HU, same shape."""
        return attenuation_per_mm(hu) if self.weight == "attenuation" else hu_above_zero(hu)


class Grey(Protocol):
    """A published way from line integrals to the grey values of a picture."""

    def __call__(self, line_integrals: NDArray, *, hu_per_unit: float = 1.0) -> NDArray[np.uint8]: ...


PRESETS: Registry[Preset] = Registry("preset", "boneray.projection.presets", "boneray.presets")
GREYS: Registry[Grey] = Registry("grey scaling", "boneray.projection.presets", "boneray.greys")


def hu_above_zero(hu: NDArray) -> NDArray[np.float32]:
    """HU where it is above 0, else 0: the weight of the ITK ray casters at their threshold 0."""
    return np.maximum(np.asarray(hu, dtype=np.float32), 0.0)


def isocentre_plane(grid: Grid, angle_deg: float, cranial_deg: float) -> Camera:
    """XrayTo3D: source 1000 mm from the isocentre, pixels of 1 mm in the isocentre's plane.

    There is no source-detector distance: the picture is as large as the region (its longest side
    in mm), so what lies nearer the source looks larger and may fall off the picture.
    """
    side = max(round(float(max(grid.size_mm))), 1)
    return _square(grid, angle_deg, cranial_deg, pixels=side, side_mm=float(side), distances_mm=(1000.0, 1000.0))


def own_pixels(grid: Grid, angle_deg: float, cranial_deg: float) -> Camera:
    """Swin-X2S as its pictures show it: parallel rays, magnification 1, one pixel per voxel.

    Rows and columns have the spacing of the voxel axis nearest to them, and the detector is as
    large as the shadow of the grid: for ap and lat of an upright volume every ray runs through
    the middle of one line of voxels.
    """
    probe = orbit_camera(angle_deg, cranial_deg=cranial_deg, kind="parallel")
    along = np.abs(probe.pose[:3, :2].T @ grid.direction_matrix)  # (column and row axis, voxel axes)
    pitch = np.array(grid.spacing_mm)[np.argmax(along, axis=1)]
    columns, rows = (int(n) for n in np.ceil(along @ grid.size_mm / pitch - 1e-3))
    return orbit_camera(
        angle_deg,
        cranial_deg=cranial_deg,
        centre_mm=grid.centre_mm,
        detector_shape=(rows, columns),
        detector_mm=(rows * pitch[1], columns * pitch[0]),
        kind="parallel",
    )


def slipped_cone(grid: Grid, angle_deg: float, cranial_deg: float) -> Camera:
    """Swin-X2S as its code says: source 2000 mm from the detector, 1800 mm from the isocentre.

    Its pixel is the longest side of the CT over the height of the picture, but taken at the
    detector, so that the body appears 2000 / 1800 = 1.111 times as large as in the volume and the
    outer tenth of the field of view is lost. Its pictures of tall volumes (longest side at least
    1.5 times the next) are black at both sides, where this camera still sees.
    """
    return _square(
        grid, angle_deg, cranial_deg, pixels=160, side_mm=float(max(grid.size_mm)), distances_mm=(1800.0, 2000.0)
    )


def chest_cone(grid: Grid, angle_deg: float, cranial_deg: float) -> Camera:
    """X2CT: isocentre at 541 mm, detector of 500 x 500 mm with 320 x 320 pixels at 949 mm."""
    return _square(grid, angle_deg, cranial_deg, pixels=320, side_mm=500.0, distances_mm=(541.0, 949.0))


def short_min_max(line_integrals: NDArray, *, hu_per_unit: float = 1.0) -> NDArray[np.uint8]:
    """Cast to a 16-bit whole number, then stretched from its own minimum and maximum to 0..255.

    Args:
        line_integrals: in HU mm, or in another unit times mm of which `hu_per_unit` says how many
            HU it is worth (an 8-bit CT); above 32767 HU mm the 16 bits are full and it is white.
    """
    return min_max(np.clip(np.trunc(np.asarray(line_integrals, dtype=np.float64) * hu_per_unit), -32768, 32767))


def min_max(line_integrals: NDArray, *, hu_per_unit: float = 1.0) -> NDArray[np.uint8]:
    """Stretched from its own minimum and maximum to 0..255; the unit does not matter."""
    values = np.asarray(line_integrals, dtype=np.float64)
    low, high = values.min(), values.max()
    return np.round((values - low) * (255.0 / (high - low) if high > low else 0.0)).astype(np.uint8)


def _square(
    grid: Grid,
    angle_deg: float,
    cranial_deg: float,
    *,
    pixels: int,
    side_mm: float,
    distances_mm: tuple[float, float],
) -> Camera:
    """A cone beam with a square detector; distances from the source to isocentre and detector."""
    return orbit_camera(
        angle_deg,
        cranial_deg=cranial_deg,
        centre_mm=grid.centre_mm,
        detector_shape=(pixels, pixels),
        detector_mm=(side_mm, side_mm),
        source_object_mm=distances_mm[0],
        source_detector_mm=distances_mm[1],
    )


PRESETS.register(
    "xrayto3d",
    "cone beam from 1000 mm, 1 mm pixels in the isocentre's plane, HU above 0",
    source="XrayTo3D benchmark (Shakya, Khanal 2024): ITK Siddon-Jacobs ray tracer as its scripts call it",
)(Preset(isocentre_plane, "hu_above_zero", "xrayto3d"))

PRESETS.register(
    "swin-x2s",
    "parallel beam, one pixel per voxel, HU above 0: what its pictures show",
    source="Swin-X2S (2024), measured on its published pictures",
)(Preset(own_pixels, "hu_above_zero", "swin-x2s"))

PRESETS.register(
    "swin-x2s-code",
    "cone beam 1800/2000 mm whose pixel is taken at the detector: 11.1 % too large",
    source="Swin-X2S (2024), as its projector's parameters say; its published pictures do not show it",
)(Preset(slipped_cone, "hu_above_zero", "swin-x2s"))

PRESETS.register(
    "x2ct",
    "cone beam 541/949 mm, 320 x 320 pixels on 500 x 500 mm, attenuation",
    source="X2CT-GAN (Ying 2019): plastimatch drr with the geometry 541 949",
)(Preset(chest_cone, "attenuation", "min-max"))

GREYS.register(
    "xrayto3d",
    "16-bit line integral, stretched from its minimum and maximum to 0..255",
    source="XrayTo3D benchmark (2024)",
)(short_min_max)

GREYS.register(
    "swin-x2s",
    "the same; its lateral pictures are white above 32767 HU mm",
    source="Swin-X2S (2024): 8-bit minimum to maximum in its code, the 16-bit limit measured on its pictures",
)(short_min_max)

GREYS.register("min-max", "stretched from its minimum and maximum to 0..255", source="common practice")(min_max)
