"""Variants, checkpoints, test conditions, other data, engines, comparison of runs, and the page of a study."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.compare_runs import compare_runs
from boneray.benchmark.conditions import radiographs_of
from boneray.benchmark.run import run_study
from boneray.benchmark.study import Condition, Study, read_study
from boneray.benchmark.submission import cases_of
from boneray.core.errors import ConfigError, DataError, InputError
from boneray.datasets.phantom import phantom_case
from boneray.report.benchmark_page import write_benchmark_page
from tests.benchmark.test_study import TINY, tables

PHANTOM = {"anatomy": "femur", "cases": 5, "seed": 3, "voxels": 16, "pixels": 32}
AXES = {
    "name": "axes",
    "data": [
        {"name": "femur", "phantom": PHANTOM, "validation": 1, "test": 2},
        {"name": "other", "phantom": {**PHANTOM, "seed": 4}, "validation": 1, "test": 3, "only_tested": True},
        {"name": "gone", "folder": "nowhere", "anatomy": "femur", "optional": True, "only_tested": True},
    ],
    "models": ["mean_shape", "nearest_case", "raylift_tiny"],
    "seeds": [1],
    "cases_seen": 4,
    "batch_size": 2,
    "recipe": {"validations": 1},
    "variants": [{"name": "no_mirror", "models": ["raylift_tiny"], "recipe": {"mirror": 0.0}}],
    "conditions": [
        {"name": "0 degrees, told"},
        {"name": "10 degrees, not told", "turn_deg": 10, "told": False},
        {"name": "four views", "views": ["ap", "45", "lat", "135"]},
    ],
    "tested_on": {"femur": ["other", "gone"]},
    "groups": ["side", "nothing"],
    "measure": True,
}


@pytest.fixture(scope="module")
def axes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
        out, said = tmp_path_factory.mktemp("axes"), []
        done = run_study(Study.model_validate(AXES), out, run_cell=run_cell, say=said.append)
        return out, done, said, json.loads((out / "benchmark.json").read_text())


def test_a_variant_is_a_model_of_its_own(axes):
    _, done, _, values = axes
    assert done["failed"] == 0
    names = ["mean_shape", "nearest_case", "raylift_tiny", "raylift_tiny-no_mirror"]
    assert sorted(row["model"] for row in values["models"]) == names
    study = Study.model_validate(AXES)
    mirror = [study.training(name, "femur", 1).recipe.mirror for name in names[2:]]
    assert mirror[0] > 0 and mirror[1] == 0.0


def test_conditions_and_other_data_are_tested_or_say_why(axes):
    _, _, said, values = axes
    rows = {(row["model"], row["tested_on"], row["condition"]): row for row in values["conditions"]}
    assert len(rows) == 4 * (1 + 3 + 1)
    stored, again = (rows["raylift_tiny", "femur", name] for name in ("", "0 degrees, told"))
    assert again["dice"] == pytest.approx(stored["dice"], abs=1e-3)  # the stored pictures have 16 bits
    assert rows["mean_shape", "femur", "10 degrees, not told"]["dice_change"] == 0.0
    assert "was trained with 2 views, 4 are given" in rows["nearest_case", "femur", "four views"]["reason"]
    assert rows["raylift_tiny", "femur", "four views"]["dice"] is not None
    assert rows["raylift_tiny", "other", ""]["n_patients"] == 3
    assert any("gone is not there" in line for line in said) and any("not parted by nothing" in line for line in said)


def test_groups_part_the_bones(axes):
    _, _, _, values = axes
    parts = [row for row in values["groups"] if row["model"] == "mean_shape" and row["data"] == "femur"]
    assert sum(row["n_patients"] for row in parts) == 2 and {row["by"] for row in parts} == {"side"}


def test_the_nearest_case_answers_with_a_training_case(axes):
    """Its label map is, voxel for voxel, that of one of the two training patients."""
    from boneray.io.case_folder import read_case
    from boneray.reconstruction.reconstruct import Reconstructor

    out, *_ = axes
    split = json.loads((out / "data/femur/splits.json").read_text())
    reconstructor = Reconstructor.load(out / "cells/femur-nearest_case-seed1/run")
    for part in ("train", "test"):
        for name in split[part]:
            case = read_case(out / "data/femur" / name)
            centre = case.labels.grid.centre_mm
            sample, _ = reconstructor.prediction(case.radiographs, target="femur_right", centre_mm=centre)
            got = sample.class_map()[0].numpy() > 0
            maps = [read_case(out / "data/femur" / other).labels.data > 0 for other in split["train"]]
            assert any((got == m).all() for m in maps)
            if part == "train" and case.target == "femur_right":
                assert (got == (case.labels.data > 0)).all()


def test_tests_are_added_without_training_again(axes, tmp_path, monkeypatch):
    import shutil

    from boneray.benchmark import cell_run

    out, *_ = axes
    shutil.copytree(out, tmp_path / "grown")
    monkeypatch.setattr(cell_run, "train", lambda *_, **__: pytest.fail("trained again"))
    grown = {**AXES, "conditions": [{"name": "5 degrees, told", "turn_deg": 5}], "tested_on": {}, "measure": False}
    done = run_study(Study.model_validate(grown), tmp_path / "grown", resume=True, run_cell=run_cell)
    assert done["failed"] == 0 and done["run_now"] == 4


def test_a_turned_view_is_rendered_and_its_camera_told_or_not():
    case = phantom_case("femur", seed=1, number=0, voxels=16, pixels=32)
    told, untold = (
        radiographs_of(case, Condition(name="x", turn_deg=10, told=value).model_dump()) for value in (True, False)
    )
    assert np.array_equal(told["lat"].line_integrals, untold["lat"].line_integrals)
    assert not np.allclose(told["lat"].line_integrals, case.radiographs["lat"].line_integrals, atol=1e-2)
    assert untold["lat"].camera == case.radiographs["lat"].camera
    turn = np.rad2deg(np.arccos(told["lat"].camera.central_ray @ untold["lat"].camera.central_ray))
    assert turn == pytest.approx(10.0, abs=1e-9)
    assert np.array_equal(told["ap"].line_integrals, case.radiographs["ap"].line_integrals)
    with pytest.raises(DataError, match="no view pa to turn"):
        radiographs_of(case, Condition(name="x", turn_deg=10, view="pa").model_dump())


def test_a_checkpoint_is_tested_as_it_is(axes, tmp_path):
    out, *_ = axes
    given = {**TINY, "models": [], "checkpoints": {"mine": str(out / "cells/femur-nearest_case-seed1/run")}}
    study = Study.model_validate(given)
    assert [cell.model for cell in study.cells()] == ["mine"]
    done = run_study(study, tmp_path, run_cell=run_cell)
    theirs = json.loads((out / "cells/femur-nearest_case-seed1/cell.json").read_text())["cases"]
    mine = json.loads((tmp_path / "cells/femur-mine-seed1/cell.json").read_text())["cases"]
    assert done["failed"] == 0 and [c["dice"] for c in mine] == [c["dice"] for c in theirs]
    assert min(c["dice"] for c in mine) > 0


def test_a_submission_is_asked_for_the_patients_of_what_was_trained_on(axes):
    """Not for those of the other data set, nor of the one that is not there."""
    out, *_ = axes
    split = json.loads((out / "data/femur/splits.json").read_text())
    assert {case.name for case in cases_of(out)} == set(split["test"])


def test_runs_are_compared_on_common_cases(axes, tmp_path):
    out, _, _, values = axes
    rows = compare_runs(out, out / "benchmark.json")
    assert rows and all(row["change"] == 0.0 for row in rows if row["metric"])
    changed = json.loads(json.dumps(values))
    for row in changed["cases"]:
        if row["model"] == "mean_shape" and not row["condition"] and row["tested_on"] == "femur":
            row["dice"] += 0.25
    changed["cases"] = [row for row in changed["cases"] if row["model"] != "raylift_tiny"]
    (tmp_path / "benchmark.json").write_text(json.dumps(changed))
    found = {(r["model"], r["tested_on"], r["condition"], r["metric"]): r for r in compare_runs(out, tmp_path)}
    assert found["mean_shape", "femur", "", "dice"]["change"] == pytest.approx(0.25)
    assert found["raylift_tiny", "femur", "", ""]["reason"] == "not in the second run"
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(InputError, match="has schema None"):
        compare_runs(out, tmp_path)


def test_the_page_stands_alone_and_shows_the_worst_cases(axes):
    out, _, _, values = axes
    page = write_benchmark_page(out).read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "src=" not in page
    plain = [row for row in values["cases"] if not row["condition"] and row["tested_on"] == "femur"]
    worst = min(plain, key=lambda row: row["dice"])
    assert (out / f"figures/panel-femur-{worst['case']}.svg").is_file() and worst["case"] in page
    assert (out / "figures/dice.png").is_file() and "nearest_case" in page


def test_compare_as_a_command(boneray, axes):
    out, *_ = axes
    got = boneray("benchmark", "compare", out, out, "--json")
    assert got.code == 0 and {row["change"] for row in json.loads(got.out)["rows"] if row["metric"]} == {0.0}
    wrong = boneray("benchmark", "compare", out)
    assert wrong.code != 0 and "takes two runs" in wrong.out + wrong.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tested_on": {"femur": ["othr"]}}, "did you mean other"),
        ({"variants": [{"name": "a/b"}]}, "cannot name a folder"),
        ({"variants": [{"name": "x", "recipe": {"stepps": 1}}]}, "stepps"),
        ({"printed": [{"paper": "ear", "table": "Table 9"}]}, "Table 9"),
        ({"conditions": [{"name": "x", "turn_deg": "far"}]}, "turn_deg"),
    ],
)
def test_a_wrong_axis_is_one_line(change, says, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps({**AXES, **change}))
    with pytest.raises((ConfigError, InputError), match=says) as caught:
        read_study(file)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_killed_and_resumed_by_two_workers_gives_the_same_tables(tmp_path):
    """kill -9 after the first cell; then two workers, in any order, against one worker without a stop."""
    config = tmp_path / "study.yaml"
    config.write_text(json.dumps({**TINY, "models": ["mean_shape", "nearest_case", "raylift_tiny"]}))
    command = [sys.executable, "-W", "ignore", "-m", "boneray.cli.app", "benchmark", str(config), "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen([*command, str(tmp_path / "killed")], **quiet)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("killed/cells/*/cell.json")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    done = len(list(tmp_path.glob("killed/cells/*/cell.json")))
    assert 1 <= done < 4
    subprocess.run([*command, str(tmp_path / "killed"), "--resume", "--workers", "2"], check=True, capture_output=True)
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")
    texts = [(tmp_path / name / "benchmark.json").read_bytes() for name in ("whole", "killed")]
    assert texts[0] == texts[1]
    assert (tmp_path / "whole/models.tex").read_bytes() == (tmp_path / "killed/models.tex").read_bytes()


@pytest.mark.slow
def test_ray_gives_the_same_tables(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
    study = Study.model_validate({**TINY, "models": ["mean_shape", "raylift_tiny"]})
    run_study(study, tmp_path / "here", run_cell=run_cell)
    run_study(study, tmp_path / "ray", engine="ray", workers=2)
    assert tables(tmp_path / "ray") == tables(tmp_path / "here")
