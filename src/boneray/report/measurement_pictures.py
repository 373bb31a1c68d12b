"""A bone from the front and from the side with its landmarks, axes, planes and numbers, to be checked by eye."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from boneray.core.measurement import Measurement
from boneray.core.mesh import Mesh
from boneray.morphometry.registry import MEASUREMENTS
from boneray.report.drawing import ALARM, INK, QUIET, RULE, WHITE, Colour, Drawing, Point, colour_of, text_width
from boneray.report.measurement_marks import Figure, figures_of, number_with_unit, points_of, short_title
from boneray.report.pictures import DIRECTIONS, scale_bar_mm
from boneray.report.ranking_pictures import write_drawing
from boneray.report.shading import Viewpoint, blank, draw
from boneray.report.tables import readable

PANELS = (("anterior", "from the front", "R", "L"), ("right", "from the right", "P", "A"))
BONE: Colour = (224, 211, 186)
MARK: Colour = (196, 30, 58)
PANEL_TOP, LEAST_HEIGHT, MOST_HEIGHT, MOST_WIDTH = 76.0, 300.0, 560.0, 760.0
MARGIN, GUTTER = 1.1, 14.0
PIXELS = 2
LABEL_SIZE, LABEL_GAP = 11.0, 15.0
ROW, NOTE_SIZE, NOTE_WIDTH = 18.0, 10.5, 300.0
PLANE_ALPHA = 70


@dataclass(frozen=True)
class Sheet:
    """What one picture shows: surfaces by bone, and the numbers that go with them."""

    meshes: dict[str, Mesh]
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class _Label:
    text: str
    colour: Colour
    at: Point


class _Panel:
    """One view on the sheet: world points in, places on the sheet out."""

    def __init__(self, direction: str, low: NDArray[np.float64], high: NDArray[np.float64], mm: float, height: float):
        self.axes = DIRECTIONS[direction]
        self.centre, self.mm, self.height = (low + high) / 2, mm, height
        self.width = max(130.0, float(np.abs(self.axes[0]) @ (high - low)) * MARGIN / mm)
        self.left = 0.0

    def at(self, point: NDArray[np.float64]) -> Point:
        """Where a point lies on the sheet."""
        across, up = (point - self.centre) @ np.array(self.axes[:2]).T / self.mm
        return self.left + self.width / 2 + float(across), PANEL_TOP + self.height / 2 - float(up)

    def flat(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (n, 3) as (n, 2) units on the sheet, wherever the panel stands."""
        return np.asarray((points - self.centre) @ np.array(self.axes[:2]).T / self.mm)


def write_measurement_pictures(
    folder: Path, case_id: str, meshes: Mapping[str, Mesh], measurements: Sequence[Measurement]
) -> list[Path]:
    """Write `<case>_<bone>.png` and `.svg` for every sheet of a case into a folder."""
    written = []
    for name, sheet in measurement_sheets(meshes, measurements).items():
        stem = f"{case_id}_{name}".replace("/", "-")
        written += write_drawing(measurement_drawing(f"{case_id}: {readable(name)}", sheet), folder / stem)
    return written


def measurement_sheets(meshes: Mapping[str, Mesh], measurements: Sequence[Measurement]) -> dict[str, Sheet]:
    """What is shown together, by the name of the picture.

    A bone has a sheet of its own. Numbers of several bones together have one sheet (`pelvis`,
    `spine`), which also takes the numbers of those bones that have no landmark of their own. What
    has no surface has no sheet.
    """
    facts = {entry.name: entry.facts for entry in MEASUREMENTS}
    own: dict[str, list[Measurement]] = {}
    joint: dict[str, list[Measurement]] = {}
    shared: dict[str, dict[str, None]] = {}
    for m in measurements:
        known = facts.get(m.name, {})
        if known.get("together"):
            name = str(known.get("under") or known["anatomy"])
            joint.setdefault(name, []).append(m)
            bones = known["bones"]
            assert isinstance(bones, tuple)
            shared.setdefault(name, {}).update(dict.fromkeys(bones))
        else:
            own.setdefault(m.bone, []).append(m)
    for bone in list(own):
        group = next((name for name, bones in shared.items() if bone in bones), None)
        if group is not None and not any(m.landmarks for m in own[bone]):
            joint[group] += own.pop(bone)
    sheets = {name: (list(shared[name]), found) for name, found in joint.items()}
    sheets |= {bone: ([bone], found) for bone, found in own.items()}
    shown = {
        name: Sheet({bone: meshes[bone] for bone in bones if bone in meshes and len(meshes[bone].faces)}, tuple(found))
        for name, (bones, found) in sheets.items()
    }
    return {name: sheet for name, sheet in shown.items() if sheet.meshes}


