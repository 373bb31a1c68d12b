"""The example for Snakemake: parts, split, page and training, each step one command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boneray.datasets.miniature import numbered, phantom_scan, write_bones, write_ct
from boneray.datasets.splits import read_splits
from boneray.io.case_folder import case_folders
from boneray.io.files import write_json

SNAKEFILE = Path(__file__).parents[2] / "examples" / "Snakefile"


@pytest.mark.slow
def test_the_workflow_prepares_splits_inspects_and_trains(tmp_path):
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed; it is an example, not a dependency")
    names = {1: "sacrum", 2: "hip_left", 3: "hip_right"}
    for number in range(6):
        ct, labels = phantom_scan("pelvis", number)
        write_ct(tmp_path / "raw" / "imagesTr" / f"p{number}_0000.nii.gz", ct)
        write_bones(tmp_path / "raw" / "labelsTr" / f"p{number}.nii.gz", numbered(labels, names))
    description = {"labels": {name: i for i, name in names.items()}, "file_ending": ".nii.gz"}
    write_json(tmp_path / "raw" / "dataset.json", description)
    config = ["dataset=nnunet", "anatomy=pelvis", "source=raw", "out=out", "parts=2", "model=mean_shape"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [snakemake, "-s", str(SNAKEFILE), "--cores", "1", "all", "runs/mean_shape/run.json", "--config", *config,
         "options=--voxels 16 --pixels 16"],
        cwd=tmp_path, env={**os.environ, "PATH": path}, check=True,
    )  # fmt: skip
    assert len(case_folders(tmp_path / "out")) == 6
    parts = read_splits(tmp_path / "out" / "splits.json")
    assert sum(map(len, parts.values())) == 6 and (tmp_path / "out" / "inspection.html").is_file()
    assert (tmp_path / "runs" / "mean_shape" / "best.safetensors").is_file()
