"""Runs: a folder that says everything, resume that continues, clear refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file

from boneray.core.errors import BonerayError, ConfigError, DataError, InputError
from boneray.datasets.phantom import write_phantoms
from boneray.models.checkpoint import load_checkpoint
from boneray.models.registry import Recipe
from boneray.training import run as training_run
from boneray.training.module import warm_cosine
from boneray.training.run import train

SHORT = ("recipe.steps=6", "recipe.validations=3", "recipe.batch_size=2", "validation_share=0.2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_phantoms("femur", cases=6, seed=0, out=folder, voxels=16, pixels=32)
    return folder


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, train("raylift_tiny", data=data, out=out, overrides=SHORT, device="cpu")


def test_the_run_folder_says_everything(whole_run):
    out, result = whole_run
    run = json.loads((out / "run.json").read_text())
    assert (
        run["finished"]
        and run["settings"]["recipe"]["steps"] == 6
        and run["cases"] == {"train": 5, "validation": 1, "test": 0}
    )
    split = json.loads((out / "splits.json").read_text())
    assert run["split_sha256"] == split["sha256"] and len(split["train"]) == 5
    assert (out / "metrics.csv").read_text().count("\n") >= 4
    _, card = load_checkpoint(out)
    assert card.anatomy == "femur" and card.training["validation_dice"] == pytest.approx(
        result["result"]["validation_dice"], abs=1e-4
    )
    assert card.data_licence == "CC0-1.0"


def test_a_killed_run_continues_where_it_stood(data, whole_run, tmp_path, monkeypatch):
    def killed(self, n):
        if n >= 8:
            raise KeyboardInterrupt
        return original(self, n)

    original = training_run.Samples.__getitem__
    with monkeypatch.context() as patched:
        patched.setattr(training_run.Samples, "__getitem__", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train("raylift_tiny", data=data, out=tmp_path, overrides=SHORT, device="cpu")
    assert (tmp_path / "last.ckpt").is_file()
    assert not json.loads((tmp_path / "run.json").read_text())["finished"]
    seen = []
    with monkeypatch.context() as patched:
        patched.setattr(
            training_run.Samples, "__getitem__", lambda self, n: seen.append((self.augment, n)) or original(self, n)
        )
        train("raylift_tiny", data=data, out=tmp_path, resume=True, device="cpu")
    assert min(n for augment, n in seen if augment) == 8
    assert (tmp_path / "metrics.csv").read_text() == (whole_run[0] / "metrics.csv").read_text()
    first, again = (json.loads((folder / "run.json").read_text()) for folder in (whole_run[0], tmp_path))
    assert again["result"] == first["result"] and again["split_sha256"] == first["split_sha256"]
    first, again = (load_file(folder / "last.safetensors") for folder in (whole_run[0], tmp_path))
    for name in first:
        torch.testing.assert_close(first[name], again[name], rtol=1e-4, atol=1e-5)


def test_refusals_are_clear(data, whole_run, tmp_path):
    out, _ = whole_run
    cases = [
        (ConfigError, "raylift_tiny", {"model": "raylift_tiney"}),
        (ConfigError, "steps", {"overrides": ("recipe.stepps=3",)}),
        (ConfigError, "learning_rate", {"overrides": ("recipe.learning_rate=-1",)}),
        (ConfigError, "encoder", {"overrides": ("model.encodr=3",)}),
        (InputError, "--force", {"out": out}),
        (InputError, "does not exist", {"data": tmp_path / "none"}),
        (ConfigError, "device", {"device": "gpuu"}),
        (DataError, "lacks view", {"overrides": ("views=[ap, oblique]",)}),
        (ConfigError, "multiple", {"overrides": ("image_shape=[30, 30]",)}),
        (InputError, "raylift_tiny", {"model": "unet", "resume": True, "out": out}),
        (ConfigError, "--resume", {"resume": True, "out": out, "overrides": ("seed=3",)}),
        (InputError, "run to resume", {"resume": True, "out": data / "femur-0-0000"}),
    ]
    for error, says, change in cases:
        arguments = {"model": "raylift_tiny", "data": data, "out": tmp_path / "x", "device": "cpu"} | change
        with pytest.raises(error, match=says) as caught:
            train(arguments.pop("model"), **arguments)
        assert isinstance(caught.value, BonerayError) and "\n" not in str(caught.value)


def test_a_refused_run_destroys_nothing(data, whole_run):
    out, _ = whole_run
    before = {f.name: f.read_bytes() for f in out.iterdir() if f.is_file()}
    for bad in ("recipe.loss=nope", "views=[ap, oblique]", "image_shape=[30, 30]"):
        with pytest.raises(BonerayError):
            train("raylift_tiny", data=data, out=out, overrides=(bad,), force=True, device="cpu")
    assert {f.name: f.read_bytes() for f in out.iterdir() if f.is_file()} == before


def test_resuming_a_finished_run_changes_nothing(data, whole_run):
    out, result = whole_run
    before = (out / "metrics.csv").read_bytes()
    assert train("raylift_tiny", data=data, out=out, resume=True, device="cpu") == json.loads(
        (out / "run.json").read_text()
    )
    assert (out / "metrics.csv").read_bytes() == before and result["finished"]


def test_a_resumed_run_keeps_its_split_when_cases_were_added(data, tmp_path):
    write_phantoms("femur", cases=4, seed=0, out=tmp_path / "data", voxels=16, pixels=32)
    first = train("raylift_tiny", data=tmp_path / "data", out=tmp_path / "run", overrides=SHORT, device="cpu")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(run | {"finished": False}))
    write_phantoms("femur", cases=6, seed=0, out=tmp_path / "data", voxels=16, pixels=32)
    again = train("raylift_tiny", data=tmp_path / "data", out=tmp_path / "run", resume=True, device="cpu")
    assert again["split_sha256"] == first["split_sha256"] and again["cases"] == first["cases"]


def test_the_mean_shape_is_trained_like_any_model(data, tmp_path):
    train("mean_shape", data=data, out=tmp_path, device="cpu")
    network, card = load_checkpoint(tmp_path)
    assert card.model == "mean_shape" and (network.logits > 0).any()


def test_the_schedule_counts_steps():
    recipe = Recipe(steps=100, warmup_fraction=0.1)
    assert [warm_cosine(s, recipe) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert warm_cosine(55, recipe) == pytest.approx(0.5) and warm_cosine(100, recipe) == pytest.approx(0.0)