def measurement_drawing(title: str, sheet: Sheet) -> Drawing:
    """The sheet as a drawing: two shaded views with everything named, and a table of all numbers."""
    figures, points = figures_of(sheet.measurements), points_of(sheet.measurements)
    panels = _panels(sheet, [*points.values(), *(p for figure in figures for p in figure.points)])
    labels = _labels(figures, points, panels)
    left = 16.0
    sides = []
    for panel, of_panel in zip(panels, labels, strict=True):
        middle = float(np.median([panel.flat(at[None])[0, 0] for _, _, at in of_panel])) if of_panel else 0.0
        split: tuple[list[tuple[str, Colour, NDArray[np.float64]]], ...] = ([], [])
        for label in sorted(of_panel, key=lambda one: panel.flat(one[2][None])[0, 0]):
            split[int(panel.flat(label[2][None])[0, 0] >= middle)].append(label)
        gutters = [max((text_width(text, LABEL_SIZE) for text, _, _ in side), default=0.0) for side in split]
        panel.left = left + gutters[0] + GUTTER
        left = panel.left + panel.width + GUTTER + gutters[1] + 16
        sides.append(split)
    rows = _table_rows(sheet)
    name_width = max(text_width(row[0]) for row in rows) + 16
    table_width = max(name_width + 90 + max(text_width(row[2], NOTE_SIZE) for row in rows), NOTE_WIDTH)
    notes = _notes(sheet)
    table_height = ROW * (len(rows) + 1) + sum(14.0 * len(lines) + 4 for lines in notes) + 20
    height = PANEL_TOP + max(panels[0].height + 34, table_height)
    drawing = Drawing(left + table_width + 16, height, title)
    drawing.text((16, 22), title, size=16, bold=True)
    drawing.text((16, 44), "views along the axes of the file's patient frame (RAS)", size=11, colour=QUIET)
    for panel, (direction, words, low, high), split in zip(panels, PANELS, sides, strict=True):
        drawing.picture(panel.left, PANEL_TOP, panel.left + panel.width, PANEL_TOP + panel.height,
                        _shaded(sheet.meshes, panel, figures))  # fmt: skip
        _caption(drawing, panel, words, (low, high), bar=direction == "anterior")
        _draw_figures(drawing, panel, figures, points)
        for side, of_side in zip((-1, 1), split, strict=True):
            _draw_labels(drawing, panel, [_Label(text, colour, panel.at(at)) for text, colour, at in of_side], side)
    _draw_table(drawing, left, name_width, rows, notes)
    return drawing


def _panels(sheet: Sheet, marks: Sequence[NDArray[np.float64]]) -> list[_Panel]:
    corners = np.concatenate([mesh.vertices_mm for mesh in sheet.meshes.values()] + [p[None] for p in marks])
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent = np.maximum(high - low, 1.0)
    mm = float(max(extent[2] / MOST_HEIGHT, (extent[0] + extent[1]) / MOST_WIDTH)) * MARGIN
    height = max(LEAST_HEIGHT, float(extent[2]) * MARGIN / mm)
    return [_Panel(direction, low, high, mm, height) for direction, *_ in PANELS]


def _labels(
    figures: Sequence[Figure], points: Mapping[str, NDArray[np.float64]], panels: Sequence[_Panel]
) -> tuple[list[tuple[str, Colour, NDArray[np.float64]]], ...]:
    """Every landmark and figure named once, in the view that shows it best.

    That is the view in which a line is longest, a plane widest, a landmark furthest from the next one.
    """
    out: tuple[list[tuple[str, Colour, NDArray[np.float64]]], ...] = tuple([] for _ in panels)
    for index, figure in enumerate(figures):
        sizes = [_shown_size(panel.flat(figure.points), figure) for panel in panels]
        at = figure.points.mean(axis=0)
        if figure.kind == "ball":
            at = at + figure.radius_mm * np.array([0.0, 0.0, 1.0])
        out[int(np.argmax(sizes))].append((figure.title, colour_of(index), at))
    names = list(points)
    if names:
        places = np.array([points[name] for name in names])
        rooms = []
        for panel in panels:
            flat = panel.flat(places)
            apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + np.diag(np.full(len(names), np.inf))
            rooms.append(np.minimum(apart.min(axis=1), 1e6))
        for name, best in zip(names, np.argmax(rooms, axis=0), strict=True):
            out[int(best)].append((readable(name), MARK, points[name]))
    return out


