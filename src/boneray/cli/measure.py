"""The command that measures bones: measure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import numbers, progress, say, show_json, show_table

if TYPE_CHECKING:
    from boneray.evaluation.measurement_errors import Comparison
    from boneray.evaluation.measuring import MeasuredCase

RESULTS = ("measurements.json",)
ROWS_SHOWN = 60
LINES_SAID = 10


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(measure)


def measure(
    labels: Annotated[
        Path, typer.Argument(help="Label map, case folder, mesh (STL, PLY, OBJ, GLB), or a folder of them.")
    ],
    anatomy: Annotated[str, typer.Option("--anatomy", "-a", help="femur, pelvis, vertebra, spine, ribs or all.")],
    label_map: Annotated[
        str | None,
        typer.Option(
            "--labels", "--label-map", help="How ids name bones: a known data set's name, or 1=sacrum,2=hip_left."
        ),
    ] = None,
    bone: Annotated[
        str, typer.Option("--bone", help="The one bone to measure; names that of a mesh or a nameless label.")
    ] = "",
    compare: Annotated[
        Path | None,
        typer.Option(help="Reference: label map, case folder, mesh, a folder of them, or a measurements.json."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for tables and pictures; a name ending in .json: that file alone."),
    ] = None,
    method: Annotated[str, typer.Option(help="Name of what is measured; default: that of the file or folder.")] = "",
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw every bone into --out.")] = True,
    spacing_mm: Annotated[
        str, typer.Option(help="Voxel edges x,y,z (or one for all) that replace those of a wrong header.")
    ] = "",
    affine: Annotated[
        str,
        typer.Option(help="Matrix from voxels to RAS mm that replaces the header's: 16 numbers, or a file."),
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core where there are enough cases.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Clinical measurements with value, unit, status and reason; with --compare their errors.

    A case of a folder that cannot be measured is reported with its reason; the others go on, and the exit code is 1.

    Example: boneray measure out/labels.nii.gz --anatomy femur --compare data/femur/femur-1-0000 --out measured
    """
    from boneray.datasets.label_maps import label_map as known_map
    from boneray.evaluation.inputs import case_name
    from boneray.evaluation.measured_subjects import find_subjects
    from boneray.evaluation.measurement_tables import (
        cases_json,
        errors_json,
        failures,
        write_errors,
        write_measurements,
    )
    from boneray.evaluation.measuring import MeasuringSettings, measure_subjects
    from boneray.io.files import prepare_output, require_free, require_new_file, write_json
    from boneray.report.measurement_pictures import write_measurement_pictures

    settings = MeasuringSettings(
        anatomy,
        known_map(label_map) if label_map else None,
        bone,
        _spacing(spacing_mm) if spacing_mm else None,
        _matrix(affine) if affine else None,
    )
    folder = out if out is not None and out.suffix.lower() != ".json" else None
    subjects = find_subjects(labels, bone)
    if folder is not None:
        require_free(folder, force=force, holds=RESULTS)
    elif out is not None:
        require_new_file(out, force=force)
    references = _references(compare, bone) if compare is not None else None
    if folder is not None:
        prepare_output(folder, force=force, holds=RESULTS)
    cases = measure_subjects(
        subjects,
        settings,
        illustrate=partial(write_measurement_pictures, folder / "pictures") if folder and pictures else None,
        workers=workers,
        progress=progress("cases", len(subjects.members)),
    )
    values = cases_json(cases, collection=subjects.collection)
    method = method or case_name(labels)
    comparison = None
    failed = failures(cases)
    if references is not None:
        truth, many = references(settings.of_reference, workers)
        failed += [f"reference {line}" for line in failures(truth)]
        comparison = _compared(cases, truth, by_name=subjects.collection or many)
        values["errors"] = errors_json(comparison)
    if folder is not None:
        write_errors(folder, comparison, method)
        write_measurements(folder, cases, collection=subjects.collection, method=method)
    elif out is not None:
        write_json(out, values)
    if as_json:
        show_json(values)
    else:
        _show(cases, comparison, written=out)
    _say_some("failed", failed)
    raise typer.Exit(1 if failed else 0)


