"""A method that is no network: one case at a time, an occupancy grid whose projections become the radiographs.

It stands for neural fields, splats and other optimisers of single cases. All that it knows of boneray is the contract
of a submission: it reads the radiographs of each test case with their cameras and the grid to answer on, and writes one
NIfTI per case, which `boneray submit-check` takes. It is a toy, for a proof and not for a score: soft tissue is one
smooth layer per view, and nothing says what a bone looks like.

python -m boneray.benchmark.toy_optimiser BENCHMARK OUT
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from boneray.benchmark.submission import cases_of
from boneray.core.bones import bone
from boneray.core.camera import Camera
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.io.case_folder import read_case, read_description
from boneray.io.nifti import write_labels
from boneray.projection.differentiable import project
from boneray.projection.resize import resized

BONE_PER_MM = 0.03  # how much more a bone attenuates than soft tissue around it, 1/mm at about 60 keV


@dataclass(frozen=True)
class ToySettings:
    """`edge`: voxels of the optimised grid; `steps`, `rate` of Adam; `smooth`: weight of differences of neighbours."""

    edge: int = 24
    steps: int = 60
    rate: float = 0.2
    smooth: float = 0.02


def occupancy(radiographs: Sequence[Radiograph], grid: Grid, settings: ToySettings | None = None) -> Tensor:
    """(edge, edge, edge) probability of bone on a cube over `grid`, fitted to the radiographs of one case.

    The loss is the squared difference of projection and radiograph, after the best plane through
    that difference (soft tissue) is taken away, plus that of neighbouring voxels.
    """
    settings = settings or ToySettings()
    coarse = _coarse(grid, settings.edge)
    shown = [resized(r, (settings.edge * 2,) * 2) for r in radiographs]
    targets = [torch.from_numpy(r.line_integrals.astype(np.float32)) for r in shown]
    scores = torch.full(coarse.shape, -2.0, requires_grad=True)
    optimiser = torch.optim.Adam([scores], lr=settings.rate)
    for _ in range(settings.steps):
        optimiser.zero_grad()
        bone_share = scores.sigmoid()
        loss = settings.smooth * _roughness(bone_share)
        for radiograph, target in zip(shown, targets, strict=True):
            loss = loss + _without_plane(target - shadow(bone_share, coarse, radiograph.camera)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return scores.detach().sigmoid()


def shadow(bone_share: Tensor, grid: Grid, camera: Camera) -> Tensor:
    """(rows, columns) what the bone adds to the line integrals."""
    return project(bone_share * BONE_PER_MM, grid, camera)


def reconstruct_case(folder: Path, settings: ToySettings | None = None) -> LabelMap:
    """The label map of a one-bone case from its radiographs alone, on the grid of the case.

    Raises:
        ConfigError: the case shows several bones, which the toy cannot tell apart.
    """
    case = read_case(folder, with_ct=False)
    if not case.target:
        raise ConfigError(f"case {case.case_id} shows several bones; the toy optimiser knows one")
    grid = Grid.from_dict(read_description(folder)["grid"])
    share = occupancy(list(case.radiographs.values()), grid, settings)
    fine = functional.interpolate(share[None, None], size=grid.shape, mode="trilinear", align_corners=False)[0, 0]
    return LabelMap((fine > 0.5).numpy().astype(np.uint8) * np.uint8(bone(case.target).bone_id), grid)


def submit(benchmark: Path, out: Path, settings: ToySettings | None = None) -> int:
    """Write a submission for all test cases of a benchmark; gives their number."""
    cases = cases_of(benchmark)
    for folder in cases:
        write_labels(out / f"{folder.name}.nii.gz", reconstruct_case(folder, settings))
    return len(cases)


def _coarse(grid: Grid, edge: int) -> Grid:
    """A cube of so many voxels over the same box."""
    ratio = np.array(grid.shape) / edge
    spacing = np.array(grid.spacing_mm) * ratio
    first = grid.to_world(np.array([(ratio - 1) / 2]))[0]
    return Grid((edge,) * 3, tuple(spacing.tolist()), tuple(first.tolist()), grid.direction)


def _without_plane(difference: Tensor) -> Tensor:
    """What a plane fitted by least squares leaves."""
    rows, columns = (torch.linspace(-1, 1, n) for n in difference.shape)
    basis = torch.stack([torch.ones_like(difference), *torch.meshgrid(rows, columns, indexing="ij")])
    flat = basis.flatten(1)
    weights = torch.linalg.solve(flat @ flat.T, flat @ difference.flatten())
    return difference - (weights[:, None] * flat).sum(0).reshape(difference.shape)


def _roughness(values: Tensor) -> Tensor:
    """Mean squared difference of neighbours."""
    return torch.stack([values.diff(dim=axis).square().mean() for axis in range(3)]).sum()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(f"{submit(Path(sys.argv[1]), Path(sys.argv[2]))} cases\n")
