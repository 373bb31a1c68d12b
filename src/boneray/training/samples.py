"""Training samples: case folders in memory, pictures of exact, jittered or turned cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from boneray.core.bones import bone
from boneray.core.camera import Camera, jittered
from boneray.core.case import Case
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.datasets.augmentation import Change, changed_body, changed_pictures, drawn
from boneray.datasets.intensities import isolated_bone, mean_scale, z_scores
from boneray.io.case_folder import read_case
from boneray.models.batch import Batch, Kind, camera_matrices, standardised
from boneray.models.checkpoint import TARGET
from boneray.models.registry import Recipe
from boneray.projection.depth import depth_maps
from boneray.projection.in_plane import augmented
from boneray.projection.render import render
from boneray.projection.resize import resized
from boneray.training.stored_pairs import moved_alike


@dataclass(frozen=True)
class TrainingCase:
    """One case as training needs it: class map, CT to render from, stored radiographs."""

    case_id: str
    grid: Grid
    classes: NDArray[np.uint8]
    ct: Volume | None
    radiographs: tuple[Radiograph, ...]


def load_training_case(folder: Path, class_names: tuple[str, ...], views: tuple[str, ...]) -> TrainingCase:
    """Read a case folder; bones that are no class become background.

    Raises:
        DataError: no labels, a missing view, or a one-bone case without its target in the labels.
    """
    case = read_case(folder)
    if case.labels is None:
        raise DataError(f"case {folder} has no labels.nii.gz; training needs a reference")
    missing = [view for view in views if view not in case.radiographs]
    if missing:
        raise DataError(f"case {folder} lacks view {', '.join(missing)}; it has {', '.join(case.radiographs)}")
    ct = case.ct
    if ct is not None:
        ct = Volume(np.round(ct.data).astype(np.int16), ct.grid)
    return TrainingCase(
        case.case_id,
        case.labels.grid,
        class_map(case, class_names),
        ct,
        tuple(case.radiographs[view] for view in views),
    )


def class_map(case: Case, class_names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Class index of each voxel, (I, J, K); 0 is background."""
    assert case.labels is not None
    if class_names == (TARGET,):
        if not case.target:
            raise DataError(f'case {case.case_id} names no target bone; add "target" to its case.json')
        names: tuple[str, ...] = (case.target,)
    else:
        names = class_names
    table = np.zeros(65536, np.uint8)
    for index, name in enumerate(names, start=1):
        table[bone(name).bone_id] = index
    classes = table[case.labels.data]
    if class_names == (TARGET,) and not classes.any():
        raise DataError(f"case {case.case_id}: its target {case.target} does not occur in labels.nii.gz")
    return classes


def mirrored(case: TrainingCase, class_names: tuple[str, ...]) -> TrainingCase:
    """The patient's mirror image about the sagittal plane through the grid centre; sides swap names."""
    assert case.ct is not None
    centre_x = case.grid.centre_mm[0]
    ct_grid = case.ct.grid
    far = ct_grid.origin_mm[0] + ct_grid.spacing_mm[0] * (ct_grid.shape[0] - 1)
    grid = Grid(ct_grid.shape, ct_grid.spacing_mm, (2 * centre_x - far, *ct_grid.origin_mm[1:]), ct_grid.direction)
    swap = np.arange(len(class_names) + 1, dtype=np.uint8)
    for index, name in enumerate(class_names, start=1):
        other = _other_side(name)
        if other in class_names:
            swap[index] = class_names.index(other) + 1
    return TrainingCase(
        case.case_id,
        case.grid,
        np.ascontiguousarray(swap[case.classes[::-1]]),
        Volume(np.ascontiguousarray(case.ct.data[::-1]), grid),
        case.radiographs,
    )


def _other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(part, part) for part in name.split("_"))


