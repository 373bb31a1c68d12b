"""Commands that use a checkpoint and look at the result: reconstruct, report, view, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json, Out
from boneray.cli.output import nothing, numbers, progress, say, show_json, show_table

BoneName = Annotated[str, typer.Option("--bone", help="Which bone a one-bone anatomy shows: femur_left, L3 ...")]


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (reconstruct, report, view, demo):
        app.command()(command)


def reconstruct(
    checkpoint: Annotated[str, typer.Option(help="Packaged name, .safetensors file or run folder.")],
    out: Out,
    case: Annotated[Path | None, typer.Argument(help="Case folder; or give --ap, --lat and --camera.")] = None,
    ap: Annotated[Path | None, typer.Option(help="AP radiograph, PNG or TIFF, bone bright.")] = None,
    lat: Annotated[Path | None, typer.Option(help="Lateral radiograph.")] = None,
    camera: Annotated[Path | None, typer.Option(help="cameras.json, see docs/case-folder.md.")] = None,
    bone: BoneName = "",
    centre_mm: Annotated[
        str, typer.Option(help="Centre of the bone x,y,z in RAS mm; default: where the rays meet.")
    ] = "",
    mesh: Annotated[str, typer.Option(help="Mesh formats: stl,ply,obj,glb.")] = "stl",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reconstruct bones from radiographs: labels.nii.gz, meshes and run.json.

    Example: boneray reconstruct data/femur/femur-1-0000 --checkpoint raylift_tiny_femur --out out
    """
    from boneray.core.errors import InputError
    from boneray.reconstruction.sources import reconstruct_case, reconstruct_files

    centre = numbers(centre_mm, 3, "--centre-mm") if centre_mm else None
    formats = tuple(part.strip() for part in mesh.split(",") if part.strip())
    if case is not None and (ap or lat or camera):
        raise InputError("give either a case folder or --ap, --lat and --camera, not both")
    if case is not None:
        run = reconstruct_case(
            case, checkpoint=checkpoint, out=out, bone=bone, centre_mm=centre, formats=formats, force=force
        )
    else:
        files = {name: path for name, path in (("ap", ap), ("lat", lat)) if path is not None}
        run = reconstruct_files(
            files, camera, checkpoint=checkpoint, out=out, bone=bone, centre_mm=centre, formats=formats, force=force
        )
    if as_json:
        show_json(run)
        return
    for warning in run["warnings"]:
        say(f"warning: {warning}")
    say(f"{', '.join(run['bones'])} in {out} ({run['seconds']:.1f} s)")


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
