"""The report: one self-contained HTML page that needs no network and no server."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boneray
from boneray.core.bones import bone_colour
from boneray.core.errors import BonerayError
from boneray.io.files import write_text
from boneray.report.content import RECONSTRUCTION_COLOUR, REFERENCE_COLOUR, ReportCase, ReportTable
from boneray.report.figures import RadiographFigure, data_uri, radiograph_figure, view_words
from boneray.report.measurement_pictures import measurement_drawing, measurement_sheets
from boneray.report.pictures import mesh_picture
from boneray.report.scene import faces_per_mesh, reference_meshes, scene, simplified_meshes
from boneray.report.tables import Table, measurement_table, readable, run_table, score_table, summary_table
from boneray.report.viewer import Viewer, scene_script, viewer

__all__ = ["ReportCase", "ReportTable", "write_report"]

DRAWN_PER_PAGE = 12
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class CaseSection:
    """One case, ready to be set by the template."""

    title: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[RadiographFigure, ...]
    bones: tuple[tuple[str, str, str], ...]
    picture: str
    reference_picture: str | None
    scene: str | None
    tables: tuple[Table, ...]
    drawn: tuple[tuple[str, str], ...]
    not_drawn: int
    run: tuple[tuple[str, str], ...]


def write_report(
    path: Path,
    *,
    title: str,
    cases: Sequence[ReportCase],
    tables: Sequence[ReportTable] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the page to `path`, all or nothing; returns `path`.

    With the 3D viewer in the package (see `boneray.report.viewer`) the surfaces can be turned and
    the label volume cut; without it, without WebGL2 and on paper the page shows static pictures.
    """
    return write_text(Path(path), report_html(title, cases, tables, notes, viewer()))


def report_html(
    title: str,
    cases: Sequence[ReportCase],
    tables: Sequence[ReportTable],
    notes: Sequence[str],
    shown_with: Viewer | None,
) -> str:
    """The page as text, with static pictures alone when `shown_with` is None."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    page = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters["view_words"] = view_words
    faces = faces_per_mesh(sum(_mesh_count(case) for case in cases))
    return page.get_template("report.html.j2").render(
        title=title,
        version=boneray.__version__,
        notes=tuple(notes),
        tables=[summary_table(table) for table in tables],
        cases=[
            _section(case, faces, _drawn_of(place, len(cases)), interactive=shown_with is not None)
            for place, case in enumerate(cases)
        ],
        colours={"reconstruction": _css(RECONSTRUCTION_COLOUR), "reference": _css(REFERENCE_COLOUR)},
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        viewer=shown_with,
        viewer_script=Markup(inline_script(shown_with.script)) if shown_with else "",
        scene_script=Markup(inline_script(scene_script())),
    )


def inline_script(text: str) -> str:
    """JavaScript that cannot end the element that holds it, nor hide its end; strings keep their meaning."""
    return re.sub("</(script)", r"<\\/\1", text, flags=re.IGNORECASE).replace("<!--", "<\\!--")


def inline_json(values: Any) -> str:
    """JSON for a script element, without any character that HTML looks at."""
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _section(case: ReportCase, faces: int, most_drawn: int, *, interactive: bool) -> CaseSection:
    from markupsafe import Markup

    meshes = simplified_meshes(case.meshes, faces)
    reference = reference_meshes(case.reference, faces)
    both = {"prediction": meshes, "reference": reference}
    frame = {f"{role} {name}": mesh for role, group in both.items() for name, mesh in group.items()}
    figures, problems = _figures(case)
    tables = (score_table(case), measurement_table(case))
    sheets = measurement_sheets(meshes, case.measurements)
    sheets = {name: sheet for name, sheet in sheets.items() if any(m.landmarks for m in sheet.measurements)}
    drawn = [(readable(name), measurement_drawing(readable(name), sheets[name])) for name in list(sheets)[:most_drawn]]
    return CaseSection(
        title=case.title,
        warnings=(*_warnings(case), *problems),
        notes=case.notes,
        figures=figures,
        bones=tuple((name, readable(name), _css(bone_colour(name))) for name in meshes),
        picture=data_uri(mesh_picture(meshes, {name: bone_colour(name) for name in meshes}, frame=frame)),
        reference_picture=data_uri(mesh_picture(reference, dict.fromkeys(reference, REFERENCE_COLOUR), frame=frame))
        if reference
        else None,
        scene=Markup(inline_json(scene(case, meshes, reference))) if interactive and meshes else None,
        tables=tuple(table for table in tables if table is not None),
        drawn=tuple((name, data_uri(drawing.png())) for name, drawing in drawn),
        not_drawn=len(sheets) - len(drawn),
        run=run_table(case.run),
    )


def _drawn_of(place: int, cases: int) -> int:
    """How many bones of a case are drawn with their landmarks, so that a page with many stays small."""
    return max(1, DRAWN_PER_PAGE // cases) if place < DRAWN_PER_PAGE else 0


def _figures(case: ReportCase) -> tuple[tuple[RadiographFigure, ...], tuple[str, ...]]:
    figures, problems = [], []
    for view, radiograph in case.radiographs.items():
        try:
            figures.append(radiograph_figure(view, radiograph, case))
        except BonerayError as error:
            problems.append(f"The {view} radiograph could not be drawn: {error}")
    return tuple(figures), tuple(problems)


def _warnings(case: ReportCase) -> tuple[str, ...]:
    lines = [f"Missed: {readable(name)} is in the reference but not in the reconstruction." for name in case.missed]
    lines += [f"Not in the reference: {readable(name)} was reconstructed." for name in case.unexpected]
    lines += [f"The surface of {readable(name)} is empty." for name, mesh in case.meshes.items() if not len(mesh.faces)]
    if not case.prediction.ids:
        lines.append("The reconstruction is empty: no bone was found.")
    return tuple(lines)


def _mesh_count(case: ReportCase) -> int:
    return len(case.meshes) + (0 if case.reference is None else len(case.reference.ids))


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
