"""A phantom's two films as DICOM with a patient's name in them, and the stand-in for the work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from boneray.datasets.phantom import phantom_case
from boneray.io.dicom_writing import write_dicom
from tests.service.servers import NAME, NUMBER, STAND_IN


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """DICOM files of a femur phantom by view, with a patient's name and number in them."""
    folder = tmp_path_factory.mktemp("films")
    case = phantom_case("femur", seed=8123, number=0)
    made = {}
    for number, (view, radiograph) in enumerate(case.radiographs.items(), start=1):
        centre = case.labels.grid.centre_mm
        file = write_dicom(
            folder / f"{view}.dcm",
            radiograph,
            patient_id=NUMBER,
            patient_name=NAME,
            centre_mm=centre,
            study=case.case_id,
            number=number,
        )
        made[view] = file.read_bytes()
    return {**made, "bone": case.target.encode()}


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[str, ...]:
    """The command that stands in for the work."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    return sys.executable, str(script)
