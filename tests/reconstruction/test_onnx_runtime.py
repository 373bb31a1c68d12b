"""ONNX Runtime answers as torch does, without torch in the process, and says when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from boneray.core.errors import ConfigError, InputError
from boneray.datasets.phantom import phantom_case
from boneray.io.case_folder import write_case
from boneray.models.card import card_file, find_checkpoint, read_card
from boneray.models.checkpoint_names import PACKAGED
from boneray.reconstruction.onnx_runtime import OnnxNetwork, Scores, cpu_threads, onnx_file
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.reconstruction.runtime import load_network
from boneray.reconstruction.torch_runtime import cpu_has_bf16

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

NAMES = ("raylift_tiny-femur", "raylift_tiny-vertebra")

LEAN = """
import sys
from pathlib import Path
from boneray.reconstruction.sources import reconstruct_case
run = reconstruct_case(Path(sys.argv[1]), checkpoint="raylift_tiny-femur", out=Path(sys.argv[2]))
heavy = ("torch", "monai", "lightning", "pytorch_lightning", "onnx", "onnxscript")
print(run["runtime"]["name"], [name for name in heavy if name in sys.modules], *run["versions"])
"""


@pytest.fixture(scope="module")
def case():
    return phantom_case("femur", seed=6006, number=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_files_are_of_the_packaged_checkpoints(name):
    file = onnx_file(find_checkpoint(name))
    assert file is not None and file.parent == PACKAGED
    about = json.loads(card_file(file).read_text("utf-8"))
    assert about["difference"] <= 1e-4 and read_card(file) == read_card(name)


def test_scores_and_bones_are_those_of_torch(case):
    quick, plain = (Reconstructor.load(NAMES[0], runtime=runtime) for runtime in ("onnx", "torch"))
    assert (quick.runtime.name, plain.runtime.name) == ("onnx", "torch")
    given = {"target": case.target, "centre_mm": case.labels.grid.centre_mm}
    one, _ = quick.prediction(case.radiographs, **given)
    other, _ = plain.prediction(case.radiographs, **given)
    assert np.abs(one.logits - other.logits.numpy()).max() <= 1e-3 * np.abs(one.logits).max()
    first, second = quick.labels(case.radiographs, **given), plain.labels(case.radiographs, **given)
    assert (first.data != second.data).mean() < 1e-5 and (first.data > 0).sum() > 2000


def test_the_whole_way_imports_no_torch(case, tmp_path):
    write_case(tmp_path / "case", replace(case, ct=None))
    command = [sys.executable, "-c", LEAN, str(tmp_path / "case"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("onnx [] boneray")
    run = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert run["checkpoint"]["sha256"] == json.loads((PACKAGED / "raylift_tiny_femur.json").read_text())["sha256"]
    assert run["checkpoint"]["demonstration"] and any("phantoms" in line for line in run["warnings"])


def test_another_number_of_views_is_answered_by_torch(case):
    quick = Reconstructor.load(NAMES[0], runtime="onnx")
    one = {"ap": case.radiographs["ap"]}
    centre = case.labels.grid.centre_mm
    got = quick.labels(one, target=case.target, centre_mm=centre)
    expected = Reconstructor.load(NAMES[0], runtime="torch").labels(one, target=case.target, centre_mm=centre)
    assert np.array_equal(got.data, expected.data)


def test_a_lone_onnx_file_is_enough_but_for_its_views(case, tmp_path):
    file = onnx_file(find_checkpoint(NAMES[0]))
    lone = tmp_path / "femur.onnx"
    shutil.copy(file, lone)
    with pytest.raises(InputError, match=r"femur\.onnx\.json"):
        Reconstructor.load(lone)
    shutil.copy(card_file(file), card_file(lone))
    reconstructor = Reconstructor.load(lone)
    centre = case.labels.grid.centre_mm
    assert reconstructor.labels(case.radiographs, target=case.target, centre_mm=centre).ids
    with pytest.raises(ConfigError, match="takes 2 views and got 1"):
        reconstructor.labels({"ap": case.radiographs["ap"]}, target=case.target, centre_mm=centre)
    with pytest.raises(ConfigError, match=r"give the \.safetensors file"):
        load_network(lone, "torch")
    lone.write_bytes(lone.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        Reconstructor.load(lone)


def test_an_old_file_beside_a_new_checkpoint_is_not_run(tmp_path):
    for suffix in (".safetensors", ".json", ".onnx", ".onnx.json"):
        shutil.copy(PACKAGED / f"raylift_tiny_femur{suffix}", tmp_path / f"best{suffix}")
    checkpoint = tmp_path / "best.safetensors"
    assert onnx_file(checkpoint) == tmp_path / "best.onnx"
    about = json.loads((tmp_path / "best.onnx.json").read_text())
    (tmp_path / "best.onnx.json").write_text(json.dumps({**about, "made_of": "0" * 64}))
    assert onnx_file(checkpoint) is None
    assert load_network(tmp_path)[0].name == "torch"
    with pytest.raises(ConfigError, match="boneray export"):
        load_network(tmp_path, "onnx")
    # a network of intensities is not cut at 0 as scores are
    (tmp_path / "best.onnx.json").write_text(json.dumps({**about, "kind": "intensities"}))
    assert onnx_file(checkpoint) is None
    with pytest.raises(ConfigError, match="intensities"):
        load_network(tmp_path / "best.onnx")


def test_without_onnx_runtime_torch_answers(monkeypatch):
    monkeypatch.setattr("boneray.reconstruction.runtime.is_installed", lambda: False)
    assert load_network(NAMES[0])[0].name == "torch"
    monkeypatch.setattr("boneray.reconstruction.onnx_runtime.is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"boneray\[onnx\]"):
        load_network(NAMES[0], "onnx")
    with pytest.raises(ConfigError, match="onnx"):
        load_network(NAMES[0], "onxx")


def test_scores_become_labels_by_hand():
    from boneray.core.grid import Grid

    logits = np.zeros((1, 3, 2, 1, 1), np.float32)
    logits[0, :, 0, 0, 0], logits[0, :, 1, 0, 0] = (0, 1, 2), (3, 1, 2)
    (labels,) = Scores(logits).to_labels(Grid((2, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), (50, 51))
    assert labels.data.ravel().tolist() == [51, 0]
    (single,) = Scores(np.array([0.5, -0.5], np.float32).reshape(1, 1, 2, 1, 1)).to_labels(labels.grid, (53,))
    assert single.data.ravel().tolist() == [53, 0]


def test_bf16_is_for_processors_that_have_it(tmp_path, monkeypatch):
    has, lacks = tmp_path / "has", tmp_path / "lacks"
    has.write_text("flags\t: fpu avx2 avx512_bf16 amx_tile\n")
    lacks.write_text("flags\t: fpu avx2 avx512f\n")
    assert cpu_has_bf16(has) and not cpu_has_bf16(lacks) and not cpu_has_bf16(tmp_path / "none")
    monkeypatch.setattr("boneray.reconstruction.torch_runtime.cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match="bfloat16"):
        load_network(NAMES[0], "torch-bf16")


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU has no bfloat16")
def test_bf16_gives_nearly_the_same_bone(case):
    centre = case.labels.grid.centre_mm
    one, other = (
        Reconstructor.load(NAMES[0], runtime=runtime)
        .labels(case.radiographs, target=case.target, centre_mm=centre)
        .data
        > 0
        for runtime in ("torch", "torch-bf16")
    )
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.99


def test_threads_are_the_cores_or_fewer(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cpu_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert cpu_threads() >= 1
    raw = (PACKAGED / "raylift_tiny_femur.onnx").read_bytes()
    assert OnnxNetwork(raw, threads=2).threads == 2