def _references(path: Path, bone: str) -> Any:
    """A function of settings and workers that gives the cases of the reference and whether there are many.

    What is wrong with the path is said before anything is measured.
    """
    from boneray.evaluation.measured_subjects import find_subjects
    from boneray.evaluation.measurement_tables import read_measurements
    from boneray.evaluation.measuring import measure_subjects

    if path.suffix.lower() == ".json":
        read = read_measurements(path)
        return lambda settings, workers: read
    found = find_subjects(path, bone, "reference")
    return lambda settings, workers: (measure_subjects(found, settings, workers=workers), found.collection)


def _compared(cases: list[MeasuredCase], truth: list[MeasuredCase], *, by_name: bool) -> Comparison:
    from boneray.evaluation.measurement_errors import compare_measurements

    comparison = compare_measurements(cases, truth, by_name=by_name)
    _say_some("warning", [f"{case} has no reference" for case in comparison.without_reference])
    _say_some("warning", [f"reference {case} was not measured here" for case in comparison.without_prediction])
    return comparison


def _spacing(text: str) -> tuple[float, ...]:
    return numbers(text, 3 if "," in text else 1, "--spacing-mm")


def _matrix(text: str) -> tuple[tuple[float, ...], ...]:
    """16 numbers by row, separated by commas or, in a file, by spaces and line ends."""
    path = Path(text)
    if "," not in text:
        from boneray.io.files import require_file

        text = ",".join(
            require_file(path, "affine").read_text(encoding="utf-8", errors="replace").replace(",", " ").split()
        )
    found = numbers(text, 16, "--affine")
    return tuple(found[row : row + 4] for row in range(0, 16, 4))


def _show(cases: list[MeasuredCase], comparison: Comparison | None, written: Path | None) -> None:
    """A table for a person; of many cases only how many there are, if the table is on disk."""
    many = len(cases) > 1
    rows = [(case.case_id, m) for case in cases for m in case.measurements]
    if written is not None and len(rows) > ROWS_SHOWN:
        typer.echo(f"{len(rows)} measurements of {len(cases)} cases in {written}")
    elif rows:
        columns = ("bone", "measurement", "value", "unit", "status", "reason")
        cells = [(m.bone, m.name, m.value, m.unit, m.status, m.reason) for _, m in rows]
        if many:
            cells = [(case, *row) for (case, _), row in zip(rows, cells, strict=True)]  # type: ignore[misc]
        show_table(("case", *columns) if many else columns, cells)
    if comparison is None:
        return
    from boneray.evaluation.measurement_errors import ALL, summary_rows

    keys = ("name", "unit", "n", "mean", "mean_abs", "median_abs", "sd_abs", "p95_abs")
    typer.echo("")
    show_table(
        (*keys, "ok/low/none/failed/absent: reference", "prediction"),
        [
            [*(_number(row.get(key)) for key in keys), _counts(row, "reference"), _counts(row, "prediction")]
            for row in summary_rows(comparison)
            if row["bone"] == ALL
        ],
    )


def _counts(row: dict[str, Any], side: str) -> str:
    from boneray.evaluation.measurement_errors import ABSENT, STATUSES

    if row["kind"] == "landmark":
        return f"{row['n_rows'] - row[f'{side}_{ABSENT}']} of {row['n_rows']}"
    return "/".join(str(row[f"{side}_{status}"]) for status in STATUSES)


def _number(value: object) -> object:
    return None if isinstance(value, float) and value != value else value


def _say_some(what: str, lines: list[str]) -> None:
    for line in lines[:LINES_SAID]:
        say(f"{what}: {line}")
    if len(lines) > LINES_SAID:
        say(f"{what}: and {len(lines) - LINES_SAID} more")
