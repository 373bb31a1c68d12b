"""The command that checks and scores predictions made elsewhere: submit-check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json
from boneray.cli.output import say, show_json, show_table

SHOWN = ("metric", "mean", "median", "worst", "worst_case", "n_cases")


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("submit-check")(submit_check)


def submit_check(
    predictions: Annotated[Path, typer.Argument(help="Folder of label maps called like the cases: CASE.nii.gz.")],
    benchmark: Annotated[
        Path, typer.Option(help="Output of `boneray benchmark`, its YAML (with --work), or a folder of cases.")
    ],
    work: Annotated[Path | None, typer.Option(help="Where the cases of a YAML are made.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables of the scores.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Say in sentences what is wrong with someone's predictions, and score them as every other method.

    Exit code 1 if anything is wrong. Labels carry the ids of `boneray list bones`, on the grid of the case.

    Example: boneray submit-check predictions --benchmark runs/vertebra
    """
    from boneray.benchmark.submission import cases_of, check_submission
    from boneray.evaluation.result_files import open_evaluation, write_evaluation
    from boneray.evaluation.summary import evaluation_json
    from boneray.evaluation.tables import group_rows

    found = check_submission(predictions, cases_of(benchmark, work))
    if out is not None:
        question = {"predictions": str(predictions), "benchmark": str(benchmark)}
        open_evaluation(out, question, force=force)
        write_evaluation(out, found.evaluation)
    if as_json:
        show_json({"faults": [fault.to_dict() for fault in found.faults], **evaluation_json(found.evaluation)})
    else:
        for fault in found.faults:
            say(f"{fault.case_id}: {fault.kind.replace('_', ' ')}: {fault.sentence}")
        show_table(SHOWN, [[row[name] for name in SHOWN] for row in group_rows(found.evaluation)])
        say(f"{len(found.faults)} faults in {len(found.evaluation.results)} cases" if found.faults else "nothing wrong")
    raise typer.Exit(1 if found.faults else 0)
