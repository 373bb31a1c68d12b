"""What a network costs: counted as by hand, run in a process of its own, refused in one line."""

import json

import pytest
import torch
from torch import nn

from boneray.core.errors import ConfigError
from boneray.models.cost import BARE_PROCESS_MB, count, kept_for_backward, rough_step_memory_mb, sample_batch
from boneray.models.registry import Task


def test_operations_of_the_raylift_head_and_decoder_by_hand():
    """Twice as many classes add 2 x 8 x 16 operations per coarse voxel: a 1x1x1 convolution from 16 to 8 per class."""
    one, two = (count("raylift_tiny", Task((32,) * 3, (64, 64), n, 2)) for n in (2, 4))
    assert two.flop - one.flop == 2 * 16**3 * 16 * 8 * 2
    assert two.parameters - one.parameters == 2 * 8 * (16 + 1)
    assert one.bare_parameters == 0


@pytest.mark.parametrize(
    ("name", "edge", "gigaflop"),
    [("unet", 64, 0.80), ("attention_unet", 128, 50.4), ("concat_2d", 128, 67.3), ("concat_2d_multiscale", 64, 20.7)],
)
def test_operations_are_those_counted_before(name, edge, gigaflop):
    assert count(name, Task((edge,) * 3, (2 * edge,) * 2, 1, 2)).flop / 1e9 == pytest.approx(gigaflop, rel=6e-3)


def test_bare_parameters_are_positions_and_tables():
    found = count("swin_x2s_base", Task((128, 128, 160), (320, 320), 54, 2))
    slices = 2 * sum(128 >> n for n in range(6))
    assert found.bare_parameters == 80 * 1536 + 169 * (2 * 3 + 2 * 6 + 18 * 12 + 2 * 24) + slices


def test_the_sample_is_seen_by_every_camera():
    batch = sample_batch(Task((32, 32, 48), (96, 96), 1, 3))
    assert batch.images.shape == (1, 3, 1, 96, 96) and batch.projections.shape == (1, 3, 3, 4)
    corners = torch.tensor([[i, j, k, 1.0] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]).T
    seen = batch.projections[0] @ corners
    assert (seen[:, :2].abs() <= seen[:, 2:]).all()


def test_a_run_gives_time_and_memory(boneray):
    got = boneray("cost", "UNet", "--size", 32, "--json")
    assert got.code == 0
    values = json.loads(got.out)
    assert values["model"] == "unet" and values["parameters"] == 1_203_911
    assert 0 < values["latency_s"] < 60 and values["cpu_s"] > 0 and 100 < values["peak_memory_mb"] < 20000
    shown = boneray("cost", "unet", "--size", 32, "--count-only").out
    assert "1,203,911" in shown and "time" not in shown


def test_what_cannot_be_built_is_one_line(boneray):
    for arguments, says in (
        (("unet", "--size", "33"), "takes 32 or 48"),
        (("unet", "--size", "64x64"), "must be one number"),
        (("unett",), "did you mean"),
        (("concat_2d", "--views", "3"), "one frontal and one lateral"),
    ):
        got = boneray("cost", *arguments)
        assert got.code == 2 and says in got.err and got.err.count("\n") == 1
    with pytest.raises(ConfigError, match="setting"):
        count("unet", Task((32,) * 3, (64, 64), 1, 2), {"chanels": 3})


def test_what_is_kept_for_the_backward_pass_is_counted_once():
    shared = nn.Linear(10, 10, bias=False)
    network = nn.Sequential(shared, nn.ReLU(), shared)
    batch = torch.zeros(5, 10, requires_grad=True)
    # the first product keeps its input, the other two what the ReLU gives; the weights are not counted
    assert kept_for_backward(network, batch) == 2 * 5 * 10 * 4
    with torch.no_grad():
        assert kept_for_backward(network, batch) == 0


def test_memory_of_a_step_grows_with_the_batch_and_has_four_times_the_weights():
    task = Task((32, 32, 32), (64, 64), 1, 2)
    one, two, four = (rough_step_memory_mb("unet", task, {}, batch) for batch in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one)) and two > one
    weights = 16 * count("unet", task).parameters / 1e6
    assert one - (two - one) == pytest.approx(BARE_PROCESS_MB + weights, rel=0.01)
