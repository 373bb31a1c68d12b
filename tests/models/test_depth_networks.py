"""The networks of 3DDX: sizes, positive depths, faces, masks, labels, published weights, pre-training, a run."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from boneray.core.bones import BONES
from boneray.core.camera import orbit_camera
from boneray.core.errors import BonerayError, ConfigError, GeometryError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.losses.registry import training_loss
from boneray.models.batch import Batch, camera_matrices
from boneray.models.depth_3ddx import NARROW, Depth3DDX, Depth3DDXSettings
from boneray.models.depth_prediction import DepthPrediction, MaskPrediction, source_in_cube
from boneray.models.mask_3ddx import Mask3DDX, Mask3DDXSettings
from boneray.models.masked_pretraining import PretrainSettings, hidden_squares, pretrain, write_encoder
from boneray.models.nfnet import NFNet, NFNetSettings, StandardConv, load_timm, same_padded, scaled_gelu
from boneray.models.registry import MODELS, Recipe, Task
from boneray.projection.depth import depth_maps
from boneray.training.module import warm_restarts

GRID = Grid.cube(24, 96.0)
TASK = Task(GRID.shape, (64, 64), 2, 1)
NAMES = [entry.name for entry in MODELS if entry.value.learns == "depth_maps"]


def parameter_count(network):
    return sum(p.numel() for p in network.parameters())


def one_view(cases=2, *, edge=64, angle=0.0, kind="perspective"):
    draw = torch.Generator().manual_seed(0)
    camera = orbit_camera(angle, detector_shape=(edge, edge), detector_mm=(180.0, 180.0), kind=kind)
    projection, depth = (
        torch.from_numpy(m)[None, None].expand(cases, -1, *m.shape) for m in camera_matrices(camera, GRID)
    )
    reference = 950 + 100 * torch.rand(cases, 4, edge, edge, generator=draw)
    reference[:, :, :9] = math.nan
    pictures = torch.randn(cases, 1, 1, edge, edge, generator=draw)
    return Batch(pictures, projection, depth, depth_maps=reference), camera


def test_parameters_are_those_published_and_stated():
    """NFNet-F0 has 71.49 million with its classifier; the rest is stated in docs/depth-and-shape.md."""
    with torch.device("meta"):
        assert parameter_count(NFNet(3, classes=1000)) == 71_489_284
        task = Task((64,) * 3, (256, 256), 4, 1)
        assert parameter_count(Depth3DDX(Depth3DDXSettings(), task)) == 67_228_996
        assert parameter_count(Depth3DDX(Depth3DDXSettings(faces="front"), task)) == 67_216_448
        assert parameter_count(Mask3DDX(Mask3DDXSettings(), task)) == 20_617_220


@pytest.mark.parametrize("edge", [256, 512, 1024])
def test_the_full_size_answers_without_memory(edge):
    with torch.device("meta"):
        task = Task((64,) * 3, (edge, edge), 4, 1)
        inputs = Batch(torch.empty(1, 1, 1, edge, edge), torch.empty(1, 1, 3, 4), torch.empty(1, 1, 4))
        assert Depth3DDX(Depth3DDXSettings(), task)(inputs).output.shape == (1, 8, edge, edge)
        assert Depth3DDX(Depth3DDXSettings(faces="front"), task)(inputs).output.shape == (1, 4, edge, edge)
        assert Mask3DDX(Mask3DDXSettings(), task)(inputs).output.shape == (1, 4, edge, edge)


@pytest.mark.parametrize("faces", ["both", "front"])
def test_depths_are_positive_start_near_the_body_and_every_parameter_learns(faces):
    torch.manual_seed(0)
    network = Depth3DDX(NARROW.model_copy(update={"faces": faces}), TASK)
    inputs, _ = one_view()
    prediction = network(inputs)
    assert prediction.output.shape == (2, 4 if faces == "both" else 2, 64, 64)
    assert (prediction.output > 0).all() and abs(float(prediction.output.detach().mean()) - 1000.0) < 60.0
    for loss in ("si_indep", "casi_dep"):
        network.zero_grad()
        training_loss(loss, network(inputs), inputs.depth_maps, learns="depth_maps").backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        assert not [n for n, p in network.named_parameters() if not n.endswith("bias") and not p.grad.any()]
    assert np.isfinite(prediction.score(inputs.depth_maps[:, : prediction.output.shape[1]]).detach().numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_one_line(name):
    spec = MODELS.get(name).value
    with pytest.raises(ConfigError, match=r"picture size 67 .*takes 64 or \d+") as caught:
        spec.build(spec.narrow, Task(GRID.shape, (64, 67), 2, 1))
    assert "\n" not in str(caught.value)
    network = spec.build(spec.narrow, TASK)
    inputs, _ = one_view(1)
    with pytest.raises(ConfigError, match="camera is missing"):
        network(Batch(inputs.images, inputs.projections[:, :0], inputs.depths[:, :0]))


def test_masks_overlap_and_learn():
    torch.manual_seed(0)
    network = Mask3DDX(Mask3DDXSettings(channels=(8, 12, 16)), TASK)
    inputs, _ = one_view()
    prediction = network(inputs)
    assert prediction.output.shape == (2, 2, 64, 64)
    training_loss("masks_dice_ce", prediction, inputs.depth_maps, learns="depth_maps").backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    both = MaskPrediction(torch.full((1, 2, 4, 4), 3.0), inputs.projections[:1, 0])
    assert both.masks().all()  # a pixel may belong to both bones
    np.testing.assert_allclose(both.score(torch.ones(1, 4, 4, 4)), 1.0)


def ball():
    world = GRID.to_world(np.moveaxis(np.mgrid[:24, :24, :24], 0, -1))
    return LabelMap(((world**2).sum(-1) <= 30.0**2).astype(np.uint8) * 5, GRID)


@pytest.mark.parametrize("angle", [0.0, 40.0, 90.0])
def test_true_depth_maps_become_the_labels_they_were_made_of(angle):
    inputs, camera = one_view(1, angle=angle)
    labels = ball()
    maps = depth_maps(labels, camera, (5,))
    both = torch.from_numpy(np.concatenate([maps.front_mm, maps.back_mm]))[None]
    prediction = DepthPrediction(
        torch.nan_to_num(both, nan=1000.0), 1, inputs.projections[:, 0], torch.isfinite(both[:, :1])
    )
    found = prediction.to_labels(GRID, (5,))[0].data == 5
    true = labels.data == 5
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.97
    np.testing.assert_allclose(prediction.to_depth_maps((5,))[0].front_mm, maps.front_mm)
    # the visual hull of the mask holds the bone and more
    hull = (
        MaskPrediction(torch.isfinite(both[:, :1]) * 2.0 - 1, inputs.projections[:, 0]).to_labels(GRID, (5,))[0].data
        == 5
    )
    assert (hull & true).sum() > 0.97 * true.sum() and hull.sum() > 1.2 * true.sum()
    half = np.array(GRID.size_mm) / 2
    found_source = source_in_cube(inputs.projections[0, 0].double().numpy()) * half
    np.testing.assert_allclose(found_source, camera.source_mm, atol=0.05)


def test_a_perfect_score_is_zero_and_a_common_shift_costs_nothing():
    inputs, _ = one_view()
    known = torch.nan_to_num(inputs.depth_maps, nan=7.0)
    exact = DepthPrediction(known + 33.0, 2, inputs.projections[:, 0])
    np.testing.assert_allclose(exact.score(inputs.depth_maps), 0.0, atol=0.02)
    tilted = known.clone()
    tilted[:, 1] += 8.0  # one map of four: centred errors -2, 6, -2, -2
    np.testing.assert_allclose(
        DepthPrediction(tilted, 2, inputs.projections[:, 0]).score(inputs.depth_maps), -math.sqrt(12.0), rtol=1e-3
    )


def test_what_has_no_answer_says_so():
    inputs, _ = one_view(1)
    front = DepthPrediction(torch.ones(1, 2, 64, 64), 2, inputs.projections[:, 0])
    with pytest.raises(ConfigError, match="front face only"):
        front.to_labels(GRID, (1, 2))
    parallel, _ = one_view(1, kind="parallel")
    with pytest.raises(GeometryError, match="a parallel beam has none"):
        DepthPrediction(torch.ones(1, 4, 64, 64), 2, parallel.projections[:, 0]).to_labels(GRID, (1, 2))


def test_standardised_weights_and_gains_keep_the_variance():
    torch.manual_seed(0)
    conv = StandardConv(64, 256, 3)
    out = conv(torch.randn(4, 64, 16, 16))[:, :, 2:-2, 2:-2]
    assert float(out.detach().var()) == pytest.approx(1.0, rel=0.05)
    assert float(scaled_gelu(torch.randn(200000)).var()) == pytest.approx(1.0, rel=0.02)
    assert [tuple(same_padded(torch.zeros(1, 1, n, n), 3, 2).shape[-2:]) for n in (7, 8)] == [(9, 9), (9, 9)]


def test_published_names_are_loaded_and_colours_summed(tmp_path):
    torch.manual_seed(0)
    settings = NARROW.encoder
    published = NFNet(3, settings, classes=10)
    save_file(published.state_dict(), tmp_path / "nfnet.safetensors")
    network = Depth3DDX(
        Depth3DDXSettings(**{**NARROW.model_dump(), "pretrained": tmp_path / "nfnet.safetensors"}), TASK
    )
    lines = network.initialise()
    assert any("3 colours summed" in line for line in lines) and not any("starts anew" in line for line in lines)
    assert any("not used: final_conv" in line or "not used: head" in line for line in lines)
    torch.testing.assert_close(network.encoder.stages[3][0].conv2.weight, published.stages[3][0].conv2.weight)
    grey = torch.randn(1, 1, 64, 64)
    # grey laid into all three colours gives what the summed layer gives, but for the standardising of its weights
    stem = published.stem["conv1"].weight.sum(1, keepdim=True)
    torch.testing.assert_close(network.encoder.stem["conv1"].weight, stem)
    assert network.encoder(grey)[-1].shape == (1, 32, 2, 2)


def test_pretraining_learns_to_paint_and_its_encoder_is_taken_over(tmp_path):
    torch.manual_seed(0)
    row = torch.linspace(0, 12, 64)
    phases = torch.rand(24, generator=torch.Generator().manual_seed(1)) * 6
    pictures = torch.stack([torch.sin(row[:, None] + row[None] / 2 + phase) for phase in phases])[:, None]
    encoder = NFNet(1, NARROW.encoder)
    losses = pretrain(encoder, pictures, PretrainSettings(steps=60, batch_size=8, learning_rate=1e-2, ratio=0.5))
    assert np.mean(losses[-5:]) < 0.85  # the mean of each hidden square costs 1
    write_encoder(tmp_path / "encoder.safetensors", encoder)
    again = NFNet(1, NARROW.encoder)
    assert not load_timm(again, tmp_path / "encoder.safetensors").anew
    torch.testing.assert_close(again(pictures[:1])[-1], encoder(pictures[:1])[-1])
    hidden = hidden_squares((5, 4, 4), 0.75, torch.Generator().manual_seed(0))
    assert (hidden.sum((1, 2)) == 12).all()
    with pytest.raises(BonerayError, match="multiple of 32"):
        pretrain(encoder, torch.zeros(1, 1, 60, 64))
    with pytest.raises(BonerayError, match="at least 64 pixels"):
        pretrain(encoder, torch.zeros(1, 1, 32, 64))


def test_warm_restarts_double_and_end_at_zero():
    """63 steps in six cycles of 1, 2, 4, 8, 16, 32: as 630 epochs from T_0 = 10."""
    starts = [0, 1, 3, 7, 15, 31]
    for first, length in zip(starts, (1, 2, 4, 8, 16, 32), strict=True):
        assert warm_restarts(first, 63, 6) == 1.0
        assert warm_restarts(first + length // 2, 63, 6) == pytest.approx(0.5) or length == 1
    assert warm_restarts(63, 63, 6) == pytest.approx(0.0)
    recipe = MODELS.get("depth_3ddx").value.recipes["paper"].recipe
    assert (recipe.epochs, recipe.restarts, recipe.schedule) == (630, 6, "sgdr")
    assert Recipe().schedule == "cosine"


def test_depth_maps_train_from_the_command_line(tmp_path, boneray):
    data = tmp_path / "data"
    assert boneray("phantom", "femur", "--cases", "4", "--voxels", "32", "--out", data).code == 0
    small = json.dumps(NARROW.model_dump(mode="json", exclude={"pretrained"}))
    settings = tmp_path / "run.yaml"
    settings.write_text(
        json.dumps(
            {
                "model": json.loads(small),
                "views": ["ap"],
                "image_shape": [64, 64],
                "overfit": True,
                "recipe": {"steps": 3, "batch_size": 2, "validations": 1, "loss": "casi_indep", "mirror": 0.0,
                           "cameras": {"jittered": 0.0, "turned": 0.0}, "randaugment": {"operations": 2}},
            }
        )
    )  # fmt: skip
    out = tmp_path / "run"
    ran = boneray("train", "depth_3ddx", "--data", data, "--recipe", settings, "--out", out, "--device", "cpu")
    assert ran.code == 0, ran.err
    run = json.loads((out / "run.json").read_text())
    assert run["result"]["validation_score"] < 0 and (out / "best.safetensors").is_file()
    assert BONES["femur_left"].bone_id
    wrong = boneray("train", "depth_3ddx", "--data", data, "--recipe", settings, "--set", "recipe.loss=dice_ce",
                    "--out", tmp_path / "b", "--device", "cpu")  # fmt: skip
    assert wrong.code == 2 and "is for labels" in wrong.err


def test_a_small_network_keeps_the_group_width():
    settings = NFNetSettings(stem=16, widths=(16, 16, 16, 16), depths=(1, 1, 1, 1), group=3)
    assert NFNet(1, settings)(torch.zeros(1, 1, 64, 64))[0].shape == (1, 16, 16, 16)
