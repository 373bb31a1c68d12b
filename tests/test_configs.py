"""Every config in the repository is one that training or the benchmark accepts."""

from pathlib import Path

import pytest
import yaml

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.depth_study import DepthStudy
from boneray.benchmark.intensity_study import IntensityStudy
from boneray.benchmark.miniature import miniature_of
from boneray.benchmark.published import published
from boneray.benchmark.rib_study import RibStudy, rib_study, table
from boneray.benchmark.run import run_study
from boneray.benchmark.study import read_study
from boneray.core.config import load_settings
from boneray.report.benchmark_page import write_benchmark_page
from boneray.training.run import TrainSettings

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
STUDIES = [file for file in CONFIGS if "name" in yaml.safe_load(file.read_text())]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_config_is_accepted(file):
    values = yaml.safe_load(file.read_text())
    if values.get("kind") == "ribs":
        assert load_settings(RibStudy, file=file) != RibStudy()
    elif values.get("kind") == "depth":
        study = load_settings(DepthStudy, file=file)
        printed = {row.condition for row in published("3ddx", "Table 1")}
        assert {line.printed_as for line in study.lines} <= printed
    elif "kind" in values:
        assert load_settings(IntensityStudy, file=file) != IntensityStudy()
    elif "data" in values:
        study = read_study(file)
        assert study.name == file.stem and len(study.cells()) >= len(study.seeds)
    else:
        assert load_settings(TrainSettings, file=file) != TrainSettings()


def test_there_are_configs():
    assert {"demo", "phantom-smoke", "phantom-vertebra", "standing"} <= {file.stem for file in CONFIGS}
    swin, ear = (f"swin-x2s-table-{n}" for n in (2, 3, 4, 5)), (f"ear-table-{n}" for n in (1, 2, 3))
    assert {"xrayto3d-table-1", *swin, *ear} <= {file.stem for file in CONFIGS}


@pytest.mark.parametrize("file", STUDIES, ids=lambda f: f.stem)
def test_a_miniature_is_the_same_grid_of_cells(file):
    study = read_study(file)
    small = miniature_of(study)
    asked = {(cell.data, cell.model) for cell in study.cells() if not study.method(cell.model).checkpoint}
    assert {(cell.data, cell.model) for cell in small.cells()} == asked
    assert small.conditions == study.conditions and small.tested_on == study.tested_on
    assert all(data.phantom and data.phantom.cases == 5 for data in small.data)
    for cell in small.cells():
        assert small.training(cell.model, "vertebra", 1).recipe.steps == 1


@pytest.mark.slow
@pytest.mark.parametrize("file", STUDIES, ids=lambda f: f.stem)
def test_a_miniature_runs_from_end_to_end(file, tmp_path, monkeypatch):
    """Every study: every cell has a result, and the page is written."""
    monkeypatch.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
    small = miniature_of(read_study(file))
    done = run_study(small, tmp_path, run_cell=run_cell)
    assert done["failed"] == 0
    assert not [(row["model"], row["reason"]) for row in done["models"] if row["status"] != "ok"]
    page = write_benchmark_page(tmp_path).read_text()
    assert "<svg" in page and all(row["model"] in page for row in done["models"])


@pytest.mark.slow
def test_the_rib_study_runs_at_toy_size():
    study = load_settings(RibStudy, file=ROOT / "configs/rib-study.yaml", overrides=("patients=1", "voxels=[48]"))
    found = rib_study(study)
    assert {row.anatomy for row in found} == set(study.anatomies) and "| ribs | " in table(study, found)
