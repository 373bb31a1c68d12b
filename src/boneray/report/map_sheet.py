"""Volumes of several networks side by side: three planes of each through one point, with the scale of their colours.

A row is one quantity and has one scale, whose ends stand beside its bar: what is brighter in one column is greater
there. Planes lie as on a screen: the sagittal one seen from the right, the coronal one from the front, the transverse
one from below, so the patient's right is on the left.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boneray.core.radiograph import Radiograph
from boneray.report.drawing import INK, QUIET, RULE, SOFT, Drawing, text_width
from boneray.report.pictures import grey_png

Scale = Literal["grey", "sequential", "signed"]
Triple = tuple[float, float, float]

PLANES = ("sagittal", "coronal", "transverse")
PLANE, GAP, EDGE = 96.0, 8.0, 16.0
LABELS, BAR, BAR_ROOM = 148.0, 12.0, 84.0
TOP, FILM, STRIP, CAPTION = 66.0, 132.0, 22.0, 24.0
FINEST_PX = 2 * PLANE  # of a plane in the picture; a voxel becomes a block of whole pixels, never smoothed
# dark to bright with even steps of lightness: five colours of viridis (Smith and van der Walt, CC0)
SEQUENTIAL = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
SIGNED = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
GREY = ((0, 0, 0), (255, 255, 255))
RAMPS: dict[Scale, tuple[tuple[int, int, int], ...]] = {"grey": GREY, "sequential": SEQUENTIAL, "signed": SIGNED}


@dataclass(frozen=True)
class MapRow:
    """One quantity of every column.

    Attributes:
        title: what it is.
        volumes: one (i, j, k) volume per column, all covering the same grid; a string where a column has none says why.
        notes: lines below the title.
        captions: a line below each column's planes.
        scale: signed ones are white at 0 and reach as far to both sides.
        ends: of the scale; the smallest and greatest value that the row shows where None.
    """

    title: str
    volumes: tuple[NDArray | str, ...]
    scale: Scale = "sequential"
    notes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    ends: tuple[float, float] | None = None


def map_sheet(
    title: str,
    columns: Sequence[str],
    rows: Sequence[MapRow],
    *,
    size_mm: Triple,
    at: Triple = (0.5, 0.5, 0.5),
    radiographs: Mapping[str, Radiograph] | None = None,
    note: str = "",
) -> Drawing:
    """The sheet: radiographs on top, then a line of pictures per row, three planes per column.

    Args:
        columns: names of the networks.
        size_mm: edges of the grid that all volumes cover, along i, j, k.
        at: where the planes cross, as shares of those edges.
        radiographs: what the networks were shown.
        note: words below the title.
    """
    wide, high = _edges(size_mm)
    group = sum(wide) + 3 * GAP
    across = EDGE + LABELS + len(columns) * (group + GAP) + BAR_ROOM
    films = radiographs or {}
    rows_top = TOP + (FILM + 30 if films else 0) + 2 * STRIP
    width = max(across, text_width(title, 16) + 2 * EDGE + 20, text_width(note) + 2 * EDGE)
    pitch = max(high) + CAPTION
    sheet = Drawing(width, rows_top + len(rows) * pitch + 4, title)
    sheet.text((EDGE, 22), title, size=16, bold=True)
    sheet.text((EDGE, 44), note, colour=QUIET)
    left = EDGE + LABELS
    for view, radiograph in films.items():
        left += _film(sheet, left, view, radiograph) + 2 * GAP
    _heads(sheet, columns, rows_top, wide, group)
    for number, row in enumerate(rows):
        _row(sheet, row, rows_top + number * pitch, (wide, high), group, at)
    return sheet


def row_ends(row: MapRow, at: Triple) -> tuple[float, float]:
    """The two ends of a row's scale over the planes that it shows."""
    if row.ends is not None:
        return row.ends
    shown = [plane_of(v, axis, at) for v in row.volumes if not isinstance(v, str) for axis in range(3)]
    low = min((float(plane.min()) for plane in shown), default=0.0)
    high = max((float(plane.max()) for plane in shown), default=0.0)
    if row.scale == "signed":
        high = max(abs(low), abs(high))
        low = -high
    return low, high


def plane_of(volume: NDArray, axis: int, at: Triple) -> NDArray:
    """(rows, columns) of the plane across an axis, as it lies on a screen.

    Args:
        volume: (i, j, k) towards the patient's right, front and head.
        axis: 0 sagittal, 1 coronal, 2 transverse.
    """
    edge = volume.shape[axis]
    plane = np.take(volume, min(edge - 1, max(0, math.floor(at[axis] * edge))), axis=axis)
    if axis == 0:
        return plane.T[::-1]  # front on the right, head up
    return plane[::-1].T[::-1]  # right on the left; head, or front, up