def _shown_size(flat: NDArray[np.float64], figure: Figure) -> float:
    if figure.kind == "line":
        return float(np.linalg.norm(flat[1] - flat[0]))
    x, y = flat.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _shaded(meshes: Mapping[str, Mesh], panel: _Panel, figures: Sequence[Figure]) -> bytes:
    """The surfaces, shaded, with translucent planes over them, as PNG."""
    shape = (round(panel.height * PIXELS), round(panel.width * PIXELS))
    view = Viewpoint(panel.axes, tuple(panel.centre.tolist()), panel.mm / PIXELS, shape)
    picture, depth = blank(view)
    for mesh in meshes.values():
        draw(picture, depth, mesh, BONE, view)
    image = Image.fromarray(picture)
    middle = np.array([panel.width, panel.height]) / 2
    for index, figure in enumerate(figures):
        if figure.kind == "plane":
            veil = Image.new("RGBA", image.size)
            corners = [(PIXELS * (middle[0] + x), PIXELS * (middle[1] - y)) for x, y in panel.flat(figure.points)]
            ImageDraw.Draw(veil).polygon(corners, fill=(*colour_of(index), PLANE_ALPHA))
            image = Image.alpha_composite(image, veil)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _draw_figures(
    drawing: Drawing, panel: _Panel, figures: Sequence[Figure], points: Mapping[str, NDArray[np.float64]]
) -> None:
    for index, figure in enumerate(figures):
        places = [panel.at(point) for point in figure.points]
        if figure.kind == "ball":
            (x, y), radius = places[0], figure.radius_mm / panel.mm
            turns = np.linspace(0, 2 * np.pi, 73)
            places = [(x + radius * float(np.cos(t)), y + radius * float(np.sin(t))) for t in turns]
        elif figure.kind == "plane":
            places.append(places[0])
        drawing.line(places, WHITE, 3.0)
        drawing.line(places, colour_of(index), 1.6)
    for point in points.values():
        drawing.disc(panel.at(point), 3.2, MARK, WHITE)


def _draw_labels(drawing: Drawing, panel: _Panel, labels: Sequence[_Label], side: int) -> None:
    """Names in the gutter beside a view (-1 left, 1 right), each with a line to what it names."""
    ordered = sorted(labels, key=lambda label: label.at[1])
    heights = _spread([label.at[1] for label in ordered], PANEL_TOP + 8, PANEL_TOP + panel.height - 8)
    edge = panel.left - GUTTER / 2 if side < 0 else panel.left + panel.width + GUTTER / 2
    for label, y in zip(ordered, heights, strict=True):
        drawing.line([(edge - side * 2, y), (edge - side * GUTTER, y), label.at], label.colour, 0.5)
        drawing.text((edge, y), label.text, size=LABEL_SIZE, colour=label.colour, anchor="end" if side < 0 else "start")


def _spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """The heights, ascending, moved as little as it takes to be a line apart and inside."""
    gap = min(LABEL_GAP, (high - low) / max(1, len(wanted) - 1))
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, low, placed[-1] + gap if placed else low))
    limit = high
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - gap
    return placed


def _caption(drawing: Drawing, panel: _Panel, words: str, letters: tuple[str, str], *, bar: bool) -> None:
    bottom = PANEL_TOP + panel.height
    drawing.text((panel.left + panel.width / 2, PANEL_TOP - 12), words, size=12, colour=QUIET, anchor="middle")
    for letter, x in zip(letters, (panel.left + 6, panel.left + panel.width - 6), strict=True):
        drawing.text((x, PANEL_TOP - 12), letter, size=12, colour=INK, anchor="middle", bold=True)
    if bar:
        length = scale_bar_mm(panel.width * panel.mm)
        drawing.line([(panel.left, bottom + 10), (panel.left + length / panel.mm, bottom + 10)], INK, 2.0)
        drawing.text((panel.left, bottom + 22), f"{length} mm", size=11, colour=QUIET)


def _table_rows(sheet: Sheet) -> list[tuple[str, str, str]]:
    several = len({m.bone for m in sheet.measurements}) > 1 and len(sheet.meshes) > 1
    together = {entry.name for entry in MEASUREMENTS if entry.facts.get("together")}
    marks = {reason: str(number) for number, reason in enumerate(_reasons(sheet), 1)}
    rows = []
    for m in sheet.measurements:
        bone = f" ({readable(m.bone)})" if several and m.name not in together else ""
        status = "" if m.status == "ok" else readable(m.status)
        rows.append((short_title(m) + bone, number_with_unit(m), f"{status} {marks.get(m.reason, '')}".strip()))
    return rows


def _reasons(sheet: Sheet) -> list[str]:
    return list(dict.fromkeys(m.reason for m in sheet.measurements if m.reason))


def _notes(sheet: Sheet) -> list[list[str]]:
    """The reasons, numbered as in the table, in lines that fit."""
    out = []
    for number, reason in enumerate(_reasons(sheet), 1):
        lines = [str(number)]
        for word in reason.split():
            if text_width(f"{lines[-1]} {word}", NOTE_SIZE) > NOTE_WIDTH:
                lines.append("   " + word)
            else:
                lines[-1] += f" {word}"
        out.append(lines)
    return out


def _draw_table(
    drawing: Drawing, left: float, name_width: float, rows: Sequence[tuple[str, str, str]], notes: list[list[str]]
) -> None:
    y = PANEL_TOP - 12
    for name, value, status in rows:
        drawing.text((left, y), name, size=12)
        drawing.text((left + name_width + 76, y), value, size=12, anchor="end", bold=True)
        drawing.text((left + name_width + 88, y), status, size=NOTE_SIZE, colour=ALARM)
        drawing.line([(left, y + ROW / 2), (drawing.width - 16, y + ROW / 2)], RULE, 0.5)
        y += ROW
    y += 8
    for lines in notes:
        for line in lines:
            drawing.text((left, y), line, size=NOTE_SIZE, colour=QUIET)
            y += 14
        y += 4
