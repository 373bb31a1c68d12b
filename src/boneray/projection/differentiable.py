"""Line integrals that torch can differentiate: by the volume and by the pose of the camera.

On a CPU the compiled kernels do the work: the exact adjoint for the volume, the derivative of each
ray for the pose. On any other device, or on request, the same method runs in plain torch.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from boneray.core.camera import Camera
from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.projection.joseph import dense, slab_sums
from boneray.projection.joseph_gradient import adjoint, ray_partials
from boneray.projection.rays import RayFan, detector_mm
from boneray.projection.torch_joseph import torch_line_integrals

Backend = Literal["auto", "numba", "torch"]


def project(
    volume: Tensor, grid: Grid, camera: Camera, pose: Tensor | None = None, *, backend: Backend = "auto"
) -> Tensor:
    """Line integrals of `volume` as `camera` sees it.

    Args:
        volume: (i, j, k) values per mm on `grid`, float32 or float64.
        grid: where the volume lies.
        camera: detector and, unless `pose` is given, pose.
        pose: (4, 4) world_from_camera in RAS mm, or (views, 4, 4); gradients reach it.
        backend: numba (CPU), torch (any device), or auto: numba on a CPU, else torch.
    Returns:
        (rows, columns), or (views, rows, columns) for several poses, in the volume's type.
    Raises:
        GeometryError: shapes that do not fit, or numba asked for off the CPU.
    """
    if tuple(volume.shape) != grid.shape:
        raise GeometryError(f"volume of shape {tuple(volume.shape)} does not fit a grid of shape {grid.shape}")
    if pose is None:
        pose = torch.from_numpy(camera.pose)
    if pose.shape[-2:] != (4, 4) or pose.ndim not in (2, 3):
        raise GeometryError(f"pose has shape {tuple(pose.shape)}; it is (4, 4) or (views, 4, 4)")
    if pose.ndim == 3:
        return torch.stack([project(volume, grid, camera, one, backend=backend) for one in pose])
    on_cpu = volume.device.type == "cpu"
    if backend == "numba" and not on_cpu:
        raise GeometryError(f"the numba projector runs on the CPU; the volume is on {volume.device}")
    start, step, length = _fan(grid, camera, pose.to(device=volume.device, dtype=torch.float64))
    forward_only = camera.kind == "perspective"
    if backend == "torch" or not on_cpu:
        return torch_line_integrals(volume, start, step, length, forward_only, camera.detector_shape)
    picture: Tensor = _Joseph.apply(volume, start, step, length, forward_only, camera.detector_shape)
    return picture


def moved_pose(pose: Tensor, twist: Tensor, centre_mm: Tensor) -> Tensor:
    """The pose turned about and shifted with a body whose centre is `centre_mm`.

    Args:
        pose: (4, 4) world_from_camera.
        twist: (6,) rotation vector in radians, then shift in mm, both in world axes.
        centre_mm: (3,) RAS mm, the point that the rotation leaves in place.
    """
    x, y, z = twist[:3]
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    rotation = torch.linalg.matrix_exp(skew)
    shift = centre_mm - rotation @ centre_mm + twist[3:]
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=pose.dtype, device=pose.device)
    return torch.cat([torch.cat([rotation, shift[:, None]], 1), last]) @ pose


def _fan(grid: Grid, camera: Camera, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Start, step and length tables of `ray_fan`, (3, 3) each, as functions of the pose."""
    index = torch.from_numpy(grid.voxel_from_world).to(pose)
    turn = index[:3, :3] @ pose[:3, :3]
    origin = index[:3, :3] @ pose[:3, 3] + index[:3, 3]
    pixels = torch.from_numpy(detector_mm(camera)).to(pose)
    first = torch.tensor([[1.0], [0.0], [0.0]]).to(pose)
    if camera.kind == "perspective":
        return first * origin, pixels @ turn.T, pixels
    along = first * torch.tensor([0.0, 0.0, 1.0]).to(pose)
    across = pixels * torch.tensor([1.0, 1.0, 0.0]).to(pose)
    return across @ turn.T + first * origin, along @ turn.T, along


class _Joseph(torch.autograd.Function):
    """The compiled projector with its compiled derivatives."""

    @staticmethod
    def forward(
        ctx: Any,
        volume: Tensor,
        start: Tensor,
        step: Tensor,
        length: Tensor,
        forward_only: bool,
        shape: tuple[int, int],
    ) -> Tensor:
        fan = RayFan(start.detach().numpy(), step.detach().numpy(), length.detach().numpy(), forward_only, shape)
        data = dense(volume.detach().numpy())
        ctx.fan, ctx.volume_shape = fan, tuple(volume.shape)
        ctx.partials = None
        if any(ctx.needs_input_grad[1:3]):  # one walk through the volume gives the picture and its derivatives
            picture, ctx.partials = ray_partials(data, fan)
        else:
            picture = slab_sums(data, fan, slopes=False)[0]
        return torch.from_numpy(np.ascontiguousarray(picture)).to(volume.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values = gradient.detach().numpy()
        by_volume = by_start = by_step = None
        if ctx.needs_input_grad[0]:
            by_volume = torch.from_numpy(adjoint(values, ctx.fan, ctx.volume_shape))
        if ctx.partials is not None:
            # every table is linear in the pixel: value at (0, 0) + column * per column + row * per row
            weighted = values[..., None] * ctx.partials
            by_row, by_column = weighted.sum(1), weighted.sum(0)
            rows, columns = values.shape
            tables = np.stack([by_row.sum(0), np.arange(columns) @ by_column, np.arange(rows) @ by_row])
            by_start, by_step = torch.from_numpy(tables[:, :3].copy()), torch.from_numpy(tables[:, 3:].copy())
        return by_volume, by_start, by_step, None, None, None
