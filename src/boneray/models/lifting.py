"""From pictures to volumes: reading 2D features where each voxel is seen by the true camera."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boneray.core.errors import ConfigError
from boneray.models.batch import Batch
from boneray.models.registry import Task
from boneray.models.sizes import require_views


def voxel_centres(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Cube coordinates of the voxel centres of a grid, (4, I*J*K) homogeneous."""
    axes = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / n) - 1.0 for n in shape]
    i, j, k = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([i, j, k, torch.ones_like(i)]).reshape(4, -1)


def lift(features: Tensor, projections: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Back-project 2D features into a volume along true camera rays.

    Args:
        features: (N, C, h, w), one picture per row.
        projections: (N, 3, 4), see `Batch.projections`.
        shape: voxels of the volume.
    Returns:
        (N, C, I, J, K) bilinear samples and (N, 1, I, J, K) 1 where the voxel is in the picture
        and in front of the source, else 0 (there the features are 0 too).
    """
    return _sample(features, projections, voxel_centres(shape, features), shape)


def replicate(
    features: Tensor, projections: Tensor, depths: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Spread 2D features along the grid axis nearest to the central ray, as uncalibrated methods do.

    Each voxel reads the picture where its foot on the middle plane is seen, so the picture's
    orientation and its magnification at the centre are right, and nothing else of the camera is
    used. Only the planes are sampled; the volume is spread from them. Returns as `lift`.
    """
    axes = main_axes(depths)
    first = None if axes.is_meta or torch.compiler.is_compiling() else int(axes[0])
    if first is not None and bool((axes == first).all()):
        plane, inside = face(features, projections, first, shape)
        spread, inside = plane.unsqueeze(2 + first), inside.unsqueeze(2 + first)
        return spread.expand(-1, -1, *shape), inside.expand(-1, -1, *shape)
    values = seen = torch.zeros((), device=features.device, dtype=features.dtype)
    for axis in range(3):
        here = (axes == axis)[:, None, None, None, None]
        plane, inside = face(features, projections, axis, shape)
        values = torch.where(here, plane.unsqueeze(2 + axis), values)
        seen = torch.where(here, inside.unsqueeze(2 + axis), seen)
    return values.expand(-1, -1, *shape), seen.expand(-1, -1, *shape)


def replicated_views(batch: Batch, task: Task) -> Tensor:
    """(B, V, I, J, K): each picture spread along its main axis, one channel per view."""
    require_views(batch, task.view_count)
    views = zip(batch.images.unbind(1), batch.projections.unbind(1), batch.depths.unbind(1), strict=True)
    return torch.cat([replicate(*view, task.grid_shape)[0] for view in views], dim=1)


def main_axes(depths: Tensor) -> Tensor:
    """(N,) the grid axis nearest to the central ray of each of (N, 4) depth rows."""
    return depths[:, :3].abs().argmax(dim=1)


def face(
    features: Tensor, projections: Tensor, axis: int, shape: tuple[int, int, int], depths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """2D features as seen on the grid's middle plane across `axis` (0 or 1, or 2 without `depths`).

    Args:
        features, projections: as for `lift`.
        depths: (N, 4) depth rows; with them the plane is turned about k to face each picture,
            so that an oblique picture is read without being narrowed.
    Returns:
        (N, C, a, b) samples at the voxel centres of the other two axes, in their order, and
        (N, 1, a, b) 1 where the plane is in the picture, else 0 (there the features are 0 too).
    """
    flat = [1 if a == axis else n for a, n in enumerate(shape)]
    points = voxel_centres((flat[0], flat[1], flat[2]), features)
    if depths is not None:
        along = 1 - axis
        across = torch.stack([depths[:, 1].abs(), depths[:, 0].abs()], dim=1)  # the plane's edge, along i and j
        sign = -torch.sign(depths[:, 0] * depths[:, 1])
        across[:, axis] = across[:, axis] * sign
        across = across / across.norm(dim=1, keepdim=True)
        step = points[along]
        points = points.expand(len(features), -1, -1).clone()
        points[:, :2] = across[:, :, None] * step
    values, seen = _sample(features, projections, points, (flat[0], flat[1], flat[2]))
    return values.squeeze(2 + axis), seen.squeeze(2 + axis)


def frontal_and_lateral(batch: Batch, model: str, *, oblique: bool = False) -> tuple[Batch, Batch]:
    """The two views of a batch as batches of one view each, whatever their order.

    With `oblique` any two views: the one that looks more from the side is taken as the lateral one.

    Raises:
        ConfigError: not two views, a camera is missing, or the central rays do not run nearest to
            the second axis of the grid (frontal) and to its first (lateral).
    """
    require_views(batch, 2)
    rays = batch.depths[..., :3].abs()
    lean = rays[..., 1] - rays[..., 0]
    slots = torch.stack([lean.argmax(dim=1), lean.argmin(dim=1)], dim=1)
    if not (oblique or rays.is_meta or torch.compiler.is_compiling()):
        axes = rays.argmax(dim=2).gather(1, slots)
        if bool((axes[:, 0] != 1).any() or (axes[:, 1] != 0).any()):
            raise ConfigError(
                f"{model} needs one frontal and one lateral view; these look along other axes of the grid"
            )
    return _picked(batch, slots[:, 0]), _picked(batch, slots[:, 1])


def _picked(batch: Batch, slots: Tensor) -> Batch:
    """One view of every case, as a batch with one view."""

    def pick(values: Tensor) -> Tensor:
        index = slots.reshape(-1, 1, *[1] * (values.ndim - 2)).expand(-1, 1, *values.shape[2:])
        return values.gather(1, index)

    return Batch(pick(batch.images), pick(batch.projections), pick(batch.depths))


def depth_codes(depths: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, 1, I, J, K) depth of each voxel along the central ray from (N, 4) depth rows."""
    return (depths @ voxel_centres(shape, depths)).reshape(len(depths), 1, *shape)


def _sample(
    features: Tensor, projections: Tensor, points: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    image = projections @ points  # (N, 3, voxels)
    weight = image[:, 2].clamp(min=1e-3)
    uv = (image[:, :2] / weight[:, None]).transpose(1, 2)
    seen = ((uv.abs() <= 1.0).all(dim=2) & (image[:, 2] > 1e-3)).to(features.dtype)
    values = functional.grid_sample(features, uv[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    seen = seen.reshape(len(features), 1, *shape)
    return values.reshape(len(features), features.shape[1], *shape) * seen, seen
