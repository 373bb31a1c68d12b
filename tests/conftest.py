"""What every test may ask for."""

import os
from pathlib import Path

import pytest


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
