"""`train` by published recipes, from other weights, on a fold, in several processes."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from boneray.core.errors import BonerayError, ConfigError, DataError
from boneray.datasets.phantom import write_phantoms
from boneray.models.registry import MODELS
from boneray.training.processes import Process, run_together, this_process
from boneray.training.run import StepSampler, train

SHORT = ("recipe.steps=2", "recipe.validations=1", "recipe.batch_size=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_phantoms("femur", cases=6, seed=0, out=folder, voxels=16, pixels=32)
    return folder


def test_a_named_recipe_brings_its_values_its_anatomy_and_its_start(data, tmp_path):
    run = train("UNet", data=data, out=tmp_path / "p", recipe="paper", overrides=("recipe.steps=1",), device="cpu")
    got = run["settings"]
    assert run["model"] == "unet"  # the paper's name is an alias
    assert got["model"] == {"start_bias": 0.0}
    assert (got["recipe"]["optimiser"], got["recipe"]["learning_rate"], got["recipe"]["batch_size"]) == (
        "adam",
        2e-3,
        8,
    )
    assert (got["recipe"]["loss"], got["recipe"]["steps"]) == ("dice_published", 1)
    written = json.loads((tmp_path / "p/best.json").read_text())
    assert written["settings"] == {"start_bias": 0.0} and written["training"]["recipe"]["optimiser"] == "adam"


def test_epochs_become_steps_by_the_training_cases(data, tmp_path):
    """Six femora, one for validation: 2 epochs of 5 cases in batches of 2 are 2 x 3 steps."""
    over = ("recipe.epochs=2", "recipe.batch_size=2", "recipe.validations=1")
    run = train("raylift_tiny", data=data, out=tmp_path, overrides=over, device="cpu")
    assert run["cases"]["train"] == 5
    assert (run["settings"]["recipe"]["steps"], run["result"]["steps"]) == (6, 6)


def test_a_recipe_that_is_not_there_is_one_line(data, tmp_path):
    for model, recipe, says in (("unet", "papre", "did you mean paper"), ("raylift_s", "paper", "only its own")):
        with pytest.raises(ConfigError, match=says):
            train(model, data=data, out=tmp_path, recipe=recipe, device="cpu")
    with pytest.raises(ConfigError, match="does not exist"):
        train("unet", data=data, out=tmp_path, recipe="none.yaml", device="cpu")
    assert not list(tmp_path.iterdir())


def test_a_run_starts_from_another_and_tells_every_change_of_shape(data, tmp_path):
    still = (*SHORT[1:], "recipe.steps=1", "recipe.learning_rate=1e-12", "recipe.weight_decay=0", "recipe.ema=0")
    said = []
    train("raylift_tiny", data=data, out=tmp_path / "a", overrides=(*still, "seed=1"), device="cpu")
    train("raylift_tiny", data=data, out=tmp_path / "b", overrides=still, init_from=tmp_path / "a", device="cpu",
          say=said.append)  # fmt: skip
    a, b = (load_file(tmp_path / n / "last.safetensors") for n in "ab")
    weights = [name for name in a if a[name].dtype == torch.float32 and "running" not in name]
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in weights)
    assert f"{len(a)} weights copied as they are" in said
    wider = (*SHORT, "model.channels=[8,16,32,64,96]")
    train("unet", data=data, out=tmp_path / "u", overrides=SHORT, device="cpu")
    told = train("unet", data=data, out=tmp_path / "w", overrides=wider, init_from=tmp_path / "u", device="cpu")
    changed = [line for line in told["started_from"] if "(128," in line and "(96," in line and "starts anew" in line]
    assert changed and json.loads((tmp_path / "w/run.json").read_text())["started_from"] == told["started_from"]
    with pytest.raises(BonerayError, match="no weight that fits"):
        train("unet", data=data, out=tmp_path / "x", overrides=SHORT, init_from=tmp_path / "a", device="cpu")


def test_every_patient_is_tested_in_exactly_one_fold(data, tmp_path):
    tested = []
    for fold in range(1, 6):
        train("mean_shape", data=data, out=tmp_path / str(fold), fold=fold, overrides=(f"seed={fold}",), device="cpu")
        split = json.loads((tmp_path / str(fold) / "splits.json").read_text())
        tested += split["test"]
        assert not set(split["test"]) & {*split["train"], *split["validation"]}
    assert sorted(tested) == sorted(f"femur-0-{n:04d}" for n in range(6))
    with pytest.raises(DataError, match="fold 6 does not exist"):
        train("mean_shape", data=data, out=tmp_path / "6", fold=6, device="cpu")


def test_folds_of_the_data_set_are_kept(data, tmp_path):
    import shutil

    from boneray.datasets.splits import k_fold, write_splits

    root = tmp_path / "cases"
    shutil.copytree(data, root)
    folds = k_fold({f"femur-0-{n:04d}": str(n) for n in range(6)}, folds=3, seed=9)
    for n, parts in enumerate(folds, start=1):
        write_splits(root / "folds" / f"{n}.json", parts, seed=9)
    run = train("mean_shape", data=root, out=tmp_path / "run", fold=3, device="cpu")
    assert run["cases"] == {part: len(ids) for part, ids in folds[2].items()}
    with pytest.raises(DataError, match="no fold 4; it holds 1, 2, 3"):
        train("mean_shape", data=root, out=tmp_path / "4", fold=4, device="cpu")


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    wild = (*SHORT[1:], "recipe.steps=8", "recipe.learning_rate=1e30", "recipe.warmup_fraction=0")
    with pytest.raises(DataError, match=r"loss is nan at step \d; lower recipe.learning_rate") as caught:
        train("raylift_tiny", data=data, out=tmp_path, overrides=wild, device="cpu")
    assert "\n" not in str(caught.value)


def test_processes_share_every_batch_without_overlap():
    alone = list(StepSampler(3, 4, lambda: 1))
    assert alone == [[4, 5, 6, 7], [8, 9, 10, 11]]
    shares = [list(StepSampler(3, 4, lambda: 1, Process(rank, 2, 2))) for rank in (0, 1)]
    assert shares == [[[4, 6], [8, 10]], [[5, 7], [9, 11]]]


def test_what_processes_cannot_share_is_refused(data, tmp_path, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    assert this_process() == Process(0, 3, 3)
    with pytest.raises(ConfigError, match="batch of 2 cannot be shared by 3 processes"):
        train("raylift_tiny", data=data, out=tmp_path, overrides=SHORT, device="cpu")
    with pytest.raises(ConfigError, match="learns in stages"):
        train("tl_embedding", data=data, out=tmp_path, overrides=("recipe.batch_size=3",), device="cpu")


def test_when_one_process_fails_the_others_are_ended():
    wait = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    assert run_together(["-c", wait], 2) == 3
    assert run_together(["-c", "import os; assert os.environ['WORLD_SIZE'] == '2'"], 2) == 0


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    """A network without batch statistics and a loss that is a mean over cases: the same weights after two steps."""
    write_phantoms("femur", cases=4, seed=0, out=tmp_path / "data", voxels=32, pixels=32)
    small = MODELS.get("unetr").value.narrow.model_copy(update={"dropout": 0.0})  # what falls out differs by process
    narrow = [f"--set=model.{k}={v}" for k, v in small.model_dump().items()]
    settings = ["recipe.steps=2", "recipe.validations=1", "recipe.batch_size=2", "recipe.loss=bce", "recipe.ema=0",
                "recipe.warmup_fraction=0", "recipe.learning_rate=1e-3"]  # fmt: skip
    common = ["-m", "boneray.cli.app", "train", "unetr", "--data", str(tmp_path / "data"), "--device", "cpu", *narrow,
              *[f"--set={s}" for s in settings]]  # fmt: skip
    for count in (1, 2):
        done = subprocess.run(
            [sys.executable, *common, "--out", str(tmp_path / str(count)), "--processes", str(count), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["steps"] == 2
    one, two = (load_file(tmp_path / n / "last.safetensors") for n in ("1", "2"))
    still = (*[n.removeprefix("--set=") for n in narrow], *settings, "recipe.learning_rate=1e-12")
    start = train("unetr", data=tmp_path / "data", out=tmp_path / "s", device="cpu", overrides=still)
    assert start["finished"]
    begun = load_file(tmp_path / "s/last.safetensors")
    moved = sum(float((one[n] - begun[n]).double().square().sum()) for n in one) ** 0.5
    apart = sum(float((one[n] - two[n]).double().square().sum()) for n in one) ** 0.5
    assert moved > 0.01 and apart < 1e-3 * moved  # without the other's cases they would be as far apart as they moved
    again = subprocess.run(
        [sys.executable, *common, "--out", str(tmp_path / "2"), "--processes", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "--force" in again.stderr
