"""Figures of what networks show inside: planes, colours and scales in closed form; a toy study from cells to page."""

import io
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from boneray.benchmark import step_cost
from boneray.benchmark.cell_run import run_cell
from boneray.benchmark.run import run_study
from boneray.benchmark.study import Study
from boneray.core.bones import bone
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.datasets.phantom import phantom_case
from boneray.io.case_folder import read_case
from boneray.models.checkpoint import CheckpointCard, build_network, save_checkpoint
from boneray.reconstruction.reconstruct import Reconstructor
from boneray.reconstruction.sides import mirrored_labels, mirrored_radiograph
from boneray.report.benchmark_page import write_benchmark_page
from boneray.report.feature_maps import (
    enlarged,
    map_figures,
    means_about,
    one_channel,
    surface_shell,
    switch_figures,
    switched_pairs,
)
from boneray.report.inside import Inside, SeenMap, look_inside
from boneray.report.map_sheet import SEQUENTIAL, SIGNED, MapRow, coloured, map_sheet, plane_of, row_ends

PHANTOM = {"anatomy": "vertebra", "cases": 4, "seed": 3, "voxels": 32, "pixels": 32}
NARROW = {"channels": [4, 4, 8, 8, 8], "edge_channels": 4}
STUDY = {
    "name": "insides",
    "data": [{"name": "vertebra", "phantom": PHANTOM, "validation": 1, "test": 1}],
    "models": ["ear", "mean_volume"],
    "variants": [{"name": "without", "models": ["ear"], "settings": {**NARROW, "frequency": False}}],
    "settings": {"ear": NARROW},
    "seeds": [1],
    "cases_seen": 4,
    "batch_size": 2,
    "recipe": {"validations": 1},
    "most_step_s": None,
}
MIDDLE = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with two EARs, one without its frequency module, and a model that shows nothing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step_cost, "_in_its_own_process", step_cost.measured_step)
        out = tmp_path_factory.mktemp("insides")
        assert run_study(Study.model_validate(STUDY), out, run_cell=run_cell)["failed"] == 0
    return out


def checkpoint_of(study, method):
    return study / "cells" / f"vertebra-{method}-seed1" / "run"


@pytest.fixture(scope="module")
def tested(study):
    split = json.loads((study / "data/vertebra/splits.json").read_text())
    return study / "data/vertebra" / split["test"][0]


@pytest.fixture(scope="module")
def insides(study, tested):
    case = read_case(tested, with_ct=False)
    return case, [look_inside(checkpoint_of(study, m), case, method=m) for m in ("ear", "ear-without")]


def pictures(drawing):
    return [stroke for stroke in drawing.strokes if stroke.kind == "picture"]


def words(drawing):
    return [stroke.text for stroke in drawing.strokes if stroke.kind == "text"]


def pixels(stroke):
    return np.asarray(Image.open(io.BytesIO(stroke.png)).convert("RGB"))


def inside(method, prediction, **changes):
    """A network that shows nothing but its prediction."""
    settings = {"frequency": True, "edge": True, **changes}
    return Inside(method, "ear", settings, {"loss": "ear"}, Grid.cube(4, 8.0), prediction, "HU", ())


def test_planes_lie_as_on_a_screen():
    """One bright voxel: patient's right, front, head."""
    volume = np.zeros((4, 5, 6))
    volume[3, 4, 5] = 1.0
    at = (0.99, 0.99, 0.99)
    sagittal, coronal, transverse = (plane_of(volume, axis, at) for axis in range(3))
    assert sagittal.shape == (6, 5) and coronal.shape == (6, 4) and transverse.shape == (5, 4)
    assert sagittal[0, -1] == 1.0  # head up, front on the right
    assert coronal[0, 0] == 1.0  # head up, right on the left
    assert transverse[0, 0] == 1.0  # front up, right on the left
    assert sagittal.sum() == coronal.sum() == transverse.sum() == 1.0
    assert not plane_of(volume, 0, (0.74, 0.5, 0.5)).any()  # 0.74 of 4 voxels is the third


