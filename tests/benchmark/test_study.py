"""A study: every cell once, the same tables after a stop, failures as rows, nothing written by a plan."""

import csv
import json
import math
from pathlib import Path

import pytest

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import finished, run_cell, run_cell_alone
from boneray.benchmark.run import plan_study, run_study
from boneray.benchmark.study import Study, read_study
from boneray.benchmark.study_tables import (
    case_rows,
    cell_means,
    condition_rows,
    measured_rows,
    model_rows,
    seed_interval,
)
from boneray.benchmark.study_text import MEASURED, further_markdown, latex, markdown
from boneray.core.errors import ConfigError, InputError
from boneray.io.case_folder import read_case

ROOT = Path(__file__).parents[2]
TINY = {
    "name": "tiny",
    "data": [
        {
            "name": "femur",
            "phantom": {"anatomy": "femur", "cases": 5, "seed": 3, "voxels": 16, "pixels": 32},
            "validation": 1,
            "test": 2,
        }
    ],
    "models": ["mean_shape", "raylift_tiny", "swin_unetr"],
    "seeds": [1, 2],
    "cases_seen": 4,
    "batch_size": 2,
    "recipe": {"validations": 1},
}


@pytest.fixture(autouse=True)
def steps_are_measured_here(monkeypatch):
    """In this process: the tests need the decision, not the memory of a process of its own."""
    monkeypatch.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)


def tables(folder):
    """What must come out the same every time."""
    found = {}
    for name in ("cases", "cells", "models"):
        with (folder / f"{name}.csv").open() as file:
            found[name] = [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
        out = tmp_path_factory.mktemp("whole")
        return out, run_study(Study.model_validate(TINY), out, run_cell=run_cell)


def test_a_stopped_study_ends_with_the_same_tables(whole, tmp_path):
    out, done = whole
    assert (done["cells"], done["run_now"], done["failed"]) == (3, 3, 0)
    study, seen = Study.model_validate(TINY), []

    def stopped(folder, order):
        if len(seen) == 2:  # half a cell is left behind
            (folder / "run").mkdir(parents=True)
            (folder / "order.json").write_text("{")
            raise KeyboardInterrupt
        seen.append(folder.name)
        return run_cell(folder, order)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, run_cell=stopped)
    with pytest.raises(InputError, match=r"already holds study\.json"):
        run_study(study, tmp_path, run_cell=run_cell)
    again = run_study(study, tmp_path, resume=True, run_cell=run_cell)
    assert again["run_now"] == 1 and tables(tmp_path) == tables(out)
    assert len(tables(out)["cases"]) == 3 * 2
    assert run_study(study, tmp_path, resume=True, run_cell=run_cell)["run_now"] == 0


def test_all_models_are_tested_on_the_same_patients_after_the_same_number_of_cases(whole):
    out, _ = whole
    cells = [json.loads(file.read_text()) for file in sorted(out.glob("cells/*/cell.json"))]
    assert len({cell["training"]["split_sha256"] for cell in cells}) == 1
    assert len({tuple(case["case"] for case in cell["cases"]) for cell in cells}) == 1
    learnt = [cell for cell in cells if cell["model"] == "raylift_tiny"]
    assert [cell["training"]["steps"] * cell["training"]["recipe"]["batch_size"] for cell in learnt] == [4, 4]
    split = json.loads((out / "data/femur/splits.json").read_text())
    assert [len(split[part]) for part in ("train", "validation", "test")] == [2, 1, 2]
    assert {case["case"] for case in cells[0]["cases"]} == set(split["test"])


def test_the_mean_shape_is_scored_as_by_hand(whole):
    """Its answer is one volume; Dice with a test case by counting voxels."""
    from boneray.reconstruction.reconstruct import Reconstructor

    out, _ = whole
    cell = json.loads((out / "cells/femur-mean_shape-seed1/cell.json").read_text())
    reconstructor = Reconstructor.load(out / "cells/femur-mean_shape-seed1/run")
    for row in cell["cases"]:
        case = read_case(out / "data/femur" / row["case"])
        truth = case.labels.data > 0
        got = reconstructor.network.logits[0].numpy() > 0
        assert row["dice"] == pytest.approx(2 * (truth & got).sum() / (truth.sum() + got.sum()), abs=1e-12)


