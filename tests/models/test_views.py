"""As many views as the network was built for, and checkpoints of other bones refused."""

import json

import pytest
import torch

from boneray.core.errors import ConfigError, InputError
from boneray.models.checkpoint import CheckpointCard, build_network, load_checkpoint, save_checkpoint
from boneray.models.registry import MODELS
from tests.models.networks import build, make_batch, smallest_grid

REPLICATING = ("unet", "attention_unet", "unetr", "swin_unetr", "tl_embedding")
TWO_VIEWS = ("concat_1d", "concat_2d", "concat_2d_multiscale")


@pytest.mark.parametrize("name", REPLICATING)
def test_three_views_are_three_channels_and_each_of_them_matters(name):
    grid = smallest_grid(name)
    network = build(name, views=3).eval()
    inputs = make_batch(grid, cases=1, views=(0.0, 45.0, 90.0))
    with torch.inference_mode():
        plain = network(inputs).logits
        assert plain.shape == (1, 1, *grid.shape)
        for view in range(3):
            pictures = inputs.images.clone()
            pictures[:, view] += 3.0
            changed = type(inputs)(pictures, inputs.projections, inputs.depths)
            assert (network(changed).logits - plain).abs().max() > 1e-4, view


@pytest.mark.parametrize("name", TWO_VIEWS)
def test_methods_of_two_views_refuse_another_number(name):
    with pytest.raises(ConfigError, match=r"one frontal and one lateral view, 3 view\(s\)") as caught:
        build(name, views=3)
    assert "\n" not in str(caught.value)


def test_papers_names_are_aliases_in_any_case():
    wanted = {"UNet": "unet", "swin-x2s-base": "swin_x2s_base", "TwoDPermuteConcat": "concat_2d"}
    wanted |= {"ONEDCONCAT": "concat_1d", "TL-Embedding": "tl_embedding", "SwinUNETR": "swin_unetr"}
    wanted |= {"MultiScale2DConcat": "concat_2d_multiscale", "AttentionUNet": "attention_unet", "UNETR": "unetr"}
    assert {alias: MODELS.get(alias).name for alias in wanted} == wanted


def test_a_checkpoint_of_another_class_count_is_one_line(tmp_path):
    """The weights are of one bone, the description says three."""
    card = CheckpointCard("unet", {}, "pelvis", ("sacrum",), (16,) * 3, (300.0,) * 3, (32, 32), ("ap", "lat"))
    file = save_checkpoint(tmp_path / "c.safetensors", build_network(card), card)
    description = json.loads(file.with_suffix(".json").read_text())
    description["classes"] = ["sacrum", "hip_right", "hip_left"]
    file.with_suffix(".json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="does not fit model unet") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)
