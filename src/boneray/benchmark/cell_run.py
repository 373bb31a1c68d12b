"""One cell of a study: train, reconstruct the test cases, evaluate and measure them. Its folder says everything.

order.json     what was asked: model, data, seed, training settings, tests, and the key of all of it
run/           the training run (see `boneray train`) with its best checkpoint
trained.json   the key of the training alone; written when that is done
predictions/   the labels of the test cases, CASE.nii.gz
cell.json      the scores of every test case, or why there are none; written last

A cell with a cell.json of its key is done. One that was stopped begins anew, so it ends as it would have; one that was
trained already, and is asked for other tests, is only tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from boneray.benchmark.conditions import radiographs_of, tested_cases
from boneray.core.case import Case
from boneray.core.errors import BonerayError, DataError
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.intensities import isolated_bone
from boneray.evaluation.cases import evaluate_case, finite
from boneray.evaluation.intensities import score_intensities
from boneray.evaluation.measurement_errors import compare_measurements
from boneray.evaluation.measuring import MeasuredCase
from boneray.io.case_folder import read_case
from boneray.io.files import json_text, read_json, write_json, write_text
from boneray.io.nifti import write_labels
from boneray.metrics.surface import surface_dice_metric
from boneray.models.registry import MODELS
from boneray.morphometry.measure import measure
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.training.run import train
from boneray.training.samples import class_map

SCHEMA = "boneray/cell/2"
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
    _begin(folder, order)
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
    _begin(folder, order)
    start = time.perf_counter()
    done = _run_in_its_own_process(folder)
    found = finished(folder, order["key"])
    if found is not None:
        return found
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    killed = f"its process was ended by signal {-done.returncode}; was there enough memory?"
    reason = killed if done.returncode < 0 else f"its process failed: {last}"
    return _written(folder, order, {"status": FAILED, "reason": reason}, time.perf_counter() - start)


def lost(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a cell whose process was ended from outside."""
    found = {"status": FAILED, "reason": "its process was killed; was there enough memory?"}
    return _written(folder, order, found, 0.0)


def _run_in_its_own_process(folder: Path) -> Any:
    """Its standard input stays open as long as this process lives, and its end is the end of the other."""
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "boneray.benchmark.cell_run", str(folder)],
            stdin=reading,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)


