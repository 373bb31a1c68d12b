"""Depth networks on phantoms: two faces against one, and CASI against SI, on unseen femora."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from boneray.core.bones import BONES
from boneray.core.camera import Camera, orbit_camera
from boneray.core.seeds import derived_seed, generator
from boneray.losses.registry import training_loss
from boneray.metrics.points import aligned_in_depth, point_assd_mm
from boneray.models.batch import Batch
from boneray.models.depth_3ddx import Depth3DDX, Depth3DDXSettings
from boneray.models.depth_prediction import DepthPrediction
from boneray.models.nfnet import NFNetSettings
from boneray.models.registry import Task
from boneray.phantom.patient import make_patient
from boneray.projection.depth import DepthMaps, depth_maps
from boneray.projection.render import render
from boneray.training.samples import collate, to_sample

PIXELS, VOXELS, FEMORA, UNSEEN = 64, 64, 96, 24
STEPS, BATCH, RATE = 120, 8, 5e-3
SIZE = Depth3DDXSettings(
    encoder=NFNetSettings(stem=16, widths=(24, 32, 48, 64), depths=(1, 1, 1, 1), group=8),
    fused=48,
    decoder=(32, 24, 12),
    groups=8,
)


@dataclass(frozen=True)
class Femora:
    """Pictures and true depths of phantom femora, one batch, and what each is scored against."""

    batch: Batch
    maps: list[DepthMaps]
    camera: Camera

    def part(self, first: int, end: int) -> Femora:
        """Some of them."""
        values = {k: v[first:end] for k, v in vars(self.batch).items() if v is not None}
        return Femora(Batch(**values), self.maps[first:end], self.camera)


def phantom_femora(count: int, *, seed: int = 0) -> Femora:
    """AP radiographs of so many phantom femora with their front and back depth."""
    samples, maps = [], []
    for number in range(count):
        case = make_patient("femur", seed=seed, number=number, voxels=VOXELS)
        assert case.labels is not None and case.ct is not None
        grid = case.labels.grid
        camera = orbit_camera(
            0.0, centre_mm=grid.centre_mm, detector_shape=(PIXELS, PIXELS), detector_mm=(1.8 * grid.size_mm[0],) * 2
        )
        bone = BONES[case.target].bone_id
        samples.append(to_sample(None, grid, [render(case.ct, camera)]))
        maps.append(depth_maps(case.labels, camera, (bone,)))
    batch = collate(samples)
    depths = torch.from_numpy(np.stack([np.concatenate([m.front_mm, m.back_mm]) for m in maps]))
    return Femora(Batch(batch.images, batch.projections, batch.depths, depth_maps=depths), maps, camera)


def trained(femora: Femora, loss: str, faces: str, *, seed: int, steps: int = STEPS) -> nn.Module:
    """A small depth_3ddx after so many steps."""
    torch.manual_seed(derived_seed(seed, "weights"))
    settings = SIZE.model_copy(update={"faces": faces})
    network = Depth3DDX(settings, Task((VOXELS,) * 3, (PIXELS, PIXELS), 1, 1)).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    rng = generator(seed, "order")
    count = len(femora.maps)
    for _ in range(steps):
        chosen = torch.from_numpy(rng.choice(count, BATCH, replace=False))
        values = {k: v[chosen] for k, v in vars(femora.batch).items() if v is not None}
        some = Batch(**values)
        optimiser.zero_grad()
        cost = training_loss(loss, network(some), some.reference("depth_maps"), learns="depth_maps")
        cost.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
    return network.eval()


class _Constant(nn.Module):
    """The same depth at every pixel of a face: what a network must beat."""

    def __init__(self, depths_mm: torch.Tensor) -> None:
        super().__init__()
        self.depths_mm = depths_mm

    def forward(self, batch: Batch) -> DepthPrediction:
        shape = (len(batch.images), len(self.depths_mm), *batch.images.shape[-2:])
        return DepthPrediction(self.depths_mm[None, :, None, None].expand(shape), 1, batch.projections[:, 0])


def errors(network: nn.Module, unseen: Femora) -> tuple[np.ndarray, np.ndarray]:
    """(ASSD mm of the cloud, RMSE mm of the maps) of each femur, after alignment of the depth centre, true masks."""
    with torch.inference_mode():
        prediction = network(unseen.batch)
        rmse = -prediction.score(unseen.batch.depth_maps[:, : prediction.maps_mm.shape[1]])
    assd = []
    for found, true in zip(prediction.maps_mm.numpy(), unseen.maps, strict=True):
        camera = unseen.camera
        reference = true.points(camera)[0]
        seen = true.valid[0]
        shown = np.where(seen, found, np.nan).astype(np.float32)
        whole = DepthMaps(true.bone_ids, shown[:1], shown[-1:])
        cloud = whole.points(camera, faces="both" if len(found) == 2 else "front")[0]
        partner = reference if len(found) == 2 else reference[: len(cloud)]
        shift = aligned_in_depth(partner, cloud, camera.central_ray)
        assd.append(point_assd_mm(reference, shift))
    return np.array(assd), rmse.numpy()


def depth(seeds: tuple[int, ...] = (0, 1, 2), *, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Train and print: (seeds, femora) ASSD by method."""
    start = time.process_time()
    everything = phantom_femora(FEMORA + UNSEEN)
    known, unseen = everything.part(0, FEMORA), everything.part(FEMORA, FEMORA + UNSEEN)
    mean = torch.nanmean(known.batch.depth_maps)
    spread = torch.sqrt(torch.nanmean((unseen.batch.depth_maps - mean).square()))
    print(
        f"{FEMORA} femora to learn, {UNSEEN} unseen, {PIXELS} px, {steps} steps; "
        f"one depth for all pixels errs by {spread:.1f} mm"
    )
    out: dict[str, np.ndarray] = {}
    constant = errors(_Constant(torch.nanmean(known.batch.depth_maps, dim=(0, 2, 3))), unseen)
    print(f"one depth per face: ASSD {constant[0].mean():.2f} mm, depth RMSE {constant[1].mean():.2f} mm", flush=True)
    out["constant"] = constant[0]
    for name, loss, faces in (
        ("SI single-face", "si_indep", "front"),
        ("SI dual-face", "si_indep", "both"),
        ("CASI dual-face", "casi_indep", "both"),
    ):
        rows = [errors(trained(known, loss, faces, seed=seed, steps=steps), unseen) for seed in seeds]
        out[name] = np.stack([assd for assd, _ in rows])
        out[f"{name} RMSE"] = np.stack([rmse for _, rmse in rows])
        per_seed = ", ".join(f"{v:.2f}" for v in out[name].mean(1))
        print(
            f"{name:16} ASSD {out[name].mean():.2f} mm ({per_seed}), depth RMSE {out[f'{name} RMSE'].mean():.2f} mm, "
            f"{time.process_time() - start:.0f} CPU s",
            flush=True,
        )
    ratio = out["SI single-face"].mean(1) / out["SI dual-face"].mean(1)
    print("single-face / dual-face, by seed: " + ", ".join(f"{v:.2f}" for v in ratio))
    low, middle, high = interval(out["CASI dual-face"].mean(0) - out["SI dual-face"].mean(0))
    print(f"CASI - SI: {middle:+.3f} mm ASSD, 95 % interval {low:+.3f} to {high:+.3f} over {UNSEEN} femora")
    return out


def interval(differences: np.ndarray, *, draws: int = 4000) -> tuple[float, float, float]:
    """(low, mean, high) of the mean by bootstrap over cases, 95 %."""
    rng = generator(0, "bootstrap")
    means = differences[rng.integers(len(differences), size=(draws, len(differences)))].mean(1)
    return float(np.percentile(means, 2.5)), float(differences.mean()), float(np.percentile(means, 97.5))


if __name__ == "__main__":
    torch.set_num_threads(1)
    depth()
