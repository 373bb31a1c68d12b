"""Every config in the repository is one that training or the benchmark accepts."""

from pathlib import Path

import pytest
import yaml

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.depth_study import DepthStudy, depth_study
from boneray.benchmark.depth_study import table as depth_table
from boneray.benchmark.intensity_study import IntensityStudy, angle_study, learning_study
from boneray.benchmark.intensity_study import table as intensity_table
from boneray.benchmark.miniature import miniature_of
from boneray.benchmark.published import published
from boneray.benchmark.rib_study import RibStudy, rib_study
from boneray.benchmark.rib_study import table as rib_table
from boneray.benchmark.run import run_study
from boneray.benchmark.study import Study, read_study, spec_of
from boneray.core.config import load_settings
from boneray.models.cost import count
from boneray.models.registry import MODELS, Task
from boneray.report.benchmark_page import write_benchmark_page
from boneray.training.run import TrainSettings

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
STUDIES = [file for file in CONFIGS if "name" in yaml.safe_load(file.read_text())]


def kind_of(file):
    """Of a study that has a command of its own; empty for a grid of cells or a training."""
    return yaml.safe_load(file.read_text()).get("kind", "")


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


@pytest.mark.parametrize("name", [entry.name for entry in MODELS if entry.value.learns != "depth_maps"])
def test_every_network_of_a_miniature_is_small(name):
    """The network of few channels can be built and run, on the smallest grid that it takes."""
    spec = spec_of(name)
    edge = max(32, spec.smallest)
    task = Task((edge,) * 3, (edge,) * 2, 1, 2)
    small = miniature_of(
        Study(name="s", data=({"name": "a", "phantom": {"anatomy": "femur", "cases": 3}},), models=(name,))
    )
    found = count(name, task, small.settings[name])
    assert found.parameters < 3e7 and found.flop < 2e10
    assert (found.parameters > 0) == spec.learns_by_gradient


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


SMALL = ("train=2", "test=2", "steps=1", "batch_size=2", "seeds=[1]")
TOY = {
    "ribs": ("patients=1", "voxels=[48]"),
    "depth": ("voxels=16", "emd_points=16", *SMALL),
    "learning": SMALL,
    "angles": SMALL,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", [file for file in CONFIGS if file not in STUDIES and kind_of(file)], ids=lambda f: f.stem
)
def test_a_study_of_another_kind_runs_at_toy_size(file):
    """Every line of its table is there, with numbers."""
    kind = kind_of(file)
    if kind == "ribs":
        study = load_settings(RibStudy, file=file, overrides=TOY[kind])
        text, rows = rib_table(study, rib_study(study)), study.anatomies
    elif kind == "depth":
        study = load_settings(DepthStudy, file=file, overrides=TOY[kind])
        text = depth_table(study, depth_study(study))
        rows = [f"{anatomy} | {line.name}" for anatomy in study.anatomies for line in study.lines]
    else:
        study = load_settings(IntensityStudy, file=file, overrides=TOY[kind])
        run = angle_study if kind == "angles" else learning_study
        text = intensity_table(study, run(study))
        rows = [f"ear | {angle:g}°" for angle in study.between_deg] if kind == "angles" else study.models
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(rows) and "nan" not in text
    assert all(any(line.startswith(f"| {row} | ") for line in lines) for row in rows)
