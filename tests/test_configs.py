"""Every config in the repository is one that training or the benchmark accepts."""

from pathlib import Path

import pytest
import yaml

from boneray.benchmark.intensity_study import IntensityStudy
from boneray.benchmark.study import read_study
from boneray.core.config import load_settings
from boneray.training.run import TrainSettings

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_config_is_accepted(file):
    values = yaml.safe_load(file.read_text())
    if "kind" in values:
        assert load_settings(IntensityStudy, file=file) != IntensityStudy()
    elif "data" in values:
        study = read_study(file)
        assert study.name == file.stem and len(study.cells()) >= len(study.seeds)
    else:
        assert load_settings(TrainSettings, file=file) != TrainSettings()


def test_there_are_configs():
    assert {"demo", "phantom-smoke", "phantom-vertebra"} <= {file.stem for file in CONFIGS}