def test_colours_of_a_scale_are_known_at_its_ends_and_its_middle():
    shades = coloured(np.array([-9.0, 1.0, 2.0, 3.0, 9.0]), 1.0, 3.0, "sequential")
    assert [tuple(c) for c in shades] == [SEQUENTIAL[n] for n in (0, 0, 2, 4, 4)]
    assert tuple(coloured(np.array(0.0), -5.0, 5.0, "signed")) == SIGNED[2]
    assert tuple(coloured(np.array(1.5), 1.0, 3.0, "grey")) == (64, 64, 64)
    assert (coloured(np.full((2, 2), 0.3), 0.3, 0.3, "sequential") == SEQUENTIAL[2]).all()
    lightness = coloured(np.linspace(0, 1, 50), 0.0, 1.0, "sequential") @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


def test_a_row_has_one_scale_over_what_it_shows():
    first, second = np.full((2, 2, 2), 1.0), np.full((4, 4, 4), 3.0)
    second[0, 0, 0] = 99.0  # on none of the planes through the middle
    assert row_ends(MapRow("", (first, "none", second)), MIDDLE) == (1.0, 3.0)
    assert row_ends(MapRow("", (first, -second), "signed"), MIDDLE) == (-3.0, 3.0)
    assert row_ends(MapRow("", (first, second), ends=(0.0, 1.0)), MIDDLE) == (0.0, 1.0)
    sheet = map_sheet("t", ("a", "b"), [MapRow("r", (first, second))], size_mm=(8.0, 8.0, 8.0))
    shown = [pixels(stroke) for stroke in pictures(sheet)]
    assert len(shown) == 7  # three planes of two columns and the bar of colours
    assert all((plane == SEQUENTIAL[0]).all() for plane in shown[:3])
    assert all((plane == SEQUENTIAL[4]).all() for plane in shown[3:6])
    assert (shown[6][0] == SEQUENTIAL[4]).all() and (shown[6][-1] == SEQUENTIAL[0]).all()
    assert {"3", "1"} <= set(words(sheet))


def test_planes_keep_the_proportions_of_the_grid():
    sheet = map_sheet("t", ("a",), [MapRow("r", (np.zeros((2, 4, 8)),))], size_mm=(20.0, 40.0, 80.0))
    corners = [np.array(stroke.points) for stroke in pictures(sheet)[:3]]
    sizes = [tuple(c[1] - c[0]) for c in corners]
    assert sizes == [(48.0, 96.0), (24.0, 96.0), (24.0, 48.0)]
    assert all(a[1, 0] < b[0, 0] for a, b in pairwise(corners))


def test_the_surface_of_a_cube_and_the_voxels_of_a_level():
    cube = np.zeros((10, 10, 10), bool)
    cube[3:7, 3:7, 3:7] = True
    assert surface_shell(cube).sum() == 6 * 16 + (64 - 8)  # faces outside, and the cube without its core of 2^3
    assert not surface_shell(np.ones((3, 3, 3), bool)).any()
    coarse = np.arange(8.0).reshape(2, 2, 2)
    wanted = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert np.array_equal(enlarged(coarse, (6, 6, 6)), wanted)


def test_what_a_checkpoint_shows_belongs_to_its_prediction(study, insides):
    case, (whole, without) = insides
    shown = Reconstructor.load(checkpoint_of(study, "ear"))
    prediction, grid = shown.prediction(case.radiographs, target=case.target, centre_mm=case.labels.grid.centre_mm)
    np.testing.assert_allclose(whole.prediction, prediction.to_volumes(grid)[0].data, atol=1e-2)
    assert whole.unit == "HU" and whole.grid.matches(grid)
    names = {(m.name, m.level) for m in whole.maps}
    assert names - {(m.name, m.level) for m in without.maps} == {("frequency enhancement", n) for n in (1, 2, 3)}
    finest = next(m for m in whole.maps if (m.name, m.level) == ("edge attention", 1))
    assert finest.values.shape == (1, 16, 16, 16)


