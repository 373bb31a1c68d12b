"""Everything that `reconstruct` can write, from one command; and nothing of an earlier run stays."""

import json

import numpy as np
import pytest
from PIL import Image

from boneray.core.purpose import RESEARCH_USE
from boneray.datasets.phantom import phantom_case
from boneray.io.dicom_writing import write_dicom
from boneray.io.meshes import read_mesh
from boneray.io.nifti import read_labels


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    case = phantom_case("femur", seed=5150, number=0)
    place = {"centre_mm": case.labels.grid.centre_mm, "study": "s"}
    for number, (view, radiograph) in enumerate(case.radiographs.items(), start=1):
        write_dicom(folder / f"{view}.dcm", radiograph, patient_id="p", patient_name="n", number=number, **place)
    return folder, case.target


def test_one_command_writes_all_outputs(boneray, films, tmp_path):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    folder, bone = films
    out = tmp_path / "out"
    call = ["reconstruct", "--ap", folder / "ap.dcm", "--lat", folder / "lat.dcm", "--bone", bone]
    call += ["--checkpoint", "raylift_tiny-femur", "--out", out, "--force"]
    got = boneray(*call, "--measure", "--report", "--dicom", "--mesh", "stl,ply,obj,glb", "--json")
    assert got.code == 0, got.err
    run = json.loads(got.out)
    assert run == json.loads((out / "run.json").read_text()) and run["purpose"] == RESEARCH_USE
    assert len(run["inputs"]["sha256"]["ap.dcm"]) == 64 and run["times"]["answer_s"] > 0
    assert run["runtime"]["name"] in ("onnx", "torch") and run["versions"]["boneray"]
    labels = read_labels(out / "labels.nii.gz")
    volume = (labels.data > 0).sum() * labels.grid.voxel_volume_mm3
    for kind in ("stl", "ply", "obj", "glb"):
        assert read_mesh(out / "meshes" / f"{bone}.{kind}").volume_mm3 == pytest.approx(volume, rel=0.01)
    rows = json.loads((out / "measurements.json").read_text())
    assert rows["purpose"] == RESEARCH_USE and any(row["value"] for row in rows["measurements"])
    picture = Image.open(out / "preview.png")
    assert picture.text["Comment"] == RESEARCH_USE
    assert np.asarray(picture.convert("RGB")).std() > 5
    assert "<html" in (out / "report.html").read_text() and (out / "dicom" / "segmentation.dcm").is_file()
    # the next run asks for less, and what is left would be of other bones
    assert boneray(*call, "--runtime", "torch").code == 0
    left = {path.name for path in out.iterdir()}
    assert not left & {"report.html", "measurements.json", "preview.png", "dicom"}
    assert [path.name for path in (out / "meshes").iterdir()] == [f"{bone}.stl"]
    assert json.loads((out / "run.json").read_text())["runtime"]["name"].startswith("torch")


def test_an_unknown_runtime_is_one_line(boneray, films, tmp_path):
    folder, bone = films
    got = boneray("reconstruct", "--ap", folder / "ap.dcm", "--lat", folder / "lat.dcm", "--bone", bone,
                  "--checkpoint", "raylift_tiny-femur", "--out", tmp_path / "o", "--runtime", "onxx")  # fmt: skip
    assert got.code == 2 and "did you mean onnx" in got.err and not (tmp_path / "o").exists()
