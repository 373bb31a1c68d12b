"""Checkpoints that are damaged, foreign or unknown are refused in one line."""

import json

import pytest
import torch

from boneray.core.errors import BonerayError, ConfigError, InputError
from boneray.models.checkpoint import (
    CheckpointCard,
    build_network,
    load_checkpoint,
    pack_checkpoint,
    save_checkpoint,
)

CARD = CheckpointCard("raylift_tiny", {}, "femur", ("target",), (16,) * 3, (64.0,) * 3, (32, 32), ("ap", "lat"))


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    return save_checkpoint(tmp_path / "c.safetensors", build_network(CARD), CARD)


def test_a_flipped_byte_is_noticed(file):
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "raylift_tin"}, "raylift_tiny"),
        ({"anatomy": "femurr"}, "femur"),
        ({"settings": {"encodr": 3}}, "encoder"),
        ({"settings": {"head": 8}}, "does not fit"),
        ({"schema": "x"}, "schema"),
    ],
)
def test_a_changed_description_is_noticed(file, change, says):
    card = file.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(BonerayError, match=says) as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)


def test_pickles_are_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"whatever")
    with pytest.raises(InputError, match="safetensors"):
        load_checkpoint(tmp_path / "model.pt")


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="raylift_tiny_femu"):
        load_checkpoint("raylift_tiny_femu")


def test_half_precision_halves_the_file_and_keeps_the_answer_close(file, tmp_path):
    network, _ = load_checkpoint(file)
    small = pack_checkpoint(file, tmp_path / "half.safetensors")
    assert small.stat().st_size < 0.55 * file.stat().st_size
    again, _ = load_checkpoint(small)
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="--force"):
        pack_checkpoint(file, tmp_path / "half.safetensors")
