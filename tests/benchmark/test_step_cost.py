"""The cost of a step: measured in as few steps as it takes, and once for methods whose step is the same."""

import pytest

from boneray.benchmark import step_cost
from boneray.benchmark.run import run_study
from boneray.benchmark.study import Study

SLOWER = {"name": "slower", "recipe": {"learning_rate": 1e-5}}  # another training of the same network, step by step
JOINED = {"name": "joined", "settings": {"fusion": "concat"}}  # another network


def phantoms(anatomy):
    made = {"anatomy": anatomy, "cases": 3, "seed": 3, "voxels": 16, "pixels": 32}
    return {"name": anatomy, "phantom": made, "validation": 1, "test": 1}


STUDY = {
    "name": "variants",
    "data": [phantoms("femur"), phantoms("vertebra"), phantoms("pelvis")],  # one bone, one, and three
    "models": ["raylift_tiny"],
    "seeds": [1],
    "cases_seen": 2,
    "batch_size": 2,
    "variants": [SLOWER, JOINED],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The first order of a cell, the orders whose step was measured, and the rows of models."""
    measured, orders = [], []

    def process(order):
        measured.append(f"{order['data_name']}-{order['method']}")
        return {"step_s": 0.1 * len(measured), "step_memory_mb": 1.0, "refused": ""}

    def cell(folder, order):
        orders.append(order)
        return {"status": "failed", "reason": "not run", "model": order["method"], "seed": 1, "fold": None} | {
            "data_name": order["data_name"], "cases": [], "measured": {"train_s": None, "seconds": 0.0}
        }  # fmt: skip

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step_cost, "_in_its_own_process", process)
        rows = run_study(Study.model_validate(STUDY), tmp_path_factory.mktemp("costs"), run_cell=cell)["models"]
    return orders[0], measured, rows


def test_methods_of_the_same_step_share_its_cost(study):
    """Another learning rate is not another step, and a femur is as good as a vertebra; a pelvis has more bones."""
    _, measured, rows = study
    first = ["femur-raylift_tiny", "femur-raylift_tiny-joined", "pelvis-raylift_tiny", "pelvis-raylift_tiny-joined"]
    assert measured == first
    step_s = {f"{row['data']}-{row['model']}": round(row["step_s"], 3) for row in rows}
    assert step_s == {
        "femur-raylift_tiny": 0.1, "femur-raylift_tiny-slower": 0.1, "femur-raylift_tiny-joined": 0.2,
        "vertebra-raylift_tiny": 0.1, "vertebra-raylift_tiny-slower": 0.1, "vertebra-raylift_tiny-joined": 0.2,
        "pelvis-raylift_tiny": 0.3, "pelvis-raylift_tiny-slower": 0.3, "pelvis-raylift_tiny-joined": 0.4,
    }  # fmt: skip
    assert {row["parameters"] > 1e6 for row in rows} == {True}


@pytest.mark.parametrize(("enough_s", "steps"), [(1e-9, 2), (1e9, 3)])
def test_a_slow_step_is_timed_once_a_quick_one_twice(study, monkeypatch, enough_s, steps):
    """One more goes before them to warm up."""
    taken = []
    loss = step_cost.training_loss
    monkeypatch.setattr(step_cost, "training_loss", lambda *a, **k: taken.append(1) or loss(*a, **k))
    monkeypatch.setattr(step_cost, "ENOUGH_S", enough_s)
    assert step_cost.measured_step(study[0])["step_s"] > 0 and len(taken) == steps
