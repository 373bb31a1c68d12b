"""What every test may ask for."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from boneray.cli.app import main

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers are as many as the cores
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with the real test data; without it the test is skipped and says so."""
    folder = os.environ.get("BONERAY_TEST_DATA")
    if not folder:
        pytest.skip("set BONERAY_TEST_DATA to the folder with the real test data")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"BONERAY_TEST_DATA is {folder}, which is not a folder")
    return path


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def boneray(monkeypatch, capsys):
    """Call as boneray("list", "models"); typer ends every command with SystemExit."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["boneray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return run
