"""A study at toy size: the same grid of cells on a few small phantoms, to see whether it runs from end to end."""

from __future__ import annotations

from typing import Any

from boneray.benchmark.study import DataSet, Phantoms, Study, anatomy_of, spec_of
from boneray.phantom.registry import PHANTOMS

CASES, VALIDATION, TEST = 5, 1, 2
LEAST_VOXELS = 32
STAND_IN = "ribs"  # for an anatomy without a phantom
FILES = ("pretrained",)  # settings that name weights
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
        narrow = spec_of(model).narrow
        kept = narrow.model_dump() if narrow is not None else study.settings.get(model, {})
        settings[model] = {name: value for name, value in kept.items() if name not in FILES}
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
            "data": [_small(data, edge, seed) for seed, data in enumerate(study.data)],
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


def _small(data: DataSet, edge: int, seed: int) -> dict[str, Any]:
    anatomy = anatomy_of(data)
    if anatomy not in [entry.name for entry in PHANTOMS]:
        anatomy = STAND_IN
    phantom = Phantoms(anatomy=anatomy, cases=CASES, seed=seed, voxels=edge, pixels=edge, views=data.views)
    return {
        "name": data.name,
        "phantom": phantom.model_dump(),
        "validation": VALIDATION,
        "test": TEST,
        "printed_as": data.printed_as,
        "printed_condition": data.printed_condition,
        "only_tested": data.only_tested,
    }