def test_what_is_refused_or_fails_is_a_row_with_its_reason(whole, tmp_path):
    _, done = whole
    rows = {row["model"]: row for row in done["models"]}
    assert rows["swin_unetr"]["status"] == "not run" and "takes 64" in rows["swin_unetr"]["reason"]
    assert rows["mean_shape"]["runs"] == "1 of 1" and rows["raylift_tiny"]["runs"] == "2 of 2"
    bad = {**TINY, "models": ["mean_shape", "raylift_tiny"], "seeds": [1]}
    bad["recipe"] = {"validations": 1, "learning_rate": 1e30, "warmup_fraction": 0.0}
    bad["cases_seen"] = 8
    failed = run_study(Study.model_validate(bad), tmp_path / "nan", run_cell=run_cell)
    rows = {row["model"]: row for row in failed["models"]}
    assert failed["failed"] == 1 and rows["mean_shape"]["status"] == "ok"
    assert rows["raylift_tiny"]["status"] == "failed" and "the loss is nan" in rows["raylift_tiny"]["reason"]
    assert "the loss is nan" in (tmp_path / "nan/models.md").read_text()

    def too_large(folder, order):
        raise MemoryError

    slow = {**TINY, "models": ["raylift_tiny"], "most_step_s": 1e-4}
    rows = run_study(Study.model_validate(slow), tmp_path / "slow", run_cell=too_large)["models"]
    assert "the limit is 0.0001 s" in rows[0]["reason"] and rows[0]["gflop"] > 0


def test_running_out_of_memory_is_a_reason(whole, tmp_path, monkeypatch):
    from boneray.benchmark import cell_run

    def no_memory(*_, **__):
        raise MemoryError("cannot allocate 9 GB")

    out, _ = whole
    order = json.loads((out / "cells/femur-raylift_tiny-seed1/order.json").read_text())
    monkeypatch.setattr(cell_run, "train", no_memory)
    found = run_cell(tmp_path / "cell", order)
    assert (found["status"], found["reason"]) == ("failed", "cannot allocate 9 GB")
    assert finished(tmp_path / "cell", order["key"]) == found and finished(tmp_path / "cell", "other") is None


def test_a_killed_process_is_a_reason(whole, tmp_path, monkeypatch):
    from boneray.benchmark import cell_run

    class Killed:
        returncode, stderr = -9, ""

    out, _ = whole
    order = json.loads((out / "cells/femur-raylift_tiny-seed1/order.json").read_text())
    monkeypatch.setattr(cell_run.subprocess, "run", lambda *_, **__: Killed)
    found = run_cell_alone(tmp_path / "cell", order)
    assert found["status"] == "failed" and "signal 9" in found["reason"]


def test_a_change_of_the_question_trains_only_what_is_new(whole, tmp_path):
    import shutil

    out, _ = whole
    shutil.copytree(out, tmp_path / "grown")
    grown = Study.model_validate({**TINY, "models": ["mean_shape", "raylift_tiny"], "seeds": [1, 2, 3]})
    states = {row["cell"]: row["state"] for row in plan_study(grown, tmp_path / "grown")}
    # the folder moved, the cells did not change
    assert [name for name, state in states.items() if state == "to do"] == ["femur-raylift_tiny-seed3"]
    longer = Study.model_validate({**TINY, "cases_seen": 6})
    states = {row["cell"]: row["state"] for row in plan_study(longer, tmp_path / "grown")}
    assert states["femur-raylift_tiny-seed1"] == "to do" and states["femur-swin_unetr-seed1"] == "not run"


def test_a_plan_writes_nothing(boneray, tmp_path):
    got = boneray("benchmark", ROOT / "configs/phantom-smoke.yaml", "--out", tmp_path / "no", "--dry-run", "--json")
    rows = json.loads(got.out)["cells"]
    assert got.code == 0 and not (tmp_path / "no").exists()
    assert len(rows) == 7 and {row["state"] for row in rows} == {"to do", "not run"}
    memory = {row["cell"]: row["memory_mb"] for row in rows if row["state"] == "to do"}
    assert all((value is None) == ("mean_shape" in cell) for cell, value in memory.items()), memory


