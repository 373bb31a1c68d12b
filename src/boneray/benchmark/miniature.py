"""A study at toy size: the same grid of cells on a few small phantoms, to see whether it runs from end to end."""

from __future__ import annotations

from typing import Any

from boneray.benchmark.study import DataSet, Phantoms, Study, anatomy_of, spec_of
from boneray.models.registry import ModelSpec
from boneray.phantom.registry import PHANTOMS

CASES, VALIDATION = 5, 1
TEST, TEST_OFTEN = 2, 1  # patients; the second where each is shown under several conditions
LEAST_VOXELS = 32
STAND_IN = "pelvis"  # for an anatomy without a phantom: several bones, and few enough to be quick
CHANNELS = ("channels", "encoder", "lifted", "decoder", "head", "latent", "base", "stem", "joined", "growth")
FEWER, FEWEST = 4, 4  # a quarter of the channels, but not below this
FILES = ("pretrained",)  # settings that name weights
START_BIAS = -1.0  # where scores begin: untrained networks find some bone, so that there is something to measure
NOTE = "A miniature: toy phantoms, one step of training, networks with few channels. Its numbers mean nothing."


def miniature_of(study: Study) -> Study:
    """The study with a phantom in place of every data set, one step of training, and narrow networks.

    Models, variants, conditions, groups and transfers to other data stay; of the seeds the first
    stays; folds and given checkpoints, which belong to real data, are left out.
    """
    models = tuple(study.names())
    edge = max(LEAST_VOXELS, *(spec_of(model).smallest for model in models))
    settings: dict[str, dict[str, Any]] = {}
    for model in models:
        kept = narrow_settings(spec_of(model), study.settings.get(model, {}))
        settings[model] = {name: value for name, value in kept.items() if name not in FILES}
        if "start_bias" in settings[model]:
            settings[model]["start_bias"] = START_BIAS
    test = TEST_OFTEN if len(study.conditions) > 1 else TEST
    values = study.model_dump()
    recipe = {**study.recipe, "validations": 1}
    for variant in values["variants"]:
        for name in ("steps", "epochs", "batch_size", "validations"):
            variant["recipe"].pop(name, None)
        for name in FILES:
            variant["settings"].pop(name, None)
    return Study.model_validate(
        {
            **values,
            "data": [_small(data, edge, seed, test) for seed, data in enumerate(study.data)],
            "models": models,
            "seeds": study.seeds[:1],
            "folds": (),
            "checkpoints": {},
            "settings": settings,
            "recipe": recipe,
            "cases_seen": 2,
            "batch_size": 2,
            "most_step_s": None,
            "note": f"{NOTE} {study.note}".strip(),
        }
    )


def narrow_settings(spec: ModelSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """Settings of a network of the same structure with few channels.

    The model's own narrow ones where it has them; else a quarter of the channels of its settings
    with `changes`, of those that are plain numbers under a name of CHANNELS.
    """
    if spec.narrow is not None:
        return spec.narrow.model_dump()
    settings = {**spec.settings.model_dump(), **changes}
    return {**settings, **{name: _fewer(settings[name]) for name in CHANNELS if name in settings}}


def _fewer(channels: Any) -> Any:
    if isinstance(channels, int):
        return max(FEWEST, channels // FEWER)
    return tuple(_fewer(number) for number in channels)


def _small(data: DataSet, edge: int, seed: int, test: int) -> dict[str, Any]:
    anatomy = anatomy_of(data)
    if anatomy not in [entry.name for entry in PHANTOMS]:
        anatomy = STAND_IN
    phantom = Phantoms(anatomy=anatomy, cases=CASES, seed=seed, voxels=edge, pixels=edge, views=data.views)
    return {
        "name": data.name,
        "phantom": phantom.model_dump(),
        "validation": VALIDATION,
        "test": test,
        "printed_as": data.printed_as,
        "printed_condition": data.printed_condition,
        "only_tested": data.only_tested,
    }
