"""The command that scores predictions: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import progress, say, show_json, show_table

if TYPE_CHECKING:
    from boneray.evaluation.comparison import Evaluation

SHOWN_OF_BONES = ("dice", "hd95_mm", "assd_mm")
SHOWN_OF_CASES = (
    "dice",
    "hd95_mm_present",
    "hd95_mm_penalised",
    "assd_mm_present",
    "assd_mm_penalised",
    "localisation_error_mm_present",
    "id_rate_verse",
)
ROWS_SHOWN = 60
LINES_SAID = 10


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(evaluate)


def evaluate(
    reference: Annotated[Path, typer.Option(help="Label map, case folder, or a folder of them (a data set).")],
    prediction: Annotated[Path, typer.Option(help="The same kind, matched by name.")],
    label_map: Annotated[
        str | None,
        typer.Option(
            "--labels", "--label-map", help="How ids name bones: a known data set's name, or 1=sacrum,2=hip_left."
        ),
    ] = None,
    drop_unnamed: Annotated[
        bool, typer.Option("--drop-unnamed", help="Ids that the label map lacks are no bones; else they fail a case.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for tables and summary; a rerun goes on."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write one row per case and bone to this file.")] = None,
    method: Annotated[str, typer.Option(help="Name of what is evaluated; default: that of the prediction.")] = "",
    by: Annotated[
        str | None, typer.Option(help="Column to group by: of --metadata, of the case.json, bone or side.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="CSV with a column for the case, if need be for the bone.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice (NSD) in mm.")] = 2.0,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Further metric(s) of `boneray list metrics`.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="paper:swin-x2s or paper:xrayto3d: beside ours, what that paper's code computed.")
    ] = "",
    resample: Annotated[
        bool, typer.Option("--resample", help="Put predictions on another grid onto the reference's, nearest voxel.")
    ] = False,
    intensities: Annotated[
        bool,
        typer.Option("--intensities", help="Score predicted intensities (MSE, MAE, PSNR, SSIM, FD) and shape."),
    ] = False,
    range_hu: Annotated[float, typer.Option(min=1.0, help="Range of PSNR and SSIM in HU (12 bits).")] = 4096.0,
    threshold_hu: Annotated[
        float | None, typer.Option(help="Intensities above it are the shape; default: what each run.json states.")
    ] = None,
    error_pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures and .ply meshes coloured by signed surface distance.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core where there are enough cases.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Dice, HD95, ASSD, NSD and more in mm, per case, bone and group; a missed bone counts.

    A case that cannot be scored is reported with its reason; the others go on, and the exit code is 1.

    Example: boneray evaluate --reference data/femur/femur-1-0000 --prediction out --json
    """
    from boneray.core.errors import ConfigError
    from boneray.datasets.label_maps import label_map as known_map
    from boneray.evaluation.case_scoring import ScoringSettings
    from boneray.evaluation.comparison import evaluate_cases
    from boneray.evaluation.groups import NO_GROUPS, read_groups
    from boneray.evaluation.inputs import case_name, match_cases
    from boneray.evaluation.result_files import open_evaluation, write_evaluation
    from boneray.evaluation.summary import evaluation_json
    from boneray.evaluation.tables import bone_rows, write_csv
    from boneray.io.files import require_new_file

    if intensities:
        _intensities(reference, prediction, csv, range_hu, threshold_hu, force=force, as_json=as_json)
        return
    names = known_map(label_map) if label_map else None
    settings = ScoringSettings(names, drop_unnamed, resample, tolerance_mm, tuple(metric or ()), mode)
    if metadata is not None and by is None:
        raise ConfigError("--metadata says nothing without --by; name the column to group by")
    matched = match_cases(reference, prediction)
    groups = read_groups(by, matched.pairs, metadata) if by else NO_GROUPS
    if csv is not None:
        require_new_file(csv, force=force)
    method = method or case_name(prediction)
    folder = None
    if out is not None:
        question = {
            "reference": str(reference),
            "prediction": str(prediction),
            "method": method,
            "by": by,
            "metadata": str(metadata) if metadata else None,
            **settings.to_dict(),
        }
        folder = open_evaluation(out, question, force=force)
    evaluation = evaluate_cases(
        matched,
        settings,
        method=method,
        groups=groups,
        folder=folder,
        workers=workers,
        progress=progress("cases", len(matched.pairs)),
    )
    if csv is not None:
        write_csv(csv, bone_rows(evaluation.scores, method=method, groups=groups))
    if out is not None:
        write_evaluation(out, evaluation)
    if error_pictures is not None:
        from boneray.report.surface_error import write_error_pictures

        say(f"{write_error_pictures(error_pictures, matched, names, force=force)} bones in {error_pictures}")
    _say_what_to_know(evaluation)
    if as_json:
        show_json(evaluation_json(evaluation))
    else:
        _show(evaluation, written=out or csv)
    raise typer.Exit(1 if evaluation.failed else 0)


