"""The ten lines of the README, run as they stand there, and the API around them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import boneray
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import phantom_case
from boneray.io.dicom_writing import write_dicom
from boneray.io.nifti import read_labels

ROOT = Path(__file__).parents[1]
TORCH = ("torch", "monai", "lightning", "pytorch_lightning")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """ap.dcm and lat.dcm of a left femur in a folder."""
    folder = tmp_path_factory.mktemp("films")
    case = next(c for n in range(20) if (c := phantom_case("femur", seed=4242, number=n)).target == "femur_left")
    for number, (view, radiograph) in enumerate(case.radiographs.items(), start=1):
        place = {"centre_mm": case.labels.grid.centre_mm, "study": "s", "number": number}
        write_dicom(folder / f"{view}.dcm", radiograph, patient_id="p", patient_name="n", **place)
    return folder, case


def test_the_ten_lines_of_the_readme_run_without_torch(films, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(lines.strip().splitlines()) <= 10
    folder, _ = films
    for view in ("ap", "lat"):
        (tmp_path / f"{view}.dcm").write_bytes((folder / f"{view}.dcm").read_bytes())
    script = f"{lines}\nimport sys\nprint('loaded', [m for m in {TORCH} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout
    assert re.search(r"^femoral_head_radius_mm \d", done.stdout, re.MULTILINE)
    written = read_labels(tmp_path / "out" / "labels.nii.gz")
    volume = float(re.match(r"(\d+) cm3", done.stdout)[1])
    assert volume == pytest.approx((written.data > 0).sum() * written.grid.voxel_volume_mm3 / 1000, rel=0.02)


def test_radiographs_in_memory_give_what_their_files_give(films):
    folder, case = films
    from_memory = boneray.reconstruct(dict(case.radiographs), checkpoint="raylift_tiny-femur", bone="femur_left")
    from_files = boneray.reconstruct(
        {view: folder / f"{view}.dcm" for view in ("ap", "lat")}, checkpoint="raylift_tiny-femur", bone="femur_left"
    )
    one, other = from_memory.result.labels.data > 0, from_files.result.labels.data > 0
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.995  # files hold 16 bits


def test_measure_finds_the_smallest_anatomy():
    data = np.zeros((16, 16, 16), np.uint8)
    data[4:12, 4:12, 4:12] = 53
    rows = boneray.measure(LabelMap(data, Grid.cube(16, 64.0)))
    (volume,) = [row for row in rows if row.name == "bone_volume_mm3"]
    assert volume.bone == "femur_left" and volume.value == pytest.approx(8**3 * 4.0**3, rel=0.02)
    with pytest.raises(ConfigError, match="anatomy="):
        boneray.measure(LabelMap(np.zeros((4, 4, 4), np.uint8), Grid.cube(4, 4.0)))


def test_importing_boneray_loads_nothing_heavy():
    script = "import sys, boneray; print([m for m in ('numpy', 'scipy', 'pydicom', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
    assert {"load_radiographs", "reconstruct", "measure"} <= set(boneray.__all__)
    with pytest.raises(AttributeError):
        boneray.nothing_of_that_name  # noqa: B018
