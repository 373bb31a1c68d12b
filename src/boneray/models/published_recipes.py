"""The training that two comparisons gave to every method, and where paper and released scripts disagree.

paper           XrayTo3D benchmark, arXiv 2309.13587: section on hyper-parameters
code            the scripts released with it
swin_x2s_paper  the comparison in the Swin-X2S paper, its appendix A
swin_x2s_code   the scripts released with it; they swap the two learning rates of the paper
"""

from __future__ import annotations

from typing import Any

from boneray.models.registry import CameraMixture, NamedRecipe, Recipe

AS_STORED: dict[str, Any] = {
    "ema": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
    "mirror": 0.0,
    "cameras": CameraMixture(jittered=0.0, turned=0.0),
}
"""No augmentation and no averaged weights: pictures as they are stored."""

ITERATIONS = {"ribs": 4000, "vertebra": 15000, "pelvis": 3000, "femur": 4000}
SCRIPT_ITERATIONS = {"ribs": 3000, "vertebra": 15000, "pelvis": 3000, "femur": 4000}
PAPER_START = {"start_bias": 0.0}


def comparisons(
    *,
    rate: float,
    batch_size: int,
    vertebra_batch: int = 8,
    script_iterations: dict[str, int] = SCRIPT_ITERATIONS,
    script: dict[str, dict[str, Any]] | None = None,
    script_rate: float | None = None,
    paper_stages: tuple[str, ...] = (),
    script_stages: tuple[str, ...] = (),
    steps_per_stage: int | None = None,
    has_dropout: bool = True,
) -> dict[str, NamedRecipe]:
    """The four published recipes of a method of the benchmark.

    Args:
        rate: learning rate of the benchmark paper; batch_size: of that paper.
        vertebra_batch: of the scripts for vertebrae.
        script_iterations: of the scripts, by anatomy.
        script: further values of the scripts by anatomy; script_rate: their rate if it is another one.
        paper_stages, script_stages: of a method that learns in several, each of which takes the
            iterations in full; steps_per_stage: of the scripts.
        has_dropout: whether the network has a setting `dropout`.
    """
    adam = {**AS_STORED, "optimiser": "adam", "weight_decay": 0.0, "schedule": "constant", "warmup_fraction": 0.0}
    count, script_count = max(1, len(paper_stages)), max(1, len(script_stages))
    plain = Recipe(**adam, batch_size=batch_size, learning_rate=rate, loss="dice_published")
    paper = NamedRecipe(
        plain.model_copy(update={"steps": ITERATIONS["femur"] * count, "stages": paper_stages}),
        "XrayTo3D paper; it names no loss (that of its scripts is used) and the same iterations for every method",
        dict(PAPER_START),
        {name: {"steps": steps * count} for name, steps in ITERATIONS.items()},
    )
    changes: dict[str, dict[str, Any]] = {name: {"steps": steps} for name, steps in script_iterations.items()}
    changes["vertebra"] |= {"learning_rate": 2e-4, "batch_size": vertebra_batch}
    if steps_per_stage is not None:
        changes = {name: {**values, "steps": steps_per_stage * script_count} for name, values in changes.items()}
    for name, values in (script or {}).items():
        changes[name] |= values
    code = NamedRecipe(
        plain.model_copy(
            update={
                "learning_rate": script_rate or rate,
                "precision": "16-mixed",
                "steps": changes["femur"]["steps"],
                "stages": script_stages,
            }
        ),
        "XrayTo3D scripts: 16-bit on their first GPU, other rates and batches for some anatomies, dropout 0.1",
        {**PAPER_START, **({"dropout": 0.1} if has_dropout else {})},
        changes,
    )
    swapped = {2e-3: 2e-4, 2e-4: 2e-3}
    undropped = {**PAPER_START, **({"dropout": 0.0} if has_dropout else {})}
    later = {
        **AS_STORED,
        "epochs": 50,
        "batch_size": batch_size,
        "weight_decay": 0.0,
        "warmup_fraction": 0.1,
        "loss": "dice_ce_published",
    }
    return {
        "paper": paper,
        "code": code,
        "swin_x2s_paper": NamedRecipe(
            Recipe(**later, learning_rate=swapped[rate]), "Swin-X2S paper, appendix A", undropped
        ),
        "swin_x2s_code": NamedRecipe(
            Recipe(**later, learning_rate=rate),
            "Swin-X2S scripts: the rates of its paper the other way round",
            undropped,
        ),
    }
