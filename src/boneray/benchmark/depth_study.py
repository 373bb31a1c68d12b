"""3DDX's Table 1 on phantoms: loss, faces and resolution of depth networks, scored as point clouds by bone.

Bones of unseen phantom patients, true masks, clouds aligned in their mean depth before they are measured, as the paper
does. `python -m boneray.benchmark.depth_study FILE` prints the table with the printed row beside each of ours. The
paper's networks saw real radiographs of 580 patients, are larger and trained far longer: the order of the rows can be
compared, the millimetres cannot. EMD is over so many points as are said, drawn without replacement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.benchmark.published import published
from boneray.core.bones import bone
from boneray.core.camera import Camera, orbit_camera
from boneray.core.config import Settings, load_settings
from boneray.core.seeds import derived_seed, generator
from boneray.losses.registry import training_loss
from boneray.metrics.points import aligned_in_depth, chamfer_l2_sum_mm2, earth_mover_mm, point_assd_mm, point_hd95_mm
from boneray.models.batch import Batch
from boneray.models.registry import MODELS, Task
from boneray.phantom.patient import make_patient
from boneray.projection.depth import DepthMaps, depth_maps
from boneray.projection.render import render
from boneray.training.samples import collate, to_sample

Say = Callable[[str], None]
COLUMNS = ("assd_mm", "hd95_mm", "emd_mm", "chamfer_l2_mm2")
MODEL = "depth_3ddx"
FIELD = 1.8  # detector edge over the grid's, which the magnified bone needs


class DepthLine(Settings):
    """One row of the table: what is trained, and the condition of the paper's row."""

    name: str
    loss: str = "casi_indep"
    faces: Literal["both", "front"] = "both"
    pixels: int = Field(64, ge=32)
    printed_as: str = ""