def test_sheets_have_a_panel_for_every_plane_level_and_network(insides):
    case, both = insides
    sheets = dict(map_figures(case, both))
    levels = {"encoder": 5, "decoder": 4, "edge attention": 4, "frequency enhancement": 3}
    assert sheets.keys() == levels.keys()
    for name, count in levels.items():
        columns = 1 if name == "frequency enhancement" else 2
        wanted = 2 + (3 + 1) + (2 * 3 + 1) + count * (3 * columns + 1)  # films, reference, predictions, levels; bars
        assert len(pictures(sheets[name])) == wanted
        assert sheets[name].svg().count("<image") == wanted
        said = words(sheets[name])
        assert {"view ap", "view lat", "reference", "prediction", "HU", "ear", "ear-without"} <= set(said)
        assert {f"level {n + 1}" for n in range(count)} <= set(said)
    few = sheets["frequency enhancement"]
    assert Image.open(io.BytesIO(few.png())).size == (round(2 * few.width), round(2 * few.height))
    assert words(few).count("not in this network") == 3
    assert words(sheets["encoder"]).count("mean of 8 channels") == 3  # levels 3 to 5
    assert not [line for line in words(sheets["encoder"]) if "at the surface" in line]
    assert len([line for line in words(sheets["edge attention"]) if "at the surface" in line]) == 8


def test_one_channel_can_be_chosen(insides):
    case, (whole, _) = insides
    said = words(dict(map_figures(case, [whole], channel=5))["encoder"])
    assert said.count("it has 4 channels") == 2 and said.count("channel 5 of 8") == 3
    level = next(m for m in whole.maps if (m.name, m.level) == ("encoder", 3))
    values = np.zeros_like(level.values)
    values[5] = 1.0
    only = replace(whole, maps=(replace(level, values=values),))
    row = pictures(dict(map_figures(case, [only], channel=5))["encoder"])[-4:-1]
    assert all((pixels(stroke) == SEQUENTIAL[2]).all() for stroke in row)  # constant: the middle of the scale
    with pytest.raises(ConfigError, match="no map has channel 8; the widest has 8"):
        list(map_figures(case, [whole], channel=8))


def test_channels_that_a_norm_centred_are_not_averaged():
    """(x, -x) has mean 0 everywhere, so the channel with the greatest spread is shown; (x, 0) has mean x / 2."""
    x = np.arange(8.0).reshape(2, 2, 2)
    values, words_ = one_channel(np.stack([x, -2 * x, x]), None)
    assert np.array_equal(values, -2 * x) and words_ == "channel 1 of 3, varies most"
    values, words_ = one_channel(np.stack([x, 0 * x]), None)
    assert np.array_equal(values, x / 2) and words_ == "mean of 2 channels"
    assert one_channel(x[None], None)[1] == "" and one_channel(x[None], 5)[1] == ""
    assert one_channel(np.stack([x, -x]), 5) == "it has 2 channels"


def test_means_at_the_surface_are_those_of_the_map():
    """Attention that is 1 within a voxel of the surface, 0.5 inside and 0.25 outside; a bone may have no inside."""
    case = phantom_case("vertebra", seed=3, number=0, voxels=32, pixels=32)
    grid = case.labels.grid
    assert case.target == "L1"
    with_another = case.labels.data.copy()
    with_another[:, :, -4:] = bone("L2").bone_id  # only the target counts
    case = replace(case, labels=LabelMap(with_another, grid))
    there = case.labels.data == bone(case.target).bone_id
    values = np.where(surface_shell(there), 1.0, np.where(there, 0.5, 0.25)).astype(np.float32)[None]
    shown = Inside("made", "ear", {}, {}, grid, values[0], "HU", (SeenMap("edges", 1, "attention", values),))
    ((_, sheet),) = map_figures(case, [shown])
    assert "mean 1 at the surface, 0.5 inside, 0.25 outside" in words(sheet)
    thin = np.zeros((4, 4, 4), bool)
    thin[1, 1, 1] = True
    assert means_about(np.full((2, 2, 2), -3.0), thin) == "3 at the surface, 3 outside"


