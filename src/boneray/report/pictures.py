"""Pictures of a case as PNG bytes: radiographs with outlines, and shaded views of the meshes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from boneray.core.errors import ConfigError
from boneray.core.mesh import Mesh
from boneray.core.radiograph import Radiograph
from boneray.report.shading import Viewpoint, blank, draw

Colour = tuple[int, int, int]
Outlines = Mapping[str, Sequence[NDArray[np.float64]]]

# Picture right, picture up, towards the eye (RAS): anterior as an AP film, right as our lateral.
DIRECTIONS = {
    "anterior": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    "right": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
}
INK = (128, 134, 142)
FINEST_PIXELS = 1024
OVERSAMPLING = 2
BAR_STEPS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def grey_picture(radiograph: Radiograph) -> NDArray[np.uint8]:
    """The radiograph as grey levels 0..255, bone bright, windowed to its 1st..99.7th percentile."""
    values = np.nan_to_num(radiograph.line_integrals.astype(np.float64))
    low, high = np.percentile(values, (1.0, 99.7))
    if high <= low:
        low, high = float(values.min()), float(max(values.max(), values.min() + 1e-9))
    return np.round(255.0 * np.clip((values - low) / (high - low), 0.0, 1.0)).astype(np.uint8)


def grey_png(radiograph: Radiograph, longest_px: int = FINEST_PIXELS) -> bytes:
    """The radiograph alone as grey PNG, no edge longer than `longest_px`."""
    image = Image.fromarray(grey_picture(radiograph))
    image.thumbnail((longest_px, longest_px))
    return _png(image)


def radiograph_picture(
    radiograph: Radiograph, outlines: Outlines, colours: Mapping[str, Colour], *, height_px: int = 768
) -> bytes:
    """The radiograph with outlines drawn on it, as PNG in the true proportions of the detector.

    Args:
        outlines: (n, 2) polylines of (column, row) by name, pixel centres at whole numbers.
        colours: RGB 0..255 for every name in `outlines`; later names are drawn on top.
    """
    rows, columns = radiograph.camera.detector_shape
    row_mm, column_mm = radiograph.camera.pixel_mm
    height = height_px * OVERSAMPLING
    width = max(1, round(height * columns * column_mm / (rows * row_mm)))
    image = Image.fromarray(grey_picture(radiograph)).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    pen = ImageDraw.Draw(image)
    for name, lines in outlines.items():
        for line in lines:
            points = (np.asarray(line) + 0.5) * (width / columns, height / rows)
            pen.line([tuple(p) for p in points], fill=_colour(colours, name), width=2 * OVERSAMPLING, joint="curve")
    return _png(image.reduce(OVERSAMPLING))


def mesh_picture(
    meshes: Mapping[str, Mesh],
    colours: Mapping[str, Colour],
    *,
    height_px: int = 480,
    directions: Sequence[str] = ("anterior", "right"),
    frame: Mapping[str, Mesh] | None = None,
) -> bytes:
    """Shaded orthographic views side by side with a scale bar, as PNG on a transparent ground.

    Args:
        meshes: surfaces by name; none at all gives an empty picture.
        colours: RGB 0..255 for every name in `meshes`.
        directions: where the eye stands, of `DIRECTIONS`.
        frame: meshes that set position and scale; `meshes` when left out. Pictures of the same frame
            can be laid side by side.
    """
    low, high = _bounds(meshes if frame is None else frame)
    mm_per_pixel = float((high - low).max()) * 1.12 / height_px
    panels = [_panel(meshes, colours, DIRECTIONS[name], (low, high), mm_per_pixel, height_px) for name in directions]
    sheet = Image.new("RGBA", (sum(p.width for p in panels), height_px))
    left = 0
    for panel, name in zip(panels, directions, strict=True):
        _caption(panel, name, mm_per_pixel, bar=left == 0)
        sheet.paste(panel, (left, 0))
        left += panel.width
    return _png(sheet)


def scale_bar_mm(width_mm: float) -> int:
    """Length of a scale bar: the round number nearest below a third of the picture's width."""
    return max((step for step in BAR_STEPS_MM if step <= width_mm / 3), default=BAR_STEPS_MM[0])


def _panel(
    meshes: Mapping[str, Mesh],
    colours: Mapping[str, Colour],
    axes: tuple[tuple[float, float, float], ...],
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    mm_per_pixel: float,
    height_px: int,
) -> Image.Image:
    low, high = bounds
    extent = float((np.abs(np.array(axes[0])) * (high - low)).sum())
    width_px = max(height_px // 2, round(extent * 1.12 / mm_per_pixel))
    shape = (height_px * OVERSAMPLING, width_px * OVERSAMPLING)
    view = Viewpoint(axes, tuple((low + high) / 2), mm_per_pixel / OVERSAMPLING, shape)
    picture, depth = blank(view)
    for name, mesh in meshes.items():
        if len(mesh.faces):
            draw(picture, depth, mesh, _colour(colours, name), view)
    # reduce() averages colour with alpha premultiplied only in mode RGBa, so edges keep their colour
    return Image.fromarray(picture).convert("RGBa").reduce(OVERSAMPLING).convert("RGBA")


def _caption(panel: Image.Image, name: str, mm_per_pixel: float, *, bar: bool) -> None:
    pen = ImageDraw.Draw(panel)
    font = ImageFont.load_default(13)
    pen.text((12, 10), f"from {'the ' if name == 'right' else ''}{name}", fill=INK, font=font)
    if not bar:
        return
    length_mm = scale_bar_mm(panel.width * mm_per_pixel)
    end, bottom = 12 + length_mm / mm_per_pixel, panel.height - 12
    pen.line([(12, bottom), (end, bottom)], fill=INK, width=2)
    pen.text((12, bottom - 20), f"{length_mm} mm", fill=INK, font=font)


def _bounds(meshes: Mapping[str, Mesh]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = [mesh.vertices_mm for mesh in meshes.values() if len(mesh.vertices_mm)]
    if not points:
        return np.full(3, -50.0), np.full(3, 50.0)
    joined = np.concatenate(points)
    return joined.min(axis=0), joined.max(axis=0)


def _colour(colours: Mapping[str, Colour], name: str) -> Colour:
    if name not in colours:
        raise ConfigError(f"no colour is given for '{name}'; colours are known for {', '.join(colours) or 'nothing'}")
    return colours[name]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