def test_interval_over_seeds_is_students():
    low, high = seed_interval([0.8, 0.9, 1.0])  # mean 0.9, SD 0.1, t(0.975, 2) = 4.302653
    assert (low, high) == pytest.approx((0.9 - 4.302653 * 0.1 / math.sqrt(3), 0.9 + 4.302653 * 0.1 / math.sqrt(3)))
    assert seed_interval([0.8]) == (None, None)


def case(dice, hd95, present, missed):
    found = {"dice": dice, "nsd": dice, "hd95_mm": hd95, "hd95_mm_penalised": hd95 or 100.0, "assd_mm": hd95}
    found |= {"assd_mm_penalised": hd95 or 100.0, "n_present": present, "n_missed": missed, "n_spurious": 0}
    return {"case": "c", **found, "n_reference": present + missed}


def test_missed_bones_count_in_dice_and_coverage_and_not_in_distances():
    cell = {"cases": [case(0.8, 2.0, 1, 0), case(0.0, None, 0, 1)]}
    means = cell_means(cell)
    assert means["dice"] == pytest.approx(0.4) and means["hd95_mm"] == 2.0 and means["hd95_mm_penalised"] == 51.0
    assert (means["n_present"], means["n_reference"]) == (1, 2)


def test_models_are_ranked_and_the_table_says_what_is_missing():
    study = Study.model_validate({**TINY, "models": ["unet", "raylift_tiny", "swin_unetr"]})
    shared = {"data_name": "femur", "fold": None, "status": "ok", "reason": "", "measured": {"train_s": 1.0}}
    cells = [
        {**shared, "model": "unet", "seed": 1, "cases": [case(0.5, 4.0, 1, 0)]},
        {**shared, "model": "unet", "seed": 2, "status": "failed", "reason": "the loss is nan at step 3", "cases": []},
        {**shared, "model": "raylift_tiny", "seed": 1, "cases": [case(0.8, 2.0, 1, 0)]},
        {**shared, "model": "raylift_tiny", "seed": 2, "cases": [case(0.6, 3.0, 1, 0)]},
    ]
    costs = {("femur", "swin_unetr"): {"refused": "too slow", "parameters": 62}}
    rows = model_rows(study, cells, costs)
    assert [row["model"] for row in rows] == ["raylift_tiny", "unet", "swin_unetr"]
    assert [row["status"] for row in rows] == ["ok", "partly", "not run"]
    assert rows[0]["dice"] == pytest.approx(0.7) and rows[0]["hd95_mm"] == pytest.approx(2.5)
    text = markdown(study, rows)
    assert "| swin_unetr | too slow |" in text and "| unet | the loss is nan at step 3 |" in text
    assert "| 0.700 |" in text and "4 cases" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modles": ["unet"]}, "modles"),
        ({"models": ["unett"]}, "did you mean unet"),
        ({"recipe": {"stepps": 3}}, "stepps"),
        ({"recipe": {"learning_rate": -1}}, "learning_rate"),
        ({"settings": {"unet": {"chanels": [8]}}}, "chanels"),
        ({"data": [{"name": "a"}]}, "folder or a phantom"),
        ({"data": [TINY["data"][0]] * 2}, "called femur"),
        ({"data": []}, "data"),
    ],
)
def test_a_wrong_study_is_one_line(change, says, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps({**TINY, **change}))
    with pytest.raises(ConfigError, match=says) as caught:
        read_study(file)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_smoke_study_runs_as_a_command(boneray, tmp_path):
    """In processes of its own, with the memory of a step."""
    got = boneray("benchmark", ROOT / "configs/phantom-smoke.yaml", "--out", tmp_path, "--json")
    done = json.loads(got.out)
    assert got.code == 0 and done["cells"] == 5
    again = boneray("benchmark", ROOT / "configs/phantom-smoke.yaml", "--out", tmp_path, "--resume", "--json")
    assert json.loads(again.out)["run_now"] == 0


def scored(dice, case, patient):
    return {**case_row(dice), "case": case, "patient": patient, "bones": {}}


def case_row(dice):
    return case(dice, 2.0, 1, 0)


