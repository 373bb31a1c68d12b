"""The 2D Swin against another implementation, and checkpoints of others loaded into it."""

import re

import pytest
import torch
from safetensors.torch import save_file

from boneray.core.errors import ConfigError, InputError
from boneray.models.pretrained_swin import adapted_patch, load_pretrained_swin, our_names, resampled_table
from boneray.models.raylift import Raylift, RayliftSettings, SwinSettings
from boneray.models.registry import Task
from boneray.models.swin import Block, Swin, relative_index, separated
from boneray.models.transfer import initialise_from

DEPTHS, HEADS = (2, 2, 3, 2), (1, 2, 2, 4)


def small_swin(*, merged=True, channels=1, patch=2, window=7, depths=DEPTHS, width=8, heads=HEADS, seed=0):
    torch.manual_seed(seed)
    return Swin(
        channels=channels, width=width, depths=depths, heads=heads, patch=patch, window=window, merged=merged
    ).eval()


def monai_weights(state):
    """Our weights by the names of MONAI's SwinTransformer."""
    out = {}
    for name, value in state.items():
        if name.startswith("norms"):
            continue
        name = re.sub(r"^layers\.(\d)\.", lambda m: f"layers{int(m[1]) + 1}.0.", name)
        out[name.replace("mlp.fc", "mlp.linear")] = value
    return out