class Samples(Dataset[Batch]):
    """Sample n of a run, the same for the same seed, in any process and after a resume.

    Sample n belongs to case `order[n // cases][n % cases]`; its cameras and noise come from the
    run seed and n alone.
    """

    def __init__(
        self,
        cases: Sequence[TrainingCase],
        *,
        count: int,
        image_shape: tuple[int, int],
        class_names: tuple[str, ...],
        recipe: Recipe,
        seed: int,
        augment: bool,
        learns: Kind = "labels",
    ) -> None:
        self.cases = cases
        self.count = count
        self.image_shape = image_shape
        self.class_names = class_names
        self.recipe = recipe
        self.seed = seed
        self.augment = augment
        self.learns: Kind = learns
        mix = recipe.cameras
        self.as_stored = recipe.body is None and recipe.mirror == mix.jittered == mix.turned == 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, n: int) -> Batch:
        if not self.augment:
            case = self.cases[n]
            return self._sample(case, [resized(r, self.image_shape) for r in case.radiographs])
        rounds, position = divmod(n, len(self.cases))
        case = self.cases[generator(self.seed, "order", rounds).permutation(len(self.cases))[position]]
        rng = generator(self.seed, "sample", n)
        if case.ct is not None and rng.random() < self.recipe.mirror:
            case = mirrored(case, self.class_names)
        change = None
        if case.ct is not None and self.recipe.body is not None:
            change = drawn(self.recipe.body, case.grid, seed=self.seed, case_id=case.case_id, number=n)
            classes, ct = changed_body(case.classes, case.grid, case.ct, change)
            case = replace(case, classes=classes, ct=ct)
        radiographs = self._radiographs(case, rng, change)
        classes, radiographs = moved_alike(
            case.classes, case.grid, radiographs, self.recipe.stored_pairs,
            seed=self.seed, case_id=case.case_id, number=n,
        )  # fmt: skip
        case = replace(case, classes=classes)
        pictures = [self._degraded(augmented(r, self.recipe.randaugment, rng), rng) for r in radiographs]
        return self._sample(case, pictures)

    def _sample(self, case: TrainingCase, pictures: list[Radiograph]) -> Batch:
        found = references(case, self.learns, camera=pictures[0].camera, bones=len(self.class_names))
        return replace(to_sample(case.classes, case.grid, pictures), **found)

    def _radiographs(
        self, case: TrainingCase, rng: np.random.Generator, change: Change | None = None
    ) -> list[Radiograph]:
        """Stored views without a CT or where nothing moves; otherwise fresh ones from jittered or turned cameras."""
        if case.ct is None or self.as_stored:
            return [resized(r, self.image_shape) for r in case.radiographs]
        cameras = [r.camera.resized(self.image_shape) for r in case.radiographs]
        cameras = self._moved(cameras, case.grid, rng)
        if change is not None:
            return changed_pictures(case.ct, {str(view): camera for view, camera in enumerate(cameras)}, change)
        return [render(case.ct, camera) for camera in cameras]

    def _moved(self, cameras: list[Camera], grid: Grid, rng: np.random.Generator) -> list[Camera]:
        mix = self.recipe.cameras
        draw = rng.random()
        if draw < mix.jittered + mix.turned:
            turn = rng.uniform(-mix.turn_deg, mix.turn_deg) if draw >= mix.jittered else 0.0
            if turn:
                cameras = [*cameras[:-1], turned(cameras[-1], turn, grid.centre_mm)]
            else:
                cameras = [
                    jittered(c, rng, centre_mm=grid.centre_mm, rotation_deg=mix.rotation_deg, shift_mm=mix.shift_mm)
                    for c in cameras
                ]
        return cameras

    def _degraded(self, radiograph: Radiograph, rng: np.random.Generator) -> Radiograph:
        """Contrast curve and noise, as far as standardising does not undo them."""
        values = np.maximum(radiograph.line_integrals, 0)
        gamma = np.exp(rng.uniform(-self.recipe.contrast, self.recipe.contrast))
        values = (values / max(float(values.max()), 1e-6)) ** np.float32(gamma)
        noise = rng.normal(0.0, self.recipe.noise * rng.random(), values.shape).astype(np.float32)
        return Radiograph((values + noise * values.std()).astype(np.float32), radiograph.camera, scaled=False)


def turned(camera: Camera, angle_deg: float, centre_mm: NDArray[np.float64]) -> Camera:
    """The camera turned about the patient's long axis through `centre_mm`."""
    angle = np.deg2rad(-angle_deg)  # orbit angles grow from anterior to the patient's right: clockwise from above
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = centre_mm - motion[:3, :3] @ centre_mm
    return camera.moved(motion)


def to_sample(classes: NDArray[np.uint8] | None, grid: Grid, radiographs: list[Radiograph]) -> Batch:
    """One case as a Batch without its first dimension."""
    matrices = [camera_matrices(r.camera, grid) for r in radiographs]
    return Batch(
        images=torch.from_numpy(np.stack([standardised(r.line_integrals) for r in radiographs]))[:, None],
        projections=torch.from_numpy(np.stack([p for p, _ in matrices])),
        depths=torch.from_numpy(np.stack([d for _, d in matrices])),
        classes=None if classes is None else torch.from_numpy(classes).long(),
    )


def references(case: TrainingCase, learns: Kind, *, camera: Camera | None = None, bones: int = 1) -> dict[str, Tensor]:
    """What a network of this kind learns from a case besides its class map, by field of `Batch`.

    Depth maps are those of the first `bones` classes as `camera` sees them: all fronts, then all backs.
    """
    if learns == "depth_maps":
        seen = camera or case.radiographs[0].camera
        maps = depth_maps(LabelMap(np.ascontiguousarray(case.classes), case.grid), seen, range(1, bones + 1))
        return {"depth_maps": torch.from_numpy(np.concatenate([maps.front_mm, maps.back_mm]))}
    if learns == "intensities":
        return {"intensities": torch.from_numpy(z_scores(_hu(case), case_id=case.case_id)[0])}
    return {}


def intensity_scale(case: TrainingCase) -> tuple[float, float]:
    """Mean and SD in HU of a case's bone alone in air, by which its intensities are z-scored."""
    return z_scores(_hu(case), case_id=case.case_id)[1:]


def learn_scale(network: nn.Module, learns: Kind, cases: Sequence[TrainingCase]) -> None:
    """Tell a network that learns intensities the mean and SD that undo its z-scores."""
    if learns == "intensities":
        network.set_scale(*mean_scale(intensity_scale(case) for case in cases))  # type: ignore[operator]


def one_reference(case: TrainingCase, learns: Kind) -> Tensor:
    """What a network of this kind learns from a case, for one that is fitted in one pass."""
    return torch.from_numpy(case.classes) if learns == "labels" else references(case, learns)[learns]


def pictures_and_classes(case: TrainingCase, image_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(V, 1, H, W) stored radiographs as a network sees them, and the class map, for one that learns cases by heart."""
    shown = to_sample(case.classes, case.grid, [resized(r, image_shape) for r in case.radiographs])
    return shown.images, torch.from_numpy(case.classes)


def _hu(case: TrainingCase) -> NDArray[np.float32]:
    return isolated_bone(case.classes, case.grid, case.ct, case_id=case.case_id)


def collate(samples: list[Batch]) -> Batch:
    """Stack samples into a batch."""

    def stacked(name: str) -> Tensor | None:
        values = [getattr(sample, name) for sample in samples]
        return None if values[0] is None else torch.stack(values)

    return Batch(**{name: stacked(name) for name in Batch.__dataclass_fields__})  # type: ignore[arg-type]