def test_folds_are_pooled_by_patient():
    """Two cases of one patient count once: (0.2 + 0.4) / 2 = 0.3, and (0.3 + 0.9 + 0.6) / 3 = 0.6."""
    study = Study.model_validate({**TINY, "models": ["unet"], "seeds": [1], "folds": [1, 2]})
    shared = {"data_name": "femur", "model": "unet", "seed": 1, "status": "ok", "reason": ""}
    shared |= {"measured": {"train_s": 1.0}}
    cells = [
        {**shared, "fold": 1, "cases": [scored(0.2, "a1", "a"), scored(0.4, "a2", "a"), scored(0.9, "b", "b")]},
        {**shared, "fold": 2, "cases": [scored(0.6, "c", "c")]},
    ]
    (row,) = model_rows(study, cells, {})
    assert row["dice"] == pytest.approx(0.6) and row["n_patients"] == 3 and row["status"] == "ok"
    assert row["patients_low"] < 0.6 < row["patients_high"]
    assert [r["patient"] for r in case_rows(cells)] == ["a", "a", "b", "c"]
    assert r"\begin{tabular}" in latex(study, [row]) and "unet & " in latex(study, [row])


def test_a_condition_is_compared_on_the_patients_of_both():
    """0.8 and 0.6 as stored, 0.7 and 0.4 turned: the change is -0.15."""
    plain = [scored(0.8, "a", "a"), scored(0.6, "b", "b")]
    turned = {"tested_on": "femur", "condition": "turned", "reason": ""}
    turned["cases"] = [scored(0.7, "a", "a"), scored(0.4, "b", "b")]
    views = {"tested_on": "femur", "condition": "four views", "reason": "it learnt 2 views", "cases": []}
    shared = {"data_name": "femur", "model": "unet", "seed": 1, "fold": None, "status": "ok", "reason": ""}
    rows = condition_rows([{**shared, "cases": plain, "further": [turned, views]}])
    assert [row["condition"] for row in rows] == ["", "turned", "four views"]
    assert rows[1]["dice_change"] == pytest.approx(-0.15) and rows[1]["dice"] == pytest.approx(0.55)
    assert rows[2]["dice"] is None and rows[2]["reason"] == "it learnt 2 views"


def test_measurement_errors_are_counted_with_what_could_not_be_measured():
    """Errors +2 and -4 mm: bias -1, mean absolute 3; the third reference is sure, its prediction has no value."""
    one = {"bone": "femur_left", "name": "head_mm", "unit": "mm", "reference": 50.0, "reference_status": "ok"}
    found = [
        {**one, "prediction": 52.0, "prediction_status": "ok", "error": 2.0},
        {**one, "prediction": 46.0, "prediction_status": "low_confidence", "error": -4.0},
        {**one, "prediction": None, "prediction_status": "failed", "error": None},
    ]
    cases = [{**scored(0.5, f"c{n}", f"c{n}"), "measurements": [m]} for n, m in enumerate(found)]
    shared = {"data_name": "femur", "model": "unet", "seed": 1, "fold": None, "status": "ok", "reason": ""}
    (row,) = measured_rows([{**shared, "cases": cases}])
    assert (row["bias"], row["mae"], row["n"], row["n_sure"], row["n_reference"]) == (-1.0, 3.0, 2, 1, 3)
    assert [r.get("error_head_mm") for r in case_rows([{**shared, "cases": cases}])] == [2.0, 4.0, None]


def test_groups_are_lines_and_methods_columns():
    def row(model, group, dice, low, patients, data="femur"):
        span = {"dice_low": low, "dice_high": None if low is None else dice + 0.1}
        return {
            "data": data,
            "model": model,
            "by": "side",
            "group": group,
            "dice": dice,
            **span,
            "n_patients": patients,
        }

    rows = [row("a", "left", 0.5, 0.4, 3), row("a", "right", 0.6, None, 2), row("b", "left", 0.25, None, 1)]
    text = further_markdown(
        {"groups": [*rows, row("a", "left", 0.7, None, 1, "pelvis")], "conditions": [], "measured": [], "printed": []}
    )
    assert text.splitlines() == [
        "", "## femur, Dice by side", "",
        "| side | patients | a | b |", "| --- | --- | --- | --- |",
        "| left | 3 | 0.500 (0.40 to 0.60) | 0.250 |", "| right | 2 | 0.600 | – |",
        "", "## pelvis, Dice by side", "", "| side | patients | a |", "| --- | --- | --- |", "| left | 1 | 0.700 |",
    ]  # fmt: skip
    assert further_markdown({"groups": [], "conditions": [], "measured": [], "printed": []}) == ""