def test_only_networks_that_differ_in_one_switch_are_subtracted():
    zero = np.zeros((4, 4, 4), np.float32)
    whole, frequency = inside("whole", zero), inside("no frequency", zero, frequency=False)
    neither = inside("neither", zero, frequency=False, edge=False)
    found = [(a.method, b.method, switch) for a, b, switch in switched_pairs([whole, frequency, neither])]
    assert found == [("no frequency", "whole", "frequency"), ("neither", "no frequency", "edge")]
    assert switched_pairs([whole, replace(frequency, recipe={"loss": "intensity_l1"})]) == []
    assert switched_pairs([whole, replace(frequency, model="e2e")]) == []
    assert switched_pairs([whole, inside("wider", zero, edge_channels=32)]) == []


def test_the_subtraction_is_with_minus_without(insides):
    case, (whole, without) = insides
    ((name, sheet),) = switch_figures(case, [whole, without])
    assert name == "frequency of ear" and {"without", "with", "with minus without"} <= set(words(sheet))
    assert len(pictures(sheet)) == 2 + 4 * (3 + 1)
    bent = replace(without, prediction=whole.prediction - 7.0)
    ((_, constant),) = switch_figures(case, [whole, bent])
    assert "mean size 7 at the surface, 7 inside, 7 outside" in words(constant) and {"7", "-7"} <= set(words(constant))
    assert all((pixels(stroke) == SIGNED[4]).all() for stroke in pictures(constant)[-4:-1])


def test_without_a_reference_the_planes_cross_in_the_middle_of_the_grid(study, insides):
    case, (whole, _) = insides
    bare = replace(case, labels=None)
    seen = look_inside(checkpoint_of(study, "ear"), bare)
    np.testing.assert_allclose(seen.grid.centre_mm, whole.grid.centre_mm, atol=1e-3)  # where the central rays meet
    sheet = dict(map_figures(bare, [seen]))["edge attention"]
    assert len(pictures(sheet)) == 2 + 4 + 4 * 4 and "reference" not in words(sheet)
    assert not [line for line in words(sheet) if "at the surface" in line]
    finest = next(m for m in seen.maps if (m.name, m.level) == ("edge attention", 1)).values[0]
    ends = [row_ends(MapRow("", (m.values[0],)), MIDDLE) for m in seen.maps if m.name == "edge attention"]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    wanted = coloured(finest[8].T[::-1], low, high, "sequential")
    shown = pixels(pictures(sheet)[6])  # after two films and the row of predictions
    assert np.array_equal(shown[6::12, 6::12], wanted)


def test_grids_of_another_size_are_drawn_apart(insides):
    case, (whole, _) = insides
    other = replace(whole, method="other", grid=Grid.cube(32, 50.0, whole.grid.centre_mm))
    with pytest.raises(
        ConfigError, match=r"ear works on \[.*\] mm and other on \[50.0, 50.0, 50.0\] mm; draw them apart"
    ):
        list(map_figures(case, [whole, other]))


def test_the_other_side_is_shown_in_a_mirror(tmp_path):
    """A network of right femora sees the left femur that is the right one's mirror image: its maps are mirrored."""
    right = phantom_case("femur", seed=3, number=0, voxels=32, pixels=32)
    assert right.target == "femur_right"
    grid = right.labels.grid
    x_mm = float(grid.centre_mm[0])
    left = replace(
        right,
        target="femur_left",
        labels=mirrored_labels(right.labels, x_mm),
        radiographs={view: mirrored_radiograph(r, x_mm) for view, r in right.radiographs.items()},
        ct=None,
    )
    card = CheckpointCard(
        "attention_unet", {"channels": (4, 4, 8)}, "femur", ("target",), grid.shape, tuple(grid.size_mm), (32, 32),
        tuple(right.radiographs), training={"side": "right"},
    )  # fmt: skip
    torch.manual_seed(0)
    file = save_checkpoint(tmp_path / "rights.safetensors", build_network(card), card)
    seen, turned = look_inside(file, right), look_inside(file, left)
    assert seen.method == "rights" and seen.unit == "probability" and len(seen.maps) == 2
    np.testing.assert_allclose(turned.prediction, seen.prediction[::-1], atol=1e-5)
    for a, b in zip(seen.maps, turned.maps, strict=True):
        np.testing.assert_allclose(b.values, a.values[:, ::-1], atol=1e-5)
    assert np.abs(seen.prediction - seen.prediction[::-1]).max() > 1e-3


