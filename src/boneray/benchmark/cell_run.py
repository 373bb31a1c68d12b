"""One cell of a study: train, reconstruct the test cases, evaluate them. Its folder says everything.

order.json   what was asked: model, data, seed, training settings, and the key of all of it
run/         the training run (see `boneray train`) with its best checkpoint
cell.json    the scores of every test case, or why there are none; written last

A cell with a cell.json of its key is done. One that was stopped begins anew, so it ends as it would have.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from boneray.core.errors import BonerayError, DataError
from boneray.datasets.splits import read_splits
from boneray.evaluation.cases import evaluate_case, finite
from boneray.io.case_folder import read_case
from boneray.io.files import json_text, read_json, write_json, write_text
from boneray.metrics.surface import surface_dice_metric
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.training.run import train

SCHEMA = "boneray/cell/1"
OK, FAILED = "ok", "failed"
CASE_VALUES = (
    "dice",
    "nsd",
    "hd95_mm",
    "hd95_mm_penalised",
    "assd_mm",
    "assd_mm_penalised",
    "n_reference",
    "n_present",
    "n_missed",
    "n_spurious",
)
NOT_NEEDED = ("last.ckpt", "last.safetensors", "last.json")


def finished(folder: Path, key: str) -> dict[str, Any] | None:
    """The cell.json of this key, if there is one."""
    file = folder / "cell.json"
    if not file.is_file():
        return None
    try:
        found = read_json(file, "cell")
    except BonerayError:
        return None
    return found if found.get("schema") == SCHEMA and found.get("key") == key else None


def run_cell(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Do the order and write `folder`/cell.json; whatever goes wrong is its status and reason."""
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / "order.json", order)
    start = time.perf_counter()
    try:
        found = {"status": OK, "reason": "", **_scored(folder, order)}
    except (BonerayError, MemoryError) as error:
        found = {"status": FAILED, "reason": _one_line(error)}
    except Exception as error:  # a cell among many must not take the others along, whatever it is
        found = {"status": FAILED, "reason": f"unexpected {type(error).__name__}: {_one_line(error)}"}
    return _written(folder, order, found, time.perf_counter() - start)


def run_cell_alone(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """The same in a process of its own, which may be killed for lack of memory without harm to the study."""
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / "order.json", order)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "boneray.benchmark.cell_run", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = finished(folder, order["key"])
    if found is not None:
        return found
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    killed = f"its process was ended by signal {-done.returncode}; was there enough memory?"
    reason = killed if done.returncode < 0 else f"its process failed: {last}"
    return _written(folder, order, {"status": FAILED, "reason": reason}, time.perf_counter() - start)


def _scored(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(order["threads"])
    data, run = Path(order["data"]), folder / "run"
    settings = write_text(folder / "train.yaml", json_text(order["train"]))  # JSON is YAML
    start = time.perf_counter()
    trained = train(
        order["model"],
        data=data,
        out=run,
        recipe=settings,
        fold=order["fold"],
        device=order["device"],
    )
    seconds = time.perf_counter() - start
    for name in NOT_NEEDED:
        (run / name).unlink(missing_ok=True)
    test = read_splits(run / "splits.json")["test"]
    if not test:
        raise DataError(f"the split of {data} has no test cases; write one that has")
    reconstructor = Reconstructor.load(run)
    cases = [_test_case(reconstructor, data / case_id, order["tolerance_mm"]) for case_id in test]
    return {
        "training": {
            "recipe": trained["settings"]["recipe"],
            "cases": trained["cases"],
            "split_sha256": trained["split_sha256"],
            **trained["result"],
        },
        "cases": cases,
        "train_s": seconds,
    }


def _test_case(reconstructor: Reconstructor, folder: Path, tolerance_mm: float) -> dict[str, Any]:
    """Means over the bones of one case with their counts, and every bone."""
    case = read_case(folder, with_ct=False)
    assert case.labels is not None
    labels = reconstructor.labels(case.radiographs, target=case.target, centre_mm=case.labels.grid.centre_mm)
    nsd = surface_dice_metric(tolerance_mm).name
    scores = evaluate_case(case.case_id, case.labels, labels, metrics=("dice", nsd, "hd95_mm", "assd_mm"))
    mean = scores.mean()
    kept = {name: finite(mean[nsd if name == "nsd" else name]) for name in CASE_VALUES}
    return {"case": case.case_id, **kept, "bones": scores.to_dict()["bones"]}


def _written(folder: Path, order: dict[str, Any], found: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What is measured stands apart from what comes out the same every time."""
    measured = {"seconds": seconds, "train_s": found.pop("train_s", None)}
    identity = {name: order[name] for name in ("key", "data_name", "model", "seed", "fold")}
    values = {"schema": SCHEMA, **identity, **found, "measured": measured}
    write_json(folder / "cell.json", values)
    return read_json(folder / "cell.json", "cell")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    here = Path(sys.argv[1])
    asked = read_json(here / "order.json", "order of a cell")
    run_cell(here, asked)
