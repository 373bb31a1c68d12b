"""Models that predict intensities, on the same isolated phantom vertebrae with the same number of steps.

`learning_study` compares models, `angle_study` one model whose views are 60 to 140 degrees apart, trained
anew for each angle as EAR did. `python -m boneray.benchmark.intensity_study FILE` prints either's table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from boneray.core.config import Settings, load_settings
from boneray.core.errors import ConfigError
from boneray.core.seeds import derived_seed, generator
from boneray.core.volume import Volume
from boneray.datasets.intensities import isolated_bone
from boneray.datasets.views import standard_cameras
from boneray.evaluation.intensities import score_intensities
from boneray.evaluation.statistics import bootstrap_interval
from boneray.losses.registry import training_loss
from boneray.models.checkpoint import TARGET, CheckpointCard, build_network
from boneray.models.published_recipes import AS_STORED
from boneray.models.registry import MODELS, Recipe
from boneray.phantom.patient import make_patient
from boneray.projection.render import render
from boneray.training.module import warm_cosine
from boneray.training.samples import Samples, TrainingCase, class_map, collate, learn_scale, one_reference

Say = Callable[[str], None]
COLUMNS = ("mae", "mse", "psnr_db", "ssim", "fd_raw", "dice", "assd_mm_penalised")
WORDS = {
    "mae": "MAE (HU)",
    "mse": "MSE (HU²)",
    "psnr_db": "PSNR (dB)",
    "ssim": "SSIM",
    "fd_raw": "FD (log10 HU)",
    "dice": "Dice",
    "assd_mm_penalised": "ASSD (mm)",
}


class IntensityStudy(Settings):
    """What is compared, and how it is trained.

    `kind`: models against each other, or angles between the views for the first model; `between_deg`:
    those angles, the lateral view stays; `narrow`: settings of small networks where a model has them;
    `settings`: of single networks; `loss`: by model, that of its recipe otherwise.
    """

    kind: Literal["learning", "angles"] = "learning"
    models: tuple[str, ...] = ("mean_volume", "e2e", "ear")
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    loss: dict[str, str] = Field(default_factory=dict)
    between_deg: tuple[float, ...] = (90.0,)
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    train: int = Field(48, ge=2)
    test: int = Field(16, ge=1)
    voxels: int = Field(32, ge=16)
    steps: int = Field(300, ge=1)
    batch_size: int = Field(4, ge=2)
    learning_rate: float = Field(1e-2, gt=0)
    data_range_hu: float = Field(4096.0, gt=0)
    narrow: bool = True


@dataclass(frozen=True)
class StudyRow:
    """Scores of one model at one angle: by metric, one value per seed and test case, (seeds, cases)."""

    model: str
    between_deg: float
    scores: dict[str, np.ndarray]


def learning_study(study: IntensityStudy, *, say: Say = lambda _: None) -> list[StudyRow]:
    """Every model of the study at the first angle, on unseen vertebrae."""
    return _rows(study, study.models, study.between_deg[:1], say)


def angle_study(study: IntensityStudy, *, say: Say = lambda _: None) -> list[StudyRow]:
    """The first model of the study, trained anew at every angle between its views."""
    return _rows(study, study.models[:1], study.between_deg, say)


def isolated_vertebra(number: int, *, seed: int, voxels: int, between_deg: float) -> TrainingCase:
    """A phantom vertebra alone in air, seen from the side and from `between_deg` before it."""
    case = make_patient("vertebra", seed=seed, number=number, voxels=voxels)
    assert case.labels is not None
    classes, grid = class_map(case, (TARGET,)), case.labels.grid
    ct = Volume(np.round(isolated_bone(classes, grid, case.ct, case_id=case.case_id)).astype(np.int16), grid)
    cameras = standard_cameras(grid, (f"{90.0 - between_deg:g}", "lat"), pixels=voxels)
    return TrainingCase(case.case_id, grid, classes, ct, tuple(render(ct, camera) for camera in cameras.values()))


def table(study: IntensityStudy, rows: Sequence[StudyRow]) -> str:
    """The rows as a table: mean over seeds and cases, then differences of the models in pairs with intervals."""
    titles = ("model", "angle", *(WORDS[name] for name in COLUMNS))
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        cells = (f"{row.scores[name].mean():.4g}" for name in COLUMNS)
        lines.append(f"| {row.model} | {row.between_deg:g}° | {' | '.join(cells)} |")
    learnt = [row for row in rows if MODELS.get(row.model).value.learns_by_gradient]
    for n, first in enumerate(rows):
        for second in rows[n + 1 :]:
            if study.kind == "learning" and second in learnt:
                lines += ["", *difference_lines(first, second)]
    return "\n".join(lines)


def difference_lines(first: StudyRow, second: StudyRow) -> list[str]:
    """second - first per case (mean over seeds), with its 95 % bootstrap interval over cases."""
    out = []
    for name in COLUMNS:
        per_case = second.scores[name].mean(axis=0) - first.scores[name].mean(axis=0)
        found = bootstrap_interval(per_case, rng=generator(0, first.model, second.model, name))
        words = f"{found.value:+.4g} [{found.low:+.4g}, {found.high:+.4g}]"
        out.append(f"- {second.model} - {first.model}, {WORDS[name]}: {words}")
    return out


def taught(model: str, study: IntensityStudy, cases: list[TrainingCase], seed: int) -> nn.Module:
    """A network that saw `steps` batches of the cases (or was fitted to all of them), in evaluation mode."""
    spec = MODELS.get(model).value
    if spec.learns != "intensities":
        raise ConfigError(f"model {model} learns {spec.learns}; this study is for models that predict intensities")
    settings = (spec.narrow if study.narrow and spec.narrow is not None else spec.settings).model_dump()
    grid, pixels = cases[0].grid, cases[0].radiographs[0].camera.detector_shape
    settings |= study.settings.get(model, {})
    card = CheckpointCard(
        model, settings, "vertebra", (TARGET,), grid.shape, tuple(grid.size_mm), pixels, ("a", "b"), "CC0-1.0"
    )
    torch.manual_seed(derived_seed(seed, "weights"))
    network = build_network(card).train()
    learn_scale(network, "intensities", cases)
    if not spec.learns_by_gradient:
        network.fit(one_reference(case, "intensities") for case in cases)  # type: ignore[operator]
        return network.eval()
    loss = study.loss.get(model, spec.recipe.loss)
    recipe = Recipe(
        **AS_STORED, steps=study.steps, batch_size=study.batch_size, learning_rate=study.learning_rate, loss=loss,
        optimiser="adam", weight_decay=1e-5, warmup_fraction=0.1,
    )  # fmt: skip
    samples = Samples(
        cases, count=recipe.steps * recipe.batch_size, image_shape=pixels, class_names=(TARGET,), recipe=recipe,
        seed=seed, augment=True, learns="intensities",
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warm_cosine(step, recipe))
    for step in range(recipe.steps):
        batch = collate([samples[step * recipe.batch_size + n] for n in range(recipe.batch_size)])
        optimiser.zero_grad()
        training_loss(loss, network(batch), batch.reference("intensities"), learns="intensities").backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def _rows(study: IntensityStudy, models: Sequence[str], angles: Sequence[float], say: Say) -> list[StudyRow]:
    rows = []
    for angle in angles:
        data = {
            seed: [isolated_vertebra(n, seed=seed, voxels=study.voxels, between_deg=angle) for n in range(study.train)]
            for seed in study.seeds
        }
        test = [
            isolated_vertebra(n, seed=derived_seed(0, "test"), voxels=study.voxels, between_deg=angle)
            for n in range(study.test)
        ]
        for model in models:
            per_seed = []
            for seed in study.seeds:
                per_seed.append(_scores(taught(model, study, data[seed], seed), study, test))
                say(f"{model}, {angle:g} degrees, seed {seed}: MAE {per_seed[-1]['mae'].mean():.1f} HU")
            scores = {name: np.stack([found[name] for found in per_seed]) for name in COLUMNS}
            rows.append(StudyRow(model, angle, scores))
    return rows


def _scores(network: nn.Module, study: IntensityStudy, cases: list[TrainingCase]) -> dict[str, np.ndarray]:
    pixels = cases[0].radiographs[0].camera.detector_shape
    samples = Samples(
        cases, count=len(cases), image_shape=pixels, class_names=(TARGET,), recipe=Recipe(), seed=0, augment=False
    )
    found = []
    for case, sample in zip(cases, (samples[n] for n in range(len(cases))), strict=True):
        assert case.ct is not None
        with torch.inference_mode():
            prediction = network(collate([sample]))
        reference = Volume(np.asarray(case.ct.data, np.float32), case.grid)
        scored = score_intensities(
            case.case_id,
            reference,
            prediction.to_volumes(case.grid)[0],
            threshold_hu=prediction.threshold_hu,
            data_range_hu=study.data_range_hu,
        )
        found.append(scored.values | scored.shape)
    return {name: np.array([f[name] for f in found]) for name in COLUMNS}


def _on_stderr(words: str) -> None:
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    chosen = load_settings(IntensityStudy, file=Path(sys.argv[1]), overrides=tuple(sys.argv[2:]))
    run = angle_study if chosen.kind == "angles" else learning_study
    sys.stdout.write(table(chosen, run(chosen, say=_on_stderr)) + "\n")
