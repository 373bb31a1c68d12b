"""The radiographs of a case as scalable figures: the picture with projected outlines as paths."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.camera import Camera
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.report.content import ReportCase
from boneray.report.pictures import grey_png

TOLERANCE_PX = 0.25
VIEW_WORDS = {"ap": "AP", "lat": "lateral"}
RAS_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


@dataclass(frozen=True)
class RadiographFigure:
    """What the page needs to set one radiograph.

    Attributes:
        picture: data URI of the grey picture.
        shape: (rows, columns) of the detector, the units of the paths.
        aspect: width / height on the detector in mm.
        paths: SVG path data by what is outlined: reconstruction, reference.
        left, right: anatomical letters at the edges of the picture.
    """

    view: str
    picture: str
    shape: tuple[int, int]
    aspect: float
    paths: dict[str, str]
    left: str
    right: str


def radiograph_figure(view: str, radiograph: Radiograph, case: ReportCase) -> RadiographFigure:
    """One radiograph of a case with the outlines of the reconstruction and, below it, of the reference."""
    camera = radiograph.camera
    rows, columns = camera.detector_shape
    row_mm, column_mm = camera.pixel_mm
    label_maps = {"reference": case.reference, "reconstruction": case.prediction}
    paths = {name: path_data(outlines(labels, camera)) for name, labels in label_maps.items() if labels is not None}
    left, right = edge_letters(camera)
    return RadiographFigure(
        view=view,
        picture=data_uri(grey_png(radiograph)),
        shape=(rows, columns),
        aspect=columns * column_mm / (rows * row_mm),
        paths=paths,
        left=left,
        right=right,
    )


def outlines(labels: LabelMap, camera: Camera) -> list[NDArray[np.float64]]:
    """The outlines of all bones as (n, 2) polylines of (column, row)."""
    from boneray.projection.outline import projected_outline

    return [line for bone_id in labels.ids for line in projected_outline(labels, bone_id, camera)]


def view_words(view: str) -> str:
    """A view as a caption: `ap` becomes `AP`, `75` becomes `75 degrees`."""
    if view in VIEW_WORDS:
        return VIEW_WORDS[view]
    return f"{view} degrees" if view.lstrip("-").replace(".", "", 1).isdigit() else view.replace("_", " ")


def path_data(lines: list[NDArray[np.float64]]) -> str:
    """SVG path data of polylines, thinned to a quarter of a pixel."""
    from skimage.measure import approximate_polygon

    thinned = (approximate_polygon(line, TOLERANCE_PX) for line in lines)
    return "".join("M" + "L".join(f"{column:.1f} {row:.1f}" for column, row in line) for line in thinned)


def edge_letters(camera: Camera) -> tuple[str, str]:
    """The anatomical directions at the left and right edge of the picture, of R L A P S I."""
    across = camera.pose[:3, 0]
    axis = int(np.argmax(np.abs(across)))
    positive, negative = RAS_LETTERS[axis]
    return (negative, positive) if across[axis] > 0 else (positive, negative)


def data_uri(png: bytes) -> str:
    """A PNG as text that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
