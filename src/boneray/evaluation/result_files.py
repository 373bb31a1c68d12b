"""The folder of an evaluation: records of cases that a later run takes up, and the tables made of them.

settings.json    what was asked; another question needs another folder
cases/           one record per case, written as soon as it is done
metrics.csv      a row per case and bone; metrics.parquet the same where pyarrow is installed
cases.csv        a row per case, failed ones with their reason
bones.csv        every bone summarised over the cases
groups.csv       all cases and every group summarised
summary.json     the summaries with all counts, failures and warnings
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from boneray.core.errors import InputError
from boneray.evaluation.comparison import Evaluation
from boneray.evaluation.summary import summary_json
from boneray.evaluation.tables import bone_rows, bone_summary_rows, group_rows, result_rows, write_csv, write_parquet
from boneray.io.files import prepare_output, read_json, write_json

SETTINGS = "settings.json"
CASES = "cases"


def open_evaluation(out: Path, question: dict[str, Any], *, force: bool) -> Path:
    """Make `out` the folder of the evaluation that answers `question`; returns the folder of its records.

    A folder that holds records of the same question is gone on with; what a killed run left
    half-written there is removed. One run at a time.

    Raises:
        InputError: `out` holds something else and `force` is not given, or cannot be written.
    """
    same = False
    if (out / SETTINGS).is_file():
        same = read_json(out / SETTINGS, "settings of an evaluation") == question
        if not same and not force:
            raise InputError(f"output folder {out} holds another evaluation; choose another folder or give --force")
    prepare_output(out, force=force)
    for folder in (out, out / CASES):
        for litter in folder.glob(".writing-*"):
            shutil.rmtree(litter, ignore_errors=True)
    if not same:
        write_json(out / SETTINGS, question)
    return out / CASES


def write_evaluation(out: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Write all tables and summary.json, each in one step; returns what the latter holds."""
    rows = bone_rows(evaluation.scores, method=evaluation.method, groups=evaluation.groups)
    write_csv(out / "metrics.csv", rows)
    if not write_parquet(out / "metrics.parquet", rows):
        (out / "metrics.parquet").unlink(missing_ok=True)  # of a run that had pyarrow; it would be old
    write_csv(out / "cases.csv", result_rows(evaluation))
    write_csv(out / "bones.csv", bone_summary_rows(evaluation.scores) if evaluation.scores else [])
    write_csv(out / "groups.csv", group_rows(evaluation))
    summary = summary_json(evaluation)
    write_json(out / "summary.json", summary)
    return summary
