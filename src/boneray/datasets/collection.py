"""Preparing many pairs: one bad scan is a row with its reason, never the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError, DataError
from boneray.datasets.prepare import PrepareOptions, prepare_pair
from boneray.datasets.registry import Pair
from boneray.io.case_folder import write_dataset
from boneray.io.files import prepare_output, read_json


def prepare_collection(
    pairs: Iterable[Pair],
    options: PrepareOptions,
    *,
    name: str,
    out: Path,
    force: bool = False,
    progress: Callable[[Iterator[Pair]], Iterator[Pair]] = iter,
) -> dict[str, Any]:
    """Prepare every pair into `out` and write dataset.json with one row per case.

    Running again keeps what was made from the same input. A single pair that fails raises; of
    several, failures become rows.

    Raises:
        InputError: `out` holds a data set of another name or options, and no `force`.
        DataError: not one case could be made.
    """
    source = {"prepared": name, "options": _plain(options)}
    same = (out / "dataset.json").is_file() and read_json(out / "dataset.json", "data set").get("source") == source
    prepare_output(out, force=force or same, holds="dataset.json")
    rows: list[dict[str, Any]] = []
    found = list(pairs)
    for pair in progress(iter(found)):
        try:
            rows += prepare_pair(pair, options, out)
        except BonerayError as error:
            if len(found) == 1:
                raise
            rows.append(
                {"case_id": pair.case_id, "patient_id": pair.patient_id, "status": "rejected", "reason": str(error)}
            )
    made = sum(row["status"] == "ok" for row in rows)
    if made == 0:
        raise DataError(
            f"none of {len(found)} pairs could be prepared; the first: {rows[0]['reason'] if rows else 'none found'}"
        )
    write_dataset(out, name=name, anatomy=options.anatomy, licence=options.licence, source=source, cases=rows)
    return {"cases": rows, "made": made, "rejected": len(rows) - made, "out": str(out)}


def _plain(options: PrepareOptions) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(options).items()}
