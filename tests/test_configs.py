"""Every config in the repository is one that training accepts."""

from pathlib import Path

import pytest

from boneray.core.config import load_settings
from boneray.training.run import TrainSettings

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_config_is_accepted(file):
    settings = load_settings(TrainSettings, file=file)
    assert settings != TrainSettings()


def test_there_are_configs():
    assert CONFIGS
