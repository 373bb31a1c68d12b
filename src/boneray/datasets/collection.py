"""Preparing many pairs: one bad scan is a row with its reason, never the end of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError, InputError
from boneray.datasets.curation import counted, rejected_row, rule_of, write_curation
from boneray.datasets.output_folder import alone_in, working_in
from boneray.datasets.prepare import PrepareOptions, prepare_pair
from boneray.datasets.registry import Pair, Rule
from boneray.datasets.scan import label_files
from boneray.datasets.workers import run_cases
from boneray.io.case_folder import made_from, read_dataset, write_dataset
from boneray.io.files import prepare_output, require_file, safe_name

Listed = tuple[Pair, tuple[str, str] | None]  # with what is wrong before a file is opened


def prepare_collection(
    pairs: Iterable[Pair],
    options: PrepareOptions,
    *,
    name: str,
    out: Path,
    rules: Iterable[Rule] = (),
    root: Path | None = None,
    excluded: dict[str, str] | None = None,
    single: bool | None = None,
    dry: bool = False,
    force: bool = False,
    workers: int = 1,
    engine: str = "local",
    part: tuple[int, int] | None = None,
    progress: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> dict[str, Any]:
    """Prepare every pair into `out` and write dataset.json, curation.csv and curation.json with one row per case.

    Running again keeps what was made from the same input, and pairs prepared with the same options
    join the data set. A single pair that fails raises; of several, failures become rows.

    Args:
        rules: what is asked of every scan.
        root: files that are links to a place outside of this folder are refused.
        excluded: reasons by case id for scans that are not to be used.
        single: whether a failure raises; default: if there is only one pair.
        dry: judge only, write nothing.
        workers, engine, part: who does the work, see `run_cases`; it does not show in what is written.
    Returns:
        cases (rows), made, rejected, faults (rejected because they could not be read or written,
        rather than by a rule), counts, out.
    Raises:
        InputError: `out` holds a data set made with other options, and no `force`.
        DataError: the single pair is of no use.
    """
    rules = tuple(rules)
    source = {"prepared": _plain(options)}
    same = made_from(out, source)
    found = list(pairs)
    single = len(found) == 1 if single is None else single
    if single:
        safe_name(found[0].case_id, "case")
    if not dry:
        prepare_output(out, force=force or same)
    rows: list[dict[str, Any]] = []
    seen: dict[str, Pair] = {}
    listed: list[Listed] = []
    for pair in found:
        listed.append((pair, _listed_problem(pair, seen, root, excluded or {})))
        seen.setdefault(pair.case_id, pair)
    work = partial(_prepared, options=options, out=out, rules=rules, dry=dry, single=single)
    with nullcontext() if dry else working_in(out):
        for (pair, problem), new in run_cases(
            work, listed, workers=workers, engine=engine, part=part, died=_died, progress=progress
        ):
            rows += [_unlike(rows, rejected_row(pair, *problem))] if problem else new
    made = sum(row["status"] == "ok" for row in rows)
    result = {
        "cases": rows,
        "made": made,
        "rejected": len(rows) - made,
        "faults": sum(bool(row.get("fault")) for row in rows),
        "counts": counted(rows),
        "out": str(out),
    }
    if not dry:
        with alone_in(out):
            earlier = {row["case_id"]: row for row in (read_dataset(out) if made_from(out, source) else [])}
            joined = earlier | {row["case_id"]: row for row in rows}
            kept = [joined[case_id] for case_id in sorted(joined)]
            write_curation(out, kept)
            write_dataset(out, name=name, anatomy=options.anatomy, licence=options.licence, source=source, cases=kept)
    return result


def _prepared(
    item: Listed, *, options: PrepareOptions, out: Path, rules: tuple[Rule, ...], dry: bool, single: bool
) -> list[dict[str, Any]]:
    """The rows of one pair; nothing is done for one that listing has found useless."""
    pair, problem = item
    if problem:
        return []
    try:
        return prepare_pair(pair, options, out, rules=rules, dry=dry)
    except (BonerayError, OSError, MemoryError) as error:
        if single:
            raise
        return [rejected_row(pair, rule_of(error, pair), _said(error)) | {"fault": True}]


def _died(item: Listed) -> list[dict[str, Any]]:
    said = "its process was killed twice (out of memory?); use fewer workers or a machine with more"
    return [rejected_row(item[0], "system", said) | {"fault": True}]


def _listed_problem(
    pair: Pair, seen: dict[str, Pair], root: Path | None, excluded: dict[str, str]
) -> tuple[str, str] | None:
    """(rule, sentence) of what is wrong before a file is opened."""
    if pair.problem:
        rule, _, sentence = pair.problem.partition(": ")
        return rule, sentence
    if pair.case_id in excluded:
        return "excluded", excluded[pair.case_id]
    if pair.case_id in seen:
        return "duplicate_id", f"{pair.ct} has the id of {seen[pair.case_id].ct}"
    for file in (pair.ct, *label_files(pair), *_further(pair)):
        if root is not None and not file.resolve().is_relative_to(root.resolve()):
            return "outside", f"{file} leads to {file.resolve()}, outside of {root}; copy it into the folder"
    return None


def _further(pair: Pair) -> list[Path]:
    """The folder of radiographs, and the links in a folder of slices."""
    taken = [pair.radiographs] if pair.radiographs is not None else []
    return taken + ([path for path in pair.ct.iterdir() if path.is_symlink()] if pair.ct.is_dir() else [])


def _unlike(rows: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    """The row under a name that is not taken, so that a doubled id is not lost in the table."""
    names = {other["case_id"] for other in rows}
    name, n = row["case_id"], 2
    while name in names:
        name, n = f"{row['case_id']}#{n}", n + 1
    return row | {"case_id": name, "fault": row["rule"] not in ("excluded", "duplicate", "subset")}


def _said(error: BaseException) -> str:
    if isinstance(error, BonerayError):
        return str(error)
    if isinstance(error, MemoryError):
        return "it does not fit into memory; use a machine with more, or fewer voxels"
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _plain(options: PrepareOptions) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(options).items()}


def require_cases(result: dict[str, Any]) -> None:
    """Raise InputError if nothing was found to prepare at all."""
    if not result["cases"]:
        raise InputError("no CT with labels was found; is --source the data set's folder, unpacked as its owners say?")


def read_excluded(path: Path | None) -> dict[str, str]:
    """Reasons by case id from a JSON list of ids (or an object id: reason); nothing without a file."""
    if path is None:
        return {}
    require_file(path, "list of excluded cases")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"list of excluded cases {path} is not JSON: {error}") from None
    if isinstance(values, list):
        return {str(name): f"listed in {path.name}" for name in values}
    if isinstance(values, dict):
        return {str(name): str(reason) for name, reason in values.items()}
    raise InputError(f"list of excluded cases {path} holds a {type(values).__name__}; give a list of ids")