def coloured(values: NDArray, low: float, high: float, scale: Scale) -> NDArray[np.uint8]:
    """(..., 3) colours of values: the scale's first at `low`, its last at `high`, its middle where those are equal."""
    ramp = np.array(RAMPS[scale], dtype=float)
    share = np.full(np.shape(values), 0.5) if high <= low else np.clip((values - low) / (high - low), 0.0, 1.0)
    place = share * (len(ramp) - 1)
    lower = np.minimum(place.astype(int), len(ramp) - 2)
    part = (place - lower)[..., None]
    return np.round(ramp[lower] * (1 - part) + ramp[lower + 1] * part).astype(np.uint8)


def _edges(size_mm: Triple) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Width and height of each plane, in units; one scale for all three."""
    i, j, k = (PLANE * edge / max(size_mm) for edge in size_mm)
    return (j, i, i), (k, k, j)


def _film(sheet: Drawing, left: float, view: str, radiograph: Radiograph) -> float:
    rows, columns = radiograph.camera.detector_shape
    row_mm, column_mm = radiograph.camera.pixel_mm
    width = FILM * columns * column_mm / (rows * row_mm)
    sheet.picture(left, TOP + 12, left + width, TOP + 12 + FILM, grey_png(radiograph, 512))
    sheet.text((left, TOP), f"view {view}", size=11, colour=QUIET)
    return width


def _heads(sheet: Drawing, columns: Sequence[str], top: float, wide: tuple[float, ...], group: float) -> None:
    for number, name in enumerate(columns):
        left = EDGE + LABELS + number * (group + GAP)
        sheet.text((left, top - STRIP - 12), name, bold=True)
        sheet.line([(left, top - STRIP), (left + group - GAP, top - STRIP)], RULE)
        for plane, width in zip(PLANES, wide, strict=True):
            sheet.text((left, top - 10), plane, size=10, colour=QUIET)
            left += width + GAP


def _row(
    sheet: Drawing,
    row: MapRow,
    top: float,
    edges: tuple[tuple[float, ...], tuple[float, ...]],
    group: float,
    at: Triple,
) -> None:
    wide, high = edges
    low_end, high_end = row_ends(row, at)
    sheet.text((EDGE, top + 10), row.title, size=12, bold=True)
    for number, line in enumerate(row.notes):
        sheet.text((EDGE, top + 28 + 15 * number), line, size=10, colour=QUIET)
    for number, volume in enumerate(row.volumes):
        left = EDGE + LABELS + number * (group + GAP)
        if isinstance(volume, str):
            if not volume:
                continue
            sheet.box(left, top, left + group - GAP, top + max(high), SOFT)
            sheet.text((left + 8, top + 14), volume, size=10, colour=QUIET)
            continue
        for axis, (width, height) in enumerate(zip(wide, high, strict=True)):
            picture = coloured(plane_of(volume, axis, at), low_end, high_end, row.scale)
            sheet.picture(left, top, left + width, top + height, _blocks(picture))
            left += width + GAP
    for number, words in enumerate(row.captions):
        left = EDGE + LABELS + number * (group + GAP)
        sheet.text((left, top + max(high) + 8), words, size=10, colour=QUIET)
    if any(not isinstance(volume, str) for volume in row.volumes):
        _bar(sheet, row.scale, (low_end, high_end), EDGE + LABELS + len(row.volumes) * (group + GAP), top, max(high))


def _bar(sheet: Drawing, scale: Scale, ends: tuple[float, float], left: float, top: float, height: float) -> None:
    ramp = coloured(np.linspace(1.0, 0.0, 64)[:, None], 0.0, 1.0, scale)
    sheet.picture(left, top, left + BAR, top + height, _blocks(ramp, least=1))
    sheet.text((left + BAR + 5, top + 5), _short(ends[1]), size=10, colour=INK)
    sheet.text((left + BAR + 5, top + height - 5), _short(ends[0]), size=10, colour=INK)


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _blocks(picture: NDArray[np.uint8], least: int = 0) -> bytes:
    """PNG of the picture with every pixel as a block."""
    times = least or max(1, math.ceil(FINEST_PX / max(picture.shape[:2])))
    buffer = io.BytesIO()
    Image.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(buffer, format="PNG")
    return buffer.getvalue()
