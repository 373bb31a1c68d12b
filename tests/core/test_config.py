"""Settings: typed, closed, last one wins."""

from pathlib import Path

import pytest
from pydantic import Field

from boneray.core.config import Settings, load_settings
from boneray.core.errors import ConfigError


class Optimiser(Settings):
    learning_rate: float = 1e-3
    name: str = "adamw"


class Run(Settings):
    steps: int = 100
    optimiser: Optimiser = Optimiser()
    views: tuple[str, ...] = ("ap", "lat")
    phases: tuple[Optimiser, ...] = ()
    by_name: dict[str, Optimiser] = Field(default_factory=dict)


def test_defaults_file_and_overrides_merge(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("steps: 20\noptimiser: {name: sgd, learning_rate: 0.1}\n")
    run = load_settings(
        Run, file=file, overrides=("optimiser.learning_rate=3e-3", "views=[ap]"), base={"steps": 10, "views": ["lat"]}
    )
    assert run == Run(steps=20, optimiser=Optimiser(name="sgd", learning_rate=0.003), views=("ap",))


@pytest.mark.parametrize(
    ("text", "value"), [("3e-3", 0.003), ("1E+2", 100.0), ("0.5", 0.5), ("2", 2.0), ("1_000.0", 1000.0)]
)
def test_numbers_in_overrides(text: str, value: float) -> None:
    assert load_settings(Optimiser, overrides=(f"learning_rate={text}",)).learning_rate == value


def test_empty_file_means_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_settings(Run, file=file) == Run()


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("step=3", r"unknown setting 'step'; did you mean steps\?"),
        ("optimiser.learning_rat=3", r"unknown setting 'optimiser\.learning_rat'; did you mean learning_rate\?"),
        ("steps=many", "setting steps: .* got 'many'"),
        ("steps", "not of the form a.b=value"),
        ("=3", "not of the form a.b=value"),
        ("steps=[1", "not YAML"),
        ("phases=[{}, {nam: sgd}]", r"unknown setting 'phases\.1\.nam'; did you mean name\?"),
        ("by_name.first.nam=sgd", r"unknown setting 'by_name\.first\.nam'; did you mean name\?"),
    ],
)
def test_bad_overrides_are_one_line(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_settings(Run, overrides=(override,))
    assert "\n" not in str(caught.value)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(Run, file=tmp_path / "missing.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds a list"):
        load_settings(Run, file=tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_settings(Run, file=tmp_path / "broken.yaml")
