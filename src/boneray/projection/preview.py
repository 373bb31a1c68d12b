"""One picture to look at: all radiographs beside each other, windowed for the eye."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from boneray.core.radiograph import Radiograph

HEIGHT_PX = 480
MOST = 24  # more views than this are thinned out evenly
PER_ROW = 6


def preview_picture(radiographs: Mapping[str, Radiograph]) -> Image.Image:
    """A contact sheet of the radiographs, each named and in its detector's proportions, bone bright."""
    names = list(radiographs)
    if len(names) > MOST:
        names = [names[i] for i in np.linspace(0, len(names) - 1, MOST).round().astype(int)]
    height = HEIGHT_PX if len(names) <= PER_ROW else HEIGHT_PX // 2
    tiles = [_tile(radiographs[name], name, height) for name in names]
    lines = [tiles[i : i + PER_ROW] for i in range(0, len(tiles), PER_ROW)]
    gap = 8
    widths = [sum(tile.width + gap for tile in line) - gap for line in lines]
    sheet = Image.new("L", (max(widths), len(lines) * (height + gap) - gap), 0)
    for number, line in enumerate(lines):
        left = 0
        for tile in line:
            sheet.paste(tile, (left, number * (height + gap)))
            left += tile.width + gap
    return sheet


def _tile(radiograph: Radiograph, name: str, height: int) -> Image.Image:
    values = radiograph.line_integrals
    low, high = np.percentile(values, (0.5, 99.7))
    window = np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros(values.shape)
    rows, columns = radiograph.camera.detector_shape
    row_mm, column_mm = radiograph.camera.pixel_mm
    width = max(1, round(height * columns * column_mm / (rows * row_mm)))
    tile = Image.fromarray(np.round(255 * window).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    ImageDraw.Draw(tile).text((8, 6), name, fill=255, font=ImageFont.load_default(18), stroke_width=2, stroke_fill=0)
    return tile