def _intensities(
    reference: Path,
    prediction: Path,
    csv: Path | None,
    range_hu: float,
    threshold_hu: float | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Intensities of every reconstruction against the CT of its case."""
    from boneray.evaluation.intensities import score_intensity_folders
    from boneray.evaluation.tables import write_csv
    from boneray.io.files import require_new_file

    if csv is not None:
        require_new_file(csv, force=force)
    scores = score_intensity_folders(reference, prediction, threshold_hu=threshold_hu, data_range_hu=range_hu)
    rows = [{"case": s.case_id, **s.values, **s.shape, "threshold_hu": s.threshold_hu} for s in scores]
    if csv is not None:
        write_csv(csv, rows)
    if as_json:
        show_json({"range_hu": range_hu, "cases": [score.to_dict() for score in scores]})
    else:
        show_table(tuple(rows[0]), [list(row.values()) for row in rows])
        say(f"PSNR and SSIM by a range of {range_hu:g} HU; shape: voxels above the threshold")


def _say_what_to_know(evaluation: Evaluation) -> None:
    _say_some("warning", evaluation.warnings())
    _say_some("failed", [f"{result.case_id}: {result.reason}" for result in evaluation.failed])
    if evaluation.failed:
        say(f"{len(evaluation.failed)} of {len(evaluation.results)} cases failed and are in no number")


def _say_some(what: str, lines: list[str]) -> None:
    for line in lines[:LINES_SAID]:
        say(f"{what}: {line}")
    if len(lines) > LINES_SAID:
        say(f"{what}: and {len(lines) - LINES_SAID} more")


def _show(evaluation: Evaluation, written: Path | None) -> None:
    """Tables for a person: bones, then means over cases and by group, then what a paper would have printed."""
    from boneray.evaluation.tables import group_rows
    from boneray.metrics.surface import surface_dice_metric

    nsd = surface_dice_metric(evaluation.settings.tolerance_mm).name
    bones = [(case.case_id, bone) for case in evaluation.scores for bone in case.bones]
    if written is not None and len(bones) > ROWS_SHOWN:
        typer.echo(f"{len(bones)} bones of {len(evaluation.scores)} cases in {written}")
    elif bones:
        shown = (*SHOWN_OF_BONES, nsd)
        rows = [[case, b.bone, b.status, *(b.values[name] for name in shown)] for case, b in bones]
        show_table(("case", "bone", "status", *shown), rows)
    summary = group_rows(evaluation)
    if len(evaluation.scores) > 1 or evaluation.groups.column:
        keys = ("group", "metric", "mean", "median", "sd", "worst", "worst_case", "n", "n_cases", "n_spurious")
        rows = [
            [*(row[key] for key in keys), f"{row['n_present']}/{row['n_reference']}"]
            for row in summary
            if row["metric"] in (*SHOWN_OF_CASES, nsd)
        ]
        typer.echo("")
        show_table((*keys, "bones found"), rows)
    if evaluation.settings.mode:
        columns = ("group", "metric", "mean", "n", "n_cases")
        names = {f"{evaluation.settings.paper}:{name}": note for name, note in evaluation.paper_notes.items()}
        typer.echo("")
        show_table(columns, [[row[key] for key in columns] for row in summary if row["metric"] in names])
        for name, note in names.items():
            typer.echo(f"{name}: {note}")
