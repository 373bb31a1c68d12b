"""Preparing many pairs: one bad scan is a row with its reason, never the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError, DataError
from boneray.datasets.prepare import PrepareOptions, prepare_pair
from boneray.datasets.registry import Pair
from boneray.io.case_folder import made_from, read_dataset, write_dataset
from boneray.io.files import prepare_output, safe_name


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

    Running again keeps what was made from the same input, and pairs prepared with the same options
    join the data set. A single pair that fails raises; of several, failures become rows.

    Raises:
        InputError: `out` holds a data set made with other options, and no `force`.
        DataError: not one case could be made.
    """
    source = {"prepared": _plain(options)}
    same = made_from(out, source)
    found = list(pairs)
    for pair in found:
        safe_name(pair.case_id, "case")
    prepare_output(out, force=force or same)
    rows: list[dict[str, Any]] = []
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
        raise DataError(f"none of {len(found)} pairs could be prepared; the first: {rows[0]['reason']}")
    kept = {row["case_id"]: row for row in (read_dataset(out) if same else [])} | {row["case_id"]: row for row in rows}
    write_dataset(
        out, name=name, anatomy=options.anatomy, licence=options.licence, source=source, cases=list(kept.values())
    )
    return {"cases": rows, "made": made, "rejected": len(rows) - made, "out": str(out)}


def _plain(options: PrepareOptions) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(options).items()}