def test_the_command_draws_a_run_once(study, tested, tmp_path, boneray):
    run = checkpoint_of(study, "ear")
    done = boneray("maps", run, "--case", tested, "--out", tmp_path / "maps")
    assert done.code == 0 and "4 figures" in done.err
    stems = {"encoder", "decoder", "edge-attention", "frequency-enhancement"}
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {f"{s}.{k}" for s in stems for k in ("svg", "png")}
    rows = [line.split() for line in done.out.splitlines()]
    finest = next(row for row in rows if row[1:4] == ["edge", "attention", "1"])
    assert finest[0] == "vertebra-ear-seed1" and finest[4:6] == ["attention", "1x16x16x16"]
    again = boneray("maps", run, "--case", tested, "--out", tmp_path / "maps")
    assert again.code == 2 and "--force" in again.err


def test_the_command_says_what_it_drew(tested, tmp_path, boneray):
    """Gates of two attention U-Nets of one name, and refusals before anything is written."""
    case = read_case(tested, with_ct=False)
    grid = case.labels.grid
    card = CheckpointCard(
        "attention_unet", {"channels": (4, 4, 8)}, "vertebra", ("target",), grid.shape, tuple(grid.size_mm), (32, 32),
        tuple(case.radiographs),
    )  # fmt: skip
    file, other = (tmp_path / folder / "gated.safetensors" for folder in ("one", "two"))
    for path in (file, other):
        path.parent.mkdir()
        save_checkpoint(path, build_network(card), card)
    wrong = boneray("maps", file, "--case", tested, "--out", tmp_path / "maps", "--channel", 3)
    assert wrong.code == 2 and "no map has channel 3; the widest has 1" in wrong.err
    assert not (tmp_path / "maps").exists()
    done = boneray("maps", file, other, "--case", tested, "--out", tmp_path / "maps", "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["case"] == case.case_id
    assert [path.rpartition("/")[2] for path in found["figures"]] == ["attention-gates.svg", "attention-gates.png"]
    assert [(row["method"], row["level"], row["kind"], row["shape"]) for row in found["maps"]] == [
        (method, level, "attention", [1, *(edge,) * 3])
        for method in ("gated", "gated (2)")
        for level, edge in ((1, 32), (2, 16))
    ]
    assert all(0 <= row["least"] <= row["greatest"] <= 1 for row in found["maps"])


def test_a_model_without_maps_is_one_line_and_no_folder(study, tested, tmp_path, boneray):
    done = boneray("maps", checkpoint_of(study, "mean_volume"), "--case", tested, "--out", tmp_path / "maps")
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1
    assert "model mean_volume shows no maps of its inside; these do: attention_unet, ear" in done.err
    assert not (tmp_path / "maps").exists()


def test_the_page_of_a_study_shows_them(study):
    page = write_benchmark_page(study).read_text()
    drawn = {path.stem for path in (study / "figures").glob("*.svg")}
    names = ("encoder", "decoder", "edge-attention", "frequency-enhancement")
    assert {f"maps-vertebra-ear-{name}" for name in names} | {"switch-vertebra-frequency-of-ear"} <= drawn
    assert "maps inside mean_volume on vertebra: a model that shows none of its inside" in page
    assert len(re.findall("ear, the worst case of", page)) == 5
