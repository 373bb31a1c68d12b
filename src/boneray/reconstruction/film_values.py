"""What the values of a film mean: from detector counts to line integrals, and which part of a film was exposed.

A network learns from line integrals: the negative logarithm of the intensity behind the patient over that of the open
beam. Three kinds of film come in:

- values that are line integrals already (made by projection, or stored with their scale): kept;
- counts, linear in the beam's intensity (DICOM says LIN, or the caller does): the logarithm is taken, with the open
  beam where the film shows it. Without open beam an offset is unknown, which standardising removes anyway;
- display values: some console has applied a curve of its own. They rise with the line integral, and no more is known;
  they are only standardised.

Films of all three kinds are then cut to what was exposed, and for the network to the field that the working grid
covers, as in training, where mean and spread are taken. The networks were trained with curves of the grey scale
(`contrast` of the recipe, a power of 0.9 to 1.1) and noise, so that small deviations do not matter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.projection.detector import as_line_integrals

OPEN_PERCENTILE = 99.9
# The open beam is a peak of the histogram: this share of the film lies within a tenth of its brightest values, and
# three times as many per logarithm as between six and eight tenths.
OPEN_SHARE, OPEN_BAND, OPEN_BELOW, OPEN_PEAK = 0.005, 0.1, (0.6, 0.8), 3.0
FLAT = 0.015  # of the film's range: a line that varies less shows no body
NEAR_END = 0.02
MOST_CUT = 0.4  # of an edge, at each side
# As in training: a square detector that covers the grid's edge, magnified, and a tenth more.
MARGIN = 1.1
TOLERATED = 0.2  # a picture that is larger than that field by less is left as it is


def line_integrals_of_counts(counts: NDArray) -> tuple[NDArray[np.float32], bool]:
    """-ln of counts over the open beam, (rows, columns), and whether the open beam is in the picture.

    Without open beam the brightest pixels stand in for it, and every value is too low by the same unknown number.
    """
    counts = np.maximum(np.asarray(counts, dtype=np.float64), 0.0)
    brightest = float(np.percentile(counts, OPEN_PERCENTILE))
    band = counts[counts >= (1.0 - OPEN_BAND) * brightest]
    low, high = OPEN_BELOW
    below = float(((counts >= low * brightest) & (counts < high * brightest)).sum()) / np.log(high / low)
    is_peak = len(band) / -np.log(1.0 - OPEN_BAND) > OPEN_PEAK * below
    is_open = bool(is_peak and len(band) >= OPEN_SHARE * counts.size)
    level = float(np.median(band)) if is_open else brightest
    darkest = 0.5 / max(level, 1.0)
    return as_line_integrals(counts / max(level, 1e-9), darkest), is_open


def exposed_field(values: NDArray) -> tuple[slice, slice]:
    """Rows and columns of a film within its collimator, bone bright.

    Behind the blades nothing arrives: whole lines at the border that are flat and as high as the film gets. Borders
    painted black count too, where the picture begins with a step. At most two fifths are cut at each side.
    """
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    if high <= low:
        return slice(0, values.shape[0]), slice(0, values.shape[1])
    film = (np.asarray(values, dtype=np.float32) - low) / (high - low)
    spans = []
    for axis in (0, 1):
        middle = np.percentile(film, 50, axis=1 - axis)
        spread = np.subtract(*np.percentile(film, (97, 3), axis=1 - axis))
        spans.append(_kept(middle, spread))
    return spans[0], spans[1]


def _kept(middle: NDArray, spread: NDArray) -> slice:
    """The lines that show something, from the median and the spread of each."""
    count, most = len(middle), int(MOST_CUT * len(middle))
    ends = []
    for order in (np.arange(count), np.arange(count)[::-1]):
        line = 0
        while line < most and spread[order[line]] < FLAT and middle[order[line]] > 1.0 - NEAR_END:
            line += 1
        if line < most and middle[order[line + count // 100]] > 1.0 - 3 * NEAR_END:
            line = 0  # no step behind it: the body just is that dense there
        painted = 0
        while painted < most and spread[order[painted]] == 0.0 and middle[order[painted]] <= NEAR_END:
            painted += 1
        if 0 < painted < most and middle[order[painted]] > 5 * NEAR_END:
            line = max(line, painted)
        ends.append(0 if line >= most else line)
    return slice(ends[0], count - ends[1])


def cropped(radiograph: Radiograph, rows: slice, columns: slice) -> Radiograph:
    """The part of a radiograph, its camera's detector cut alike."""
    values = radiograph.line_integrals[rows, columns]
    row0, column0 = radiograph.camera.principal_point_px
    camera = replace(
        radiograph.camera,
        detector_shape=values.shape,
        principal_point_px=(row0 - (rows.start or 0), column0 - (columns.start or 0)),
    )
    return Radiograph(np.ascontiguousarray(values), camera, radiograph.scaled)


def pooled(radiograph: Radiograph, most_px: int) -> Radiograph:
    """Blocks of pixels averaged until no edge is longer than `most_px`; a rest at the end of an edge is cut off."""
    factor = int(np.ceil(max(radiograph.line_integrals.shape) / most_px))
    if factor <= 1:
        return radiograph
    rows, columns = (n // factor for n in radiograph.line_integrals.shape)
    whole = cropped(radiograph, slice(0, rows * factor), slice(0, columns * factor))
    small = whole.line_integrals.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    return Radiograph(small.astype(np.float32), whole.camera.resized((rows, columns)), radiograph.scaled)


def field_of_grid(camera: Camera, grid: Grid) -> tuple[float, float, float, float]:
    """(first row, end row, first column, end column) of the square detector that training would have used."""
    column, row = camera.project(grid.centre_mm)
    magnification = 1.0
    if camera.kind == "perspective":
        depth = float((grid.centre_mm - camera.source_mm) @ camera.central_ray)
        magnification = camera.source_detector_mm / depth
    edge = float(max(grid.size_mm)) * MARGIN * magnification
    half_rows, half_columns = edge / camera.pixel_mm[0] / 2, edge / camera.pixel_mm[1] / 2
    return row + 0.5 - half_rows, row + 0.5 + half_rows, column + 0.5 - half_columns, column + 0.5 + half_columns


def shown_share(camera: Camera, grid: Grid) -> float:
    """How much of the grid's field a picture covers, 0 to 1."""
    top, bottom, left, right = field_of_grid(camera, grid)
    rows, columns = camera.detector_shape
    height = max(0.0, min(bottom, rows) - max(top, 0.0)) / (bottom - top)
    width = max(0.0, min(right, columns) - max(left, 0.0)) / (right - left)
    return height * width


def cut_to_grid(radiograph: Radiograph, grid: Grid) -> Radiograph:
    """The field of the working grid out of a larger picture; one of about that size is left as it is."""
    top, bottom, left, right = field_of_grid(radiograph.camera, grid)
    rows, columns = radiograph.camera.detector_shape
    spans = []
    for first, end, count in ((top, bottom, rows), (left, right, columns)):
        if count <= (1.0 + TOLERATED) * (end - first):
            spans.append(slice(0, count))
            continue
        begin = int(np.clip(round(first), 0, count - 8))
        spans.append(slice(begin, int(np.clip(round(end), begin + 8, count))))
    return cropped(radiograph, spans[0], spans[1])
