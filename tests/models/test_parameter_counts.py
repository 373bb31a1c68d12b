"""Every published network has the published number of parameters."""

import pytest

from boneray.models.registry import MODELS
from tests.models.networks import full_size_on_meta, parameter_count

SPINE = (128, 128, 160)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [  # XrayTo3D benchmark, one output channel, two views; with 54 bones as in the Swin-X2S comparison
        ("unet", (128,) * 3, 1, 1_203_911),
        ("unet", SPINE, 54, 1_309_103),
        ("attention_unet", (128,) * 3, 1, 1_478_813),
        ("attention_unet", SPINE, 54, 1_479_299),
        ("unetr", (128,) * 3, 1, 96_175_761),
        ("unetr", (64,) * 3, 1, 95_831_697),
        ("unetr", SPINE, 54, 96_274_983),
        ("swin_unetr", (128,) * 3, 1, 62_188_387),
        ("swin_unetr", SPINE, 54, 62_191_033),
        ("concat_2d", (128,) * 3, 1, 1_249_537),
        ("concat_2d", (64,) * 3, 1, 1_194_049),
        ("concat_2d", SPINE, 54, 1_545_943),
        ("concat_1d", (128,) * 3, 1, 40_621_953),
        ("concat_1d", (64,) * 3, 1, 38_994_561),
        ("concat_1d", (128,) * 3, 54, 40_668_663),
        # 3,163,665 less three doubling layers of 27,744 that the released scripts build and never use
        ("concat_2d_multiscale", (128,) * 3, 1, 3_163_665 - 3 * 27_744),
        ("concat_2d_multiscale", SPINE, 54, 3_165_447 - 3 * 27_744),
        ("tl_embedding", (128,) * 3, 1, 4_372_897 + 2_170_344),
        ("tl_embedding", (64,) * 3, 1, 674_209 + 335_336),
        ("swin_x2s_small", SPINE, 54, 130_067_563),
        ("swin_x2s_base", SPINE, 54, 313_847_449),
        ("swin_x2s_base", SPINE, 25, 313_844_636),
        ("swin_x2s_large", SPINE, 54, 557_804_903),
        ("bx2s_plain", (128,) * 3, 1, 1_118_254),
        ("bx2s", (128,) * 3, 1, 1_814_934),
        ("bx2s_edge", (128,) * 3, 1, 1_815_153),
        ("psr", (128,) * 3, 1, 588_595_520),
    ],
)
def test_published_number(name, shape, classes, count):
    assert parameter_count(full_size_on_meta(name, shape, classes=classes)) == count


@pytest.mark.parametrize(
    ("size", "shape", "millions"),
    [("tiny", (96, 96, 128), 32.51), ("small", SPINE, 129.97), ("base", SPINE, 313.68), ("large", SPINE, 557.58)],
)
def test_swin_x2s_counts_modules_only(size, shape, millions):
    """The paper's counts leave out bare parameters: positions, and tables of relative positions."""
    network = full_size_on_meta(f"swin_x2s_{size}", shape, classes=54)
    bare = ("position", "relative_position_bias_table")
    counted = sum(p.numel() for n, p in network.named_parameters() if not n.endswith(bare))
    assert round(counted / 1e6, 2) == millions


def test_parts_of_the_two_stage_network():
    network = full_size_on_meta("tl_embedding", (128,) * 3)
    xray = parameter_count(network.xray_encoder) + parameter_count(network.xray_code)
    assert (xray, parameter_count(network) - xray) == (2_170_344, 4_372_897)


def test_parts_of_swin_x2s_base():
    """In millions, as far as they can be told apart: 2D Swin, bottleneck, cross attention, decoders."""
    network = full_size_on_meta("swin_x2s_base", SPINE, classes=54)
    millions = [
        round(parameter_count(part) / 1e6, 3)
        for part in (network.swin, *network.encoders.values(), network.exchange, *network.decoders)
    ]
    assert millions[:1] == [53.562]
    assert millions[1:7] == [0.252, 0.498, 1.991, 7.963, 31.850, 127.402]
    assert millions[7:] == [11.933, 58.393, 14.598, 3.650, 0.912, 0.839]


def test_models_answer_to_the_names_of_their_papers():
    for alias, name in {
        "SwinUNETR": "swin_unetr",
        "2DConcat": "concat_2d",
        "OneDConcat": "concat_1d",
        "TL-Embedding": "tl_embedding",
        "Swin-X2S-Base": "swin_x2s_base",
        "unetr": "unetr",
        "MultiScale2DPermuteConcat": "concat_2d_multiscale",
    }.items():
        assert MODELS.get(alias).name == name


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [  # with one view; a second one adds 256 kernels of 4x4 to psr and 64 of 7x7 to sit
        ("psr", (128, 46, 128), 588_586_176),
        ("sit", (128,) * 3, 9_068_480),
    ],
)
def test_published_number_with_one_view(name, shape, count):
    assert parameter_count(full_size_on_meta(name, shape, views=1)) == count
    kernels = {"psr": 256 * 4 * 4, "sit": 64 * 7 * 7}[name]
    shape = (shape[0], shape[0], shape[2])
    two, one = (parameter_count(full_size_on_meta(name, shape, views=views)) for views in (2, 1))
    assert two - one == kernels


def test_x2ct_for_one_view_and_for_two():
    network = full_size_on_meta("x2ct_generator", (128,) * 3)
    assert parameter_count(network.frontal) == parameter_count(network.lateral) == 29_384_481
    assert parameter_count(network) == 61_740_467
