"""Commands that use a checkpoint and look at the result: reconstruct, calibrate, report, view, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from boneray.cli.data import Force, Json, Out
from boneray.cli.output import nothing, numbers, progress, say, show_json, show_table

BoneName = Annotated[str, typer.Option("--bone", help="Which bone a one-bone anatomy shows: femur_left, L3 ...")]


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (reconstruct, calibrate, report, view, demo):
        app.command()(command)


def reconstruct(
    checkpoint: Annotated[str, typer.Option(help="Packaged name, .safetensors file or run folder.")],
    out: Out,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="CASE", help="Case folder, folder of patients or CSV of patients; or give --ap, --lat."),
    ] = None,
    ap: Annotated[Path | None, typer.Option(help="Frontal radiograph: DICOM, PNG, JPEG or TIFF.")] = None,
    lat: Annotated[Path | None, typer.Option(help="Lateral radiograph.")] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="A radiograph from elsewhere, FILE:angle (FILE:75, FILE:lao30); repeatable."),
    ] = None,
    camera: Annotated[
        list[Path] | None, typer.Option(help="One cameras.json, or one JSON or MayaCam file per view in their order.")
    ] = None,
    sdd_mm: Annotated[float | None, typer.Option(help="Source to detector, where the files do not say.")] = None,
    sod_mm: Annotated[float | None, typer.Option(help="Source to bone; default: 150 mm before the detector.")] = None,
    pixel_mm: Annotated[float | None, typer.Option(help="Pixel pitch on the detector.")] = None,
    values: Annotated[str, typer.Option(help="Grey values of PNG, JPEG, TIFF: auto, bright, dark or counts.")] = "auto",
    bone: BoneName = "",
    centre_mm: Annotated[
        str, typer.Option(help="Centre of the bone x,y,z in RAS mm, or auto; default: where the rays meet.")
    ] = "",
    roi: Annotated[
        Path | None, typer.Option(help="JSON with boxes or centroids per level and view: one vertebra after the other.")
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Move each bone until its outlines agree better.")] = False,
    confidence: Annotated[bool, typer.Option(help="Answer again from changed pictures to say how sure it is.")] = True,
    anyway: Annotated[bool, typer.Option("--anyway", help="Answer even where a check refuses.")] = False,
    mesh: Annotated[str, typer.Option(help="Mesh formats: stl,ply,obj,glb.")] = "stl",
    dicom: Annotated[bool, typer.Option("--dicom", help="Also DICOM-SEG and encapsulated STL, in dicom/.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Also measurements.json.")] = False,
    page: Annotated[bool, typer.Option("--report", help="Also report.html and preview.png.")] = False,
    runtime: Annotated[str, typer.Option(help="What runs the network: auto, onnx, torch or torch-bf16.")] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reconstruct bones from radiographs: labels.nii.gz, meshes and run.json.

    Example: boneray reconstruct --ap ap.dcm --lat lat.dcm --bone femur_left --checkpoint raylift_tiny_femur --out out
    """
    from boneray.core.errors import InputError
    from boneray.reconstruction.answer import Wishes
    from boneray.reconstruction.levels import reconstruct_levels
    from boneray.reconstruction.many import is_many, reconstruct_many
    from boneray.reconstruction.reconstruct import Reconstructor
    from boneray.reconstruction.sources import reconstruct_case, reconstruct_files

    centre = numbers(centre_mm, 3, "--centre-mm") if centre_mm not in ("", "auto") else centre_mm or None
    wishes = Wishes(centre_mm=centre, refine=refine, confidence=confidence, anyway=anyway)
    formats = tuple(part.strip() for part in mesh.split(",") if part.strip())
    films = _films(ap, lat, view or [])
    geometry: dict[str, Any] = {"sdd_mm": sdd_mm, "sod_mm": sod_mm, "pixel_mm": pixel_mm, "values": values}
    if source is not None and (films or camera):
        raise InputError("give either a case, a folder or a CSV, or --ap, --lat and --view, not both")
    shared: dict[str, Any] = {"checkpoint": checkpoint, "out": out, "formats": formats, "force": force}
    if runtime != "auto":
        shared["reconstructor"] = Reconstructor.load(checkpoint, runtime=runtime)
    if roi is not None:
        run = reconstruct_levels(films, camera or [], roi, anyway=anyway, **shared, **geometry)
    elif source is not None and is_many(source):
        told = nothing if as_json else say
        summary = reconstruct_many(
            source, bone=bone, wishes=wishes, say=told, progress=progress("patients"), **shared, **geometry
        )
        for row in summary["cases"]:
            if row["status"] == "ok":
                _added(out / row["case_id"], measure=measure, page=page, dicom=dicom)
        if as_json:
            show_json(summary)
        raise typer.Exit(1 if summary["failed"] else 0)
    elif source is not None:
        run = reconstruct_case(source, bone=bone, wishes=wishes, **shared)
    else:
        run = reconstruct_files(films, camera or [], bone=bone, wishes=wishes, **shared, **geometry)
    _added(out, measure=measure, page=page, dicom=dicom)
    if as_json:
        show_json(run)
        return
    for line in run.get("assumed", ()):
        say(f"assumed: {line}")
    for warning in run["warnings"]:
        say(f"warning: {warning}")
    say(f"{', '.join(run['bones'])} in {out} ({run['seconds']:.1f} s)")