class DepthStudy(Settings):
    """`lines` x `anatomies` x `seeds`, on phantoms; networks are the narrow ones unless `narrow` is false."""

    kind: Literal["depth"] = "depth"
    anatomies: tuple[str, ...] = ("femur", "pelvis")
    lines: tuple[DepthLine, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((1,), min_length=1)
    train: int = Field(48, ge=1)
    test: int = Field(12, ge=1)
    voxels: int = Field(64, ge=16)
    steps: int = Field(120, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    emd_points: int = Field(256, ge=2)
    narrow: bool = True


@dataclass(frozen=True)
class DepthScore:
    """One bone of one unseen patient by one network."""

    anatomy: str
    line: str
    seed: int
    case_id: str
    bone: str
    values: dict[str, float]


@dataclass(frozen=True)
class _Pictures:
    """AP radiographs of one anatomy with the true depths, and what each is scored against."""

    batch: Batch
    maps: list[DepthMaps]
    cameras: list[Camera]
    case_ids: list[str]
    class_count: int


def depth_study(study: DepthStudy, *, say: Say = lambda _: None) -> list[DepthScore]:
    """Train every line from every seed and score all bones of the unseen patients."""
    out: list[DepthScore] = []
    for anatomy in study.anatomies:
        for line in study.lines:
            known = _pictures(anatomy, study, line.pixels, range(study.train))
            unseen = _pictures(anatomy, study, line.pixels, range(study.train, study.train + study.test))
            for seed in study.seeds:
                network = _trained(study, line, known, seed)
                out += _scores(study, anatomy, line, network, unseen, seed)
            mine = [s.values["assd_mm"] for s in out if (s.anatomy, s.line) == (anatomy, line.name)]
            say(f"{anatomy}, {line.name}: ASSD {fmean(mine):.2f} mm over {len(mine)} bones")
    return out


def table(study: DepthStudy, scores: Sequence[DepthScore]) -> str:
    """Mean over bones and seeds, and the ASSD that the paper prints for the same row."""
    titles = ("anatomy", "line", "ASSD (mm)", "HD95 (mm)", "EMD (mm)", "Chamfer L2 (mm²)", "bones", "printed ASSD")
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for anatomy in study.anatomies:
        for line in study.lines:
            mine = [s for s in scores if (s.anatomy, s.line) == (anatomy, line.name)]
            means = (f"{fmean(s.values[name] for s in mine):.2f}" for name in COLUMNS)
            rows = [r for r in published("3ddx") if (r.data, r.condition) == (anatomy, line.printed_as)]
            printed = f"{rows[0].values['assd_mm']}" if rows else "–"
            lines.append(f"| {anatomy} | {line.name} | {' | '.join(means)} | {len(mine)} | {printed} |")
    return "\n".join(lines) + "\n"


def cloud_errors(reference_mm: np.ndarray, found_mm: np.ndarray, points: int, name: str) -> dict[str, float]:
    """The four errors of two clouds that are aligned already."""
    count = min(points, len(reference_mm), len(found_mm))
    drawn = [
        cloud[generator(0, "emd", name, side).permutation(len(cloud))[:count]]
        for side, cloud in (("reference", reference_mm), ("found", found_mm))
    ]
    return {
        "assd_mm": point_assd_mm(reference_mm, found_mm),
        "hd95_mm": point_hd95_mm(reference_mm, found_mm),
        "emd_mm": earth_mover_mm(*drawn),
        "chamfer_l2_mm2": chamfer_l2_sum_mm2(reference_mm, found_mm),
    }


def _pictures(anatomy: str, study: DepthStudy, pixels: int, numbers: range) -> _Pictures:
    kind = find_anatomy(anatomy)
    samples, maps, cameras, names = [], [], [], []
    for number in numbers:
        case = make_patient(anatomy, seed=0, number=number, voxels=study.voxels)
        assert case.labels is not None and case.ct is not None
        grid = case.labels.grid
        camera = orbit_camera(
            0.0, centre_mm=grid.centre_mm, detector_shape=(pixels,) * 2, detector_mm=(FIELD * grid.size_mm[0],) * 2
        )
        bones = (case.target,) if kind.one_bone else kind.bones
        samples.append(to_sample(None, grid, [render(case.ct, camera)]))
        maps.append(depth_maps(case.labels, camera, [bone(name).bone_id for name in bones]))
        cameras.append(camera)
        names.append(case.case_id)
    depths = torch.from_numpy(np.stack([np.concatenate([m.front_mm, m.back_mm]) for m in maps]))
    made = collate(samples)
    batch = Batch(made.images, made.projections, made.depths, depth_maps=depths)
    return _Pictures(batch, maps, cameras, names, len(maps[0].bone_ids))


def _trained(study: DepthStudy, line: DepthLine, known: _Pictures, seed: int) -> nn.Module:
    torch.manual_seed(derived_seed(seed, "weights"))
    spec = MODELS.get(MODEL).value
    size = spec.narrow if study.narrow and spec.narrow is not None else spec.settings
    settings = size.model_copy(update={"faces": line.faces})
    task = Task((study.voxels,) * 3, (line.pixels,) * 2, known.class_count, 1)
    network: nn.Module = spec.build(settings, task).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=study.learning_rate, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, study.learning_rate, total_steps=study.steps + 1)
    rng = generator(seed, "order")
    for _ in range(study.steps):
        chosen = torch.from_numpy(rng.permutation(study.train)[: study.batch_size])
        some = Batch(**{name: value[chosen] for name, value in vars(known.batch).items() if value is not None})
        optimiser.zero_grad()
        training_loss(line.loss, network(some), some.reference("depth_maps"), learns="depth_maps").backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
    return network.eval()


def _scores(
    study: DepthStudy, anatomy: str, line: DepthLine, network: nn.Module, unseen: _Pictures, seed: int
) -> list[DepthScore]:
    with torch.inference_mode():
        found = network(unseen.batch).maps_mm.numpy()
    out = []
    for maps, true, camera, case_id in zip(found, unseen.maps, unseen.cameras, unseen.case_ids, strict=True):
        shown = np.where(np.concatenate([true.valid] * (len(maps) // len(true.bone_ids))), maps, np.nan)
        count = len(true.bone_ids)
        whole = DepthMaps(true.bone_ids, shown[:count].astype(np.float32), shown[-count:].astype(np.float32))
        clouds = whole.points(camera, faces="both" if line.faces == "both" else "front")
        for place, reference in enumerate(true.points(camera)):
            if not len(reference):
                continue  # the bone is not in the picture
            cloud = clouds[place]
            partner = reference if line.faces == "both" else reference[: len(cloud)]
            aligned = aligned_in_depth(partner, cloud, camera.central_ray)
            name = str(true.bone_ids[place])
            values = cloud_errors(reference, aligned, study.emd_points, f"{case_id} {name}")
            out.append(DepthScore(anatomy, line.name, seed, case_id, name, values))
    return out


def main(file: Path) -> None:
    """Print the table of a study."""
    torch.set_num_threads(1)
    study = load_settings(DepthStudy, file=file)
    sys.stdout.write(table(study, depth_study(study, say=_say)))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