@pytest.mark.parametrize("size", [(224, 448), (448, 224)])
def test_it_computes_what_monai_computes(size):
    """Sizes at which no map is padded and none fits into one window: there the two agree on every rule."""
    from monai.networks.nets.swin_unetr import SwinTransformer

    ours = small_swin(depths=(2, 2, 2, 2))
    other = SwinTransformer(
        in_chans=1,
        embed_dim=8,
        window_size=(7, 7),
        patch_size=(2, 2),
        depths=(2, 2, 2, 2),
        num_heads=HEADS,
        patch_norm=True,
        spatial_dims=2,
    ).eval()
    missing, unexpected = other.load_state_dict(monai_weights(ours.state_dict()), strict=False)
    assert not unexpected and all("relative_position_index" in name for name in missing)
    images = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for mine, theirs in zip(ours(images), other(images, normalize=True), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_maps_have_the_published_sizes():
    images = torch.zeros(1, 1, 128, 160)
    assert [tuple(m.shape[1:]) for m in small_swin()(images)] == [
        (8, 64, 80),
        (16, 32, 40),
        (32, 16, 20),
        (64, 8, 10),
        (128, 4, 5),
    ]
    stages = small_swin(merged=False, patch=4)(torch.zeros(1, 1, 128, 160))
    assert [tuple(m.shape[1:]) for m in stages] == [(8, 32, 40), (16, 16, 20), (32, 8, 10), (64, 4, 5)]


def test_relative_positions_by_hand():
    # window 2: tokens (0,0) (0,1) (1,0) (1,1); difference (a, b) is row 3 (a + 1) + (b + 1)
    assert relative_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_tokens_from_opposite_edges_do_not_see_each_other():
    mask = separated((4, 2), 2, (1, 0), torch.zeros(1))
    assert (mask[0] == 0).all()  # rows 1 and 2 of the picture: neighbours
    last = mask[1]  # rows 3 and 0: brought together by the shift
    assert torch.isinf(last[0, 2]) and last[0, 1] == 0 and last[2, 3] == 0


def test_a_residual_is_dropped_as_often_as_stated_and_made_up_for():
    torch.manual_seed(0)
    block = Block(8, 2, 7, shifted=False, path_drop=0.25).train()
    kept = block._dropped(torch.ones(40000, 1, 1, 1))
    assert sorted(kept.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(block.eval()._dropped(torch.ones(3, 1, 1, 1)), torch.ones(3, 1, 1, 1))


def published(swin, *, before, patch=4, colours=3, window=7, classifier=True):
    """Weights under the names of timm (`before`: merging before a stage) or of the paper's authors."""
    rng = torch.Generator().manual_seed(5)
    state = {}
    for name, value in swin.state_dict().items():
        if name.startswith(("norms", "layers.3.downsample")):
            continue
        if before:
            name = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name)
        shape = value.shape
        if name == "patch_embed.proj.weight":
            shape = (shape[0], colours, patch, patch)
        if name.endswith("bias_table"):
            shape = ((2 * window - 1) ** 2, shape[1])
        state[name] = torch.randn(shape, generator=rng)
    if classifier:
        state |= {"norm.weight": torch.ones(64), "norm.bias": torch.zeros(64), "head.fc.weight": torch.ones(5, 64)}
        state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
        state["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    return state


@pytest.mark.parametrize("before", [True, False])
def test_a_published_checkpoint_loads_completely(before, tmp_path):
    swin = small_swin()
    state = published(swin, before=before)
    save_file(state, tmp_path / "swin.safetensors")
    done = load_pretrained_swin(swin, tmp_path / "swin.safetensors", adaptation="published")
    own = swin.state_dict()
    assert torch.equal(own["layers.2.blocks.1.attn.qkv.weight"], state["layers.2.blocks.1.attn.qkv.weight"])
    merging = f"layers.{1 if before else 0}.downsample.reduction.weight"
    assert torch.equal(own["layers.0.downsample.reduction.weight"], state[merging])
    first = state["patch_embed.proj.weight"]
    assert torch.equal(own["patch_embed.proj.weight"], first[:, :1, ::2, ::2])
    assert [line.split(":")[0] for line in done.adapted] == ["patch_embed.proj.weight"]
    assert not done.misfits
    assert set(done.anew) == {n for n in own if n.startswith(("norms", "layers.3.downsample"))}
    assert set(done.unused) == {"norm.weight", "norm.bias", "head.fc.weight"}
    # every weight of either side is in exactly one list
    assert len(done.copied) + len(done.adapted) + len(done.misfits) + len(done.anew) == len(own)
    told = " ".join(done.lines())
    assert all(word in told for word in ("starts anew: norms", "not used: head.fc.weight", "colours repeated"))


def test_the_last_norm_serves_the_last_stage_where_it_is_not_merged(tmp_path):
    swin = small_swin(merged=False, patch=4)
    save_file(published(swin, before=True), tmp_path / "swin.safetensors")
    done = load_pretrained_swin(swin, tmp_path / "swin.safetensors")
    assert "norms.3.weight" in done.copied and done.unused == ("head.fc.weight",)
    assert set(done.anew) == {f"norms.{n}.{kind}" for n in range(3) for kind in ("weight", "bias")}


def test_another_window_depth_and_width_are_told_or_refused(tmp_path):
    swin = small_swin()
    file = tmp_path / "swin.safetensors"
    save_file(published(swin, before=True, window=12), file)
    done = load_pretrained_swin(swin, file)
    assert sum("windows of 12 to 7" in line for line in done.adapted) == sum(DEPTHS)
    shallow = small_swin(depths=(2, 2, 2, 2))
    done = load_pretrained_swin(shallow, file)
    assert any(name.startswith("layers.2.blocks.2.") for name in done.unused)
    with pytest.raises(ConfigError, match="width 8; take one of width 16"):
        load_pretrained_swin(small_swin(width=16), file)
    with pytest.raises(ConfigError, match="heads"):
        load_pretrained_swin(small_swin(heads=(2, 2, 2, 4)), file)


def test_interpolated_biases_keep_what_is_linear():
    """Biases that rise linearly with the offset in a window of 12 do so in one of 7, with the same ends."""
    old = torch.linspace(-1, 1, 23)
    table = (old[:, None] + 2 * old[None]).reshape(-1, 1)
    new = torch.linspace(-1, 1, 13)
    got, _ = resampled_table(table, (169, 1))
    torch.testing.assert_close(got.reshape(13, 13), new[:, None] + 2 * new[None], rtol=0, atol=0.02)
    torch.testing.assert_close(resampled_table(table, (23**2, 1))[0], table, rtol=0, atol=1e-5)


def test_the_grey_first_layer_sees_an_enlarged_grey_picture():
    weight = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    picture = torch.randn(1, 1, 6, 10, generator=torch.Generator().manual_seed(1))
    adapted, _ = adapted_patch(weight, (8, 1, 2, 2), "grey")
    enlarged = picture.repeat(1, 3, 1, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    want = torch.nn.functional.conv2d(enlarged, weight, stride=4)
    torch.testing.assert_close(torch.nn.functional.conv2d(picture, adapted, stride=2), want, rtol=1e-4, atol=1e-4)
    assert adapted_patch(weight, (8, 1, 3, 3), "grey") is None


def test_a_prefix_is_taken_off():
    state = published(small_swin(), before=True, classifier=False)
    named = our_names({f"model.encoder.{n}": v for n, v in state.items()}, merged=True, stages=4)
    assert named.keys() == our_names(state, merged=True, stages=4).keys()


def test_raylift_starts_from_published_weights(tmp_path):
    file = tmp_path / "swin.safetensors"
    narrow = SwinSettings(width=8, depths=DEPTHS, heads=HEADS)
    settings = RayliftSettings(encoder=(8, 12, 16, 16), backbone="swin", swin=narrow, pretrained=str(file))
    network = Raylift(settings, Task((16, 16, 16), (32, 32), 1, 2))  # building does not read the file
    state = published(network.encoder.swin, before=True)
    save_file(state, file)
    said = network.initialise()
    assert torch.equal(
        network.encoder.swin.state_dict()["layers.0.blocks.0.mlp.fc1.weight"], state["layers.0.blocks.0.mlp.fc1.weight"]
    )
    assert any("colours summed" in line for line in said)
    with pytest.raises(ConfigError, match="backbone=swin"):
        Raylift(RayliftSettings(pretrained=str(file)), Task((16, 16, 16), (32, 32), 1, 2))


def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path):
    swin = small_swin()
    (tmp_path / "swin.pth").write_bytes(b"x")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 40)
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name, says in (
        ("swin.pth", "refused"),
        ("broken.safetensors", "cannot be read"),
        ("other.safetensors", "no Swin"),
        ("none.safetensors", "none.safetensors"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            load_pretrained_swin(swin, tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_network_starts_from_another_and_tells_every_change_of_shape(tmp_path):
    one = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    two = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 5), torch.nn.Linear(5, 1))
    before = two[1].weight.clone()
    save_file(one.state_dict(), tmp_path / "one.safetensors")
    done = initialise_from(two, tmp_path / "one.safetensors")
    assert torch.equal(two[0].weight, one[0].weight) and torch.equal(two[1].weight, before)
    assert done.misfits == (
        "1.weight: (2, 4) in the file, (5, 4) here; starts anew",
        "1.bias: (2,) in the file, (5,) here; starts anew",
    )
    assert done.anew == ("2.weight", "2.bias") and done.unused == ()
    with pytest.raises(InputError, match="no weight that fits"):
        initialise_from(torch.nn.Conv2d(1, 1, 1), tmp_path / "one.safetensors")