def _added(folder: Path, *, measure: bool, page: bool, dicom: bool) -> None:
    """Put beside a reconstruction what else was asked for."""
    if measure:
        from boneray.report.additions import add_measurements

        add_measurements(folder)
    if page:
        from boneray.report.additions import add_preview
        from boneray.report.folder import report_folder

        add_preview(folder)
        report_folder(folder, force=True)
    if dicom:
        from boneray.reconstruction.dicom_output import add_dicom

        add_dicom(folder)


def _films(ap: Path | None, lat: Path | None, views: list[str]) -> dict[str, Path]:
    """The radiographs by view, in the order ap, lat, others."""
    from boneray.core.errors import InputError

    films = {name: path for name, path in (("ap", ap), ("lat", lat)) if path is not None}
    for text in views:
        file, colon, name = text.rpartition(":")
        if not colon or not file or not name:
            raise InputError(f"--view '{text}' must be FILE:angle, for example oblique.dcm:45 or oblique.dcm:lao30")
        if name in films:
            raise InputError(f"view {name} is given twice")
        films[name] = Path(file)
    return films


def calibrate(
    checkpoint: Annotated[str, typer.Option(help="Packaged name, .safetensors file or run folder.")],
    patients: Annotated[int, typer.Option(min=1, help="Phantom patients.")] = 240,
    seed: Annotated[int, typer.Option(help="Of the phantoms; not the one the checkpoint was trained with.")] = 4711,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File; default: NAME.calibration.json beside the checkpoint.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure on phantoms what a checkpoint is used to: limits and tables that `reconstruct` reads.

    Example: boneray calibrate --checkpoint runs/femur --patients 240
    """
    from boneray.io.files import require_new_file, write_json
    from boneray.models.card import find_checkpoint
    from boneray.reconstruction.calibrating import calibrated
    from boneray.reconstruction.reconstruct import Reconstructor

    file = find_checkpoint(checkpoint)
    target = require_new_file(out or file.with_name(f"{file.stem}.calibration.json"), force=force)
    found = calibrated(
        Reconstructor.load(checkpoint), file.stem, patients=patients, seed=seed, progress=progress("phantoms", patients)
    )
    write_json(target, found.to_dict())
    if as_json:
        show_json({name: value for name, value in found.to_dict().items() if name != "descriptions"})
        return
    for name, rows in (("reading", found.tables["orientation"]), ("reliability", found.tables["reliability"])):
        say(name)
        table = (
            [[key, *row.values()] for key, row in rows.items()]
            if isinstance(rows, dict)
            else [list(row.values()) for row in rows]
        )
        heads = list(next(iter(rows.values())) if isinstance(rows, dict) else rows[0])
        show_table([name, *heads] if isinstance(rows, dict) else heads, table)
    say(f"calibration: {target}")


def report(
    folder: Annotated[Path, typer.Argument(help="What `reconstruct` wrote, or a folder of such folders.")],
    reference: Annotated[Path | None, typer.Option(help="True case folder(s), for errors and outlines.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Page to write; default: report.html in the folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Write one self-contained page: radiographs with outlines, 3D view, errors, measurements.

    Example: boneray report out --reference data/femur/femur-1-0000
    """
    from boneray.report.folder import report_folder

    say(f"report: {report_folder(folder, reference=reference, out=out, force=force)}")


def view(
    folder: Annotated[Path, typer.Argument(help="Folder with report.html, or a reconstruction to report on first.")],
) -> None:
    """Open the report of a folder in the browser.

    Example: boneray view demo
    """
    from boneray.report.folder import report_folder
    from boneray.report.serve import open_in_browser

    page = folder / "report.html"
    say(open_in_browser(page if page.is_file() else report_folder(folder)))


def demo(
    out: Out = Path("demo"),
    patients: Annotated[int, typer.Option(min=1, help="Held-out patients per anatomy.")] = 20,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reconstruct bones of new phantom patients from two radiographs and write a page about it.

    Example: boneray demo --out demo
    """
    from boneray.report.demo import held_out_table, rows_of, run_demo

    result = run_demo(
        out, patients=patients, force=force, say=nothing if as_json else say, progress=progress("patients", patients)
    )
    if as_json:
        show_json(result)
        return
    table = held_out_table(rows_of(result))
    show_table(table.columns, table.rows)
    for name in ("report.html", "metrics.json", "measurements.json", "labels.nii.gz", "meshes/"):
        say(f"{out / name}")
