"""A case of a benchmark as a sheet: its radiographs, the reference, and every method coloured by its signed error."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from boneray.core.case import Case
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.surface import bone_mesh
from boneray.io.nifti import read_labels
from boneray.report.drawing import QUIET, Drawing
from boneray.report.pictures import grey_png, mesh_picture
from boneray.report.surface_error import error_picture

BONE = (222, 206, 178)
PANEL, GAP, TOP = 220.0, 16.0, 84.0
LIMIT_MM = 5.0


def worst_cases(cases: Sequence[Mapping[str, Any]], count: int = 1) -> list[tuple[str, str]]:
    """(model, case) with the lowest Dice of every model on the plain test, `count` each, worst first.

    Args:
        cases: rows of cases.csv as `benchmark.study_tables.case_rows` gives them.
    """
    out: list[tuple[float, str, str]] = []
    for model in dict.fromkeys(row["model"] for row in cases):
        mine = sorted((row["dice"], row["case"]) for row in cases if row["model"] == model and not row["condition"])
        picked: list[str] = []
        for dice, case in mine:
            if case not in picked and len(picked) < count:
                picked.append(case)
                out.append((dice, model, case))
    return [(model, case) for _, model, case in sorted(out)]


def case_panel(case: Case, predictions: Mapping[str, Path], dice: Mapping[str, float], *, note: str = "") -> Drawing:
    """The sheet of one case.

    Args:
        case: with labels and radiographs.
        predictions: label file by method.
        dice: of each method.
        note: words below the title.
    """
    assert case.labels is not None
    reference = _surface(case.labels)
    pictures: list[tuple[str, bytes]] = [(f"view {view}", grey_png(r, 512)) for view, r in case.radiographs.items()]
    if reference is not None:
        pictures.append(("reference", mesh_picture({"bone": reference}, {"bone": BONE}, height_px=300)))
    for method, file in predictions.items():
        found = _surface(read_labels(file, "prediction"))
        title = f"{method}, Dice {dice[method]:.3f}"
        if found is None or reference is None:
            pictures.append((f"{title}: empty", b""))
        else:
            pictures.append((title, error_picture(reference, found, limit_mm=LIMIT_MM, height_px=300)))
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Drawing(GAP + columns * (PANEL + GAP), TOP + rows * (PANEL + 40), f"{case.case_id}: radiographs and errors")
    sheet.text((GAP, 22), case.case_id, size=16, bold=True)
    sheet.text((GAP, 46), note, size=12, colour=QUIET)
    for number, (title, png) in enumerate(pictures):
        left, top = GAP + number % columns * (PANEL + GAP), TOP + number // columns * (PANEL + 40)
        sheet.text((left, top - 14), title, size=11)
        if png:
            _place(sheet, png, left, top)
    return sheet


def _place(sheet: Drawing, png: bytes, left: float, top: float) -> None:
    """The picture in its proportions, in a square of PANEL units."""
    width, height = Image.open(io.BytesIO(png)).size
    scale = PANEL / max(width, height)
    sheet.picture(left, top, left + width * scale, top + height * scale, png)


def _surface(labels: LabelMap) -> Mesh | None:
    """All bones as one surface; None for an empty map."""
    if not labels.ids:
        return None
    return bone_mesh(LabelMap((labels.data > 0).astype(np.uint8), labels.grid), 1)
