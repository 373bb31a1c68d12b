"""Published recipes are data beside each model; where sources disagree there is one name for each."""

import pytest

from boneray.anatomy.registry import ANATOMIES
from boneray.core.errors import ConfigError
from boneray.losses.registry import LOSSES
from boneray.models.registry import MODELS, Recipe, StoredPairs

PUBLISHED = [entry.name for entry in MODELS if entry.value.recipes]
BENCHMARK = ["attention_unet", "concat_1d", "concat_2d", "concat_2d_multiscale", "swin_unetr", "tl_embedding", "unet"]
BENCHMARK += ["unetr"]
SWIN_X2S = ["swin_x2s_base", "swin_x2s_large", "swin_x2s_small", "swin_x2s_tiny"]


def test_every_published_network_has_its_recipes():
    assert {*BENCHMARK, *SWIN_X2S} <= set(PUBLISHED)
    for name in BENCHMARK:
        assert set(MODELS.get(name).value.recipes) == {"paper", "code", "swin_x2s_paper", "swin_x2s_code"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_fits_its_network(name):
    spec = MODELS.get(name).value
    for named in spec.recipes.values():
        assert set(named.settings) <= set(type(spec.settings).model_fields)
        if name in (*BENCHMARK, *SWIN_X2S):
            assert named.settings["start_bias"] == 0.0  # the paper's initialisation, beside ours
            assert spec.settings.start_bias == -2.0
        assert set(named.by_anatomy) <= {entry.name for entry in ANATOMIES}
        for anatomy in ANATOMIES:
            LOSSES.get(named.for_anatomy(anatomy.name).loss)
        assert named.source


@pytest.mark.parametrize(
    ("name", "recipe", "anatomy", "wanted"),
    [
        ("unet", "paper", "femur", (4000, 8, 2e-3)),
        ("unet", "paper", "vertebra", (15000, 8, 2e-3)),
        ("unet", "code", "vertebra", (15000, 8, 2e-4)),
        ("unet", "code", "ribs", (3000, 8, 2e-3)),
        ("concat_2d_multiscale", "paper", "femur", (4000, 4, 2e-3)),
        ("concat_2d_multiscale", "code", "femur", (4000, 8, 2e-3)),
        ("unetr", "paper", "pelvis", (3000, 1, 2e-4)),
        ("unetr", "code", "femur", (4000, 4, 2e-4)),
        ("unetr", "code", "ribs", (3000, 1, 2e-3)),
        ("swin_unetr", "paper", "femur", (4000, 1, 2e-4)),
        ("swin_unetr", "code", "femur", (15000, 1, 2e-4)),
        ("swin_unetr", "code", "vertebra", (15000, 8, 2e-4)),
        ("tl_embedding", "code", "vertebra", (10000, 8, 2e-4)),
        ("tl_embedding", "paper", "femur", (12000, 8, 2e-3)),
    ],
)
def test_values_of_the_benchmark(name, recipe, anatomy, wanted):
    got = MODELS.get(name).value.named_recipe(recipe).for_anatomy(anatomy)
    assert (got.steps, got.batch_size, got.learning_rate) == wanted
    assert (got.optimiser, got.schedule, got.weight_decay, got.warmup_fraction) == ("adam", "constant", 0.0, 0.0)
    assert got.precision == ("16-mixed" if recipe == "code" else "32-true")
    assert (got.ema, got.mirror, got.cameras.jittered, got.stored_pairs) == (0.0, 0.0, 0.0, StoredPairs())


def test_the_later_comparison_swaps_its_rates_between_paper_and_scripts():
    for name, rate in (("unet", 2e-4), ("swin_unetr", 2e-3), ("unetr", 2e-3), ("concat_1d", 2e-4)):
        recipes = MODELS.get(name).value.recipes
        assert recipes["swin_x2s_paper"].recipe.learning_rate == rate
        assert recipes["swin_x2s_code"].recipe.learning_rate == pytest.approx(4e-7 / rate)
        assert recipes["swin_x2s_paper"].recipe.epochs == 50


def test_epochs_become_steps():
    assert Recipe(epochs=50, batch_size=8).steps_for(100) == 50 * 13
    assert Recipe(steps=70).steps_for(100) == 70
    assert Recipe(epochs=2, batch_size=1, stored_pairs=StoredPairs(copies=5)).steps_for(10) == 100


def test_an_unknown_recipe_names_the_near_ones():
    with pytest.raises(ConfigError, match="did you mean paper"):
        MODELS.get("unet").value.named_recipe("papre")
    with pytest.raises(ConfigError, match="only its own"):
        MODELS.get("raylift_s").value.named_recipe("paper")
