"""Changes of a picture that a camera can follow, and RandAugment made of them and of changes of grey.

A turn within the picture, a shift and a zoom are the same rays read out by another detector: the camera
changes with the picture and the depth along each ray stays what it is. A mirror image is no camera's and is
therefore not among them (the body can be mirrored before it is rendered).

Source: Cubuk et al. 2020, RandAugment: a few operations drawn anew for every picture, all of one strength.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from boneray.core.camera import Camera
from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.core.radiograph import Radiograph

GREYS = ("gamma", "contrast", "noise", "blur", "sharpness", "gradient")
MOVES = ("turn", "shift", "zoom")


class RandAugment(Settings):
    """`operations` per picture, 0 for none; `strength` 0..1; `moves`: whether turns, shifts and zooms are among them.

    At strength 1: a turn of 15 degrees, a shift of a tenth of the picture, a zoom of 15 %.
    """

    operations: int = Field(0, ge=0)
    strength: float = Field(0.5, ge=0, le=1)
    moves: bool = True


def augmented(radiograph: Radiograph, settings: RandAugment, rng: np.random.Generator) -> Radiograph:
    """The radiograph after operations drawn at random; its camera has followed the moves."""
    if settings.operations == 0:
        return radiograph
    names = GREYS + MOVES if settings.moves else GREYS
    out = radiograph
    for name in rng.choice(names, size=settings.operations):
        amount = settings.strength * float(rng.uniform(-1, 1))
        if name in MOVES:
            out = moved_in_plane(out, moved_camera(out.camera, str(name), amount, rng))
        else:
            values = changed_grey(out.line_integrals, str(name), amount, rng)
            out = Radiograph(values, out.camera, scaled=False)
    return out


def moved_camera(camera: Camera, name: str, amount: float, rng: np.random.Generator) -> Camera:
    """The camera whose picture is turned, shifted or zoomed by `amount` (-1..1) of the largest change."""
    if name == "turn":
        return in_plane(camera, roll_deg=15.0 * amount)
    if name == "zoom":
        return in_plane(camera, zoom=float(np.exp(0.15 * amount)))
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = camera.detector_shape
    return in_plane(camera, shift_px=(0.1 * amount * rows * np.sin(angle), 0.1 * amount * columns * np.cos(angle)))


def in_plane(
    camera: Camera, *, roll_deg: float = 0.0, shift_px: tuple[float, float] = (0.0, 0.0), zoom: float = 1.0
) -> Camera:
    """The same source with its detector turned about the picture's middle, shifted and with other pixels.

    Args:
        roll_deg: turns what is seen counter-clockwise in the picture (rows count downwards).
        shift_px: (rows, columns) by which what is seen moves.
        zoom: above 1, what is seen is larger.
    """
    if not zoom > 0:
        raise ConfigError(f"a zoom of {zoom} is not possible; it must be above 0")
    rows, columns = camera.detector_shape
    row_mm, column_mm = camera.pixel_mm
    row0, column0 = camera.principal_point_px
    angle = np.deg2rad(roll_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # from the detector's middle to the principal point, (x, y) mm, seen in the turned detector
    foot = turn.T @ (((column0 - (columns - 1) / 2) * column_mm), ((row0 - (rows - 1) / 2) * row_mm))
    pose = camera.pose
    pose[:3, :2] = pose[:3, :2] @ turn
    return replace(
        camera,
        pixel_mm=(row_mm / zoom, column_mm / zoom),
        principal_point_px=(
            (rows - 1) / 2 + foot[1] * zoom / row_mm + shift_px[0],
            (columns - 1) / 2 + foot[0] * zoom / column_mm + shift_px[1],
        ),
        world_from_camera=tuple(pose.ravel()),
    )


def moved_in_plane(radiograph: Radiograph, camera: Camera) -> Radiograph:
    """The picture as another camera with the same source and image plane reads it; what it does not know is 0."""
    return replace(
        radiograph,
        line_integrals=resampled(radiograph.line_integrals, radiograph.camera, camera).astype(np.float32),
        camera=camera,
    )


def resampled(picture: NDArray, camera: Camera, other: Camera, *, order: int = 1, beyond: float = 0.0) -> NDArray:
    """A picture (rows, columns) of `camera` at the pixels of `other`, which shares its source and image plane.

    Args:
        order: 1 bilinear, 0 nearest (for masks and depths, which have edges).
        beyond: value where the picture does not reach.
    """
    rows, columns = other.detector_shape
    row, column = np.mgrid[0:rows, 0:columns]
    there = camera.project(other.pixel_to_world(np.stack([column, row], -1).astype(float)))
    return ndimage.map_coordinates(picture, [there[..., 1], there[..., 0]], order=order, mode="constant", cval=beyond)


def changed_grey(values: NDArray, name: str, amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Line integrals with another gamma, contrast, noise, sharpness, or brighter on one side; amount -1..1."""
    out: NDArray = np.asarray(values, dtype=np.float32)
    most = max(float(out.max()), 1e-6)
    if name == "gamma":
        out = most * (np.maximum(out, 0) / most) ** np.float32(np.exp(0.7 * amount))
    elif name == "contrast":
        out = out.mean() + (out - out.mean()) * np.float32(1 + 0.6 * amount)
    elif name == "noise":
        out = out + rng.normal(0.0, 0.2 * abs(amount) * float(out.std()), out.shape).astype(np.float32)
    elif name == "blur":
        out = ndimage.gaussian_filter(out, 1.5 * abs(amount))
    elif name == "sharpness":
        out = out + np.float32(2 * amount) * (out - ndimage.gaussian_filter(out, 1.0))
    elif name == "gradient":
        along = np.linspace(-0.5, 0.5, out.shape[rng.integers(2)], dtype=np.float32)
        ramp = along[:, None] if len(along) == out.shape[0] else along[None]
        out = out + np.float32(amount * float(out.std())) * ramp
    else:
        raise ConfigError(f"unknown change of grey '{name}'; choose one of {', '.join(GREYS)}")
    return out.astype(np.float32)