def _begin(folder: Path, order: dict[str, Any]) -> None:
    """An empty folder with the order, or one with the finished training that the order asks for."""
    if not _is_trained(folder, order):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("cell.json", "order.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "predictions", ignore_errors=True)
    write_json(folder / "order.json", order)


def _is_trained(folder: Path, order: dict[str, Any]) -> bool:
    file = folder / "trained.json"
    try:
        return file.is_file() and read_json(file, "training of a cell").get("key") == order["train_key"]
    except BonerayError:
        return False


def _scored(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(order["threads"])
    training, seconds, checkpoint = _trained(folder, order)
    split = Path(order["data"]) if order["checkpoint"] else folder / "run"
    test = tested_cases(Path(order["data"]), split / "splits.json")
    if not test:
        raise DataError(f"the split of {order['data']} has no test cases; write one that has")
    reconstructor = Reconstructor.load(checkpoint)
    kept = folder / "predictions" if order["keep"] else None
    cases = [_test_case(reconstructor, path, order, kept=kept) for path in test]
    further = [_further(reconstructor, test, order, order["data_name"], wanted) for wanted in order["conditions"]]
    for other in order["elsewhere"]:
        there = tested_cases(Path(other["folder"]), Path(other["folder"]) / "splits.json")
        further.append(_further(reconstructor, there, order, other["name"], None))
    return {"training": training, "cases": cases, "further": further, "train_s": seconds}


def _trained(folder: Path, order: dict[str, Any]) -> tuple[dict[str, Any], float, str | Path]:
    """What is to be known of the training, its seconds, and the checkpoint."""
    if order["checkpoint"]:
        return {"checkpoint": order["checkpoint"]}, 0.0, order["checkpoint"]
    run, note = folder / "run", folder / "trained.json"
    if _is_trained(folder, order):
        known = read_json(note, "training of a cell")
        return known["training"], known["train_s"], run
    settings = write_text(folder / "train.yaml", json_text(order["train"]))  # JSON is YAML
    start = time.perf_counter()
    trained = train(
        order["model"],
        data=Path(order["data"]),
        out=run,
        recipe=settings,
        fold=order["fold"],
        device=order["device"],
    )
    seconds = time.perf_counter() - start
    for name in NOT_NEEDED:
        (run / name).unlink(missing_ok=True)
    training = {
        "recipe": trained["settings"]["recipe"],
        "cases": trained["cases"],
        "split_sha256": trained["split_sha256"],
        **trained["result"],
    }
    write_json(note, {"key": order["train_key"], "training": training, "train_s": seconds})
    return training, seconds, run


def _further(
    reconstructor: Reconstructor,
    cases: list[Path],
    order: dict[str, Any],
    data_name: str,
    condition: dict[str, Any] | None,
) -> dict[str, Any]:
    """The scores on other cases or under another condition, or why there are none."""
    identity = {"tested_on": data_name, "condition": condition["name"] if condition else ""}
    try:
        if not cases:
            raise DataError(f"{data_name} has no test cases")
        found = [_test_case(reconstructor, path, order, condition=condition) for path in cases]
    except BonerayError as error:
        return {**identity, "reason": _one_line(error), "cases": []}
    return {**identity, "reason": "", "cases": found}


def _test_case(
    reconstructor: Reconstructor,
    folder: Path,
    order: dict[str, Any],
    *,
    condition: dict[str, Any] | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Means over the bones of one case with their counts, every bone, and the measurements where asked for."""
    case = read_case(folder, with_ct=condition is not None)
    if case.labels is None:
        raise DataError(f"case {folder} has no labels to be tested against")
    reconstructor.require_anatomy(case.anatomy)
    shown = radiographs_of(case, condition)
    labels = reconstructor.labels(shown, target=case.target, centre_mm=case.labels.grid.centre_mm)
    if kept is not None:
        write_labels(kept / f"{case.case_id}.nii.gz", labels)
    nsd = surface_dice_metric(order["tolerance_mm"]).name
    scores = evaluate_case(case.case_id, case.labels, labels, metrics=("dice", nsd, "hd95_mm", "assd_mm"))
    mean = scores.mean()
    values = {name: finite(mean[nsd if name == "nsd" else name]) for name in CASE_VALUES}
    found = {"case": case.case_id, "patient": case.patient_id, **values, "bones": scores.to_dict()["bones"]}
    if MODELS.get(order["model"]).value.learns == "intensities":
        found["intensities"] = _intensities(reconstructor, folder, shown)
    if order["measure"] and condition is None:
        found["measurements"] = _measurements(case, case.labels, labels)
    return found


def _intensities(reconstructor: Reconstructor, folder: Path, shown: dict[str, Radiograph]) -> dict[str, float | None]:
    """MAE, MSE, PSNR, SSIM and FD in HU against the bone alone in air."""
    case = read_case(folder)
    assert case.labels is not None
    grid = case.labels.grid
    classes = class_map(case, reconstructor.card.classes)
    truth = Volume(isolated_bone(classes, grid, case.ct, case_id=case.case_id), grid)
    prediction, there = reconstructor.prediction(shown, target=case.target, centre_mm=grid.centre_mm)
    found = score_intensities(
        case.case_id, truth, prediction.to_volumes(there)[0], threshold_hu=prediction.scale()["threshold_hu"]
    )
    return {name: finite(value) for name, value in found.values.items()}


def _measurements(case: Case, reference: LabelMap, prediction: LabelMap) -> list[dict[str, Any]]:
    """Every measurement of both sides by the same algorithm; a value that one side lacks is None."""
    sides = []
    for labels in (prediction, reference):
        wanted = tuple(m for m in measure(labels, case.anatomy) if case.target in ("", m.bone))
        sides.append(MeasuredCase(case.case_id, OK, "", wanted))
    names = ("bone", "name", "unit", "reference", "prediction", "reference_status", "prediction_status", "error")
    compared = compare_measurements(sides[:1], sides[1:]).differences
    return [{name: getattr(difference, name) for name in names} for difference in compared]


def _written(folder: Path, order: dict[str, Any], found: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What is measured stands apart from what comes out the same every time."""
    measured = {"seconds": seconds, "train_s": found.pop("train_s", None)}
    identity = {name: order[name] for name in ("key", "data_name", "seed", "fold")} | {"model": order["method"]}
    values = {"schema": SCHEMA, **identity, **found, "measured": measured}
    write_json(folder / "cell.json", values)
    return read_json(folder / "cell.json", "cell")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds open, and stop."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    here = Path(sys.argv[1])
    asked = read_json(here / "order.json", "order of a cell")
    run_cell(here, asked)
