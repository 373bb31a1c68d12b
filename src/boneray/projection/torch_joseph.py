"""Joseph's method in plain torch: the same numbers as the compiled kernel, on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

SAMPLES_AT_ONCE = 1 << 24  # samples of all rays held in memory together


def torch_line_integrals(
    volume: Tensor, start: Tensor, step: Tensor, length_mm: Tensor, forward_only: bool, shape: tuple[int, int]
) -> Tensor:
    """Line integrals along all rays of a view, differentiable by volume and rays.

    Args:
        volume: (i, j, k) values per mm.
        start, step, length_mm: (3, 3) tables of a `RayFan`, float64, on the volume's device.
        forward_only: matter behind the start does not count.
        shape: (rows, columns) of the detector.
    Returns:
        (rows, columns) in the volume's type.
    """
    rows, columns = shape
    row, column = torch.meshgrid(
        torch.arange(rows, device=volume.device, dtype=torch.float64),
        torch.arange(columns, device=volume.device, dtype=torch.float64),
        indexing="ij",
    )
    pixel = torch.stack([torch.ones_like(row), column, row], -1).reshape(-1, 3)
    at, along = pixel @ start, pixel @ step
    unit_mm = (pixel @ length_mm).norm(dim=-1)
    main = along.detach().abs().argmax(-1)
    total = torch.zeros(len(pixel), dtype=volume.dtype, device=volume.device)
    for axis in range(3):
        chosen = torch.nonzero(main == axis)[:, 0]
        if len(chosen):
            sums = _along_axis(volume, axis, at[chosen], along[chosen], unit_mm[chosen], forward_only)
            total = total.index_put((chosen,), sums)
    return total.reshape(rows, columns)


def _along_axis(volume: Tensor, main: int, at: Tensor, along: Tensor, unit_mm: Tensor, forward_only: bool) -> Tensor:
    """Integrals of rays whose main axis is `main`; at, along: (n, 3), unit_mm: (n,)."""
    u, v = (main + 1) % 3, (main + 2) % 3
    size = volume.shape
    sm, dm = at[:, main], along[:, main]
    enter = torch.full_like(sm, -0.5)
    leave = torch.full_like(sm, size[main] - 0.5)
    if forward_only:
        enter = torch.where(dm > 0, torch.maximum(enter, sm), enter)
        leave = torch.where(dm > 0, leave, torch.minimum(leave, sm))
    for axis in (u, v):
        sa, da = at[:, axis], along[:, axis]
        level = da.abs() < 1e-12 * dm.abs()
        safe = torch.where(level, torch.ones_like(da), da)
        a = sm + (-0.5 - sa) * dm / safe
        b = sm + (size[axis] - 0.5 - sa) * dm / safe
        outside = level & ((sa <= -0.5) | (sa >= size[axis] - 0.5))
        enter = torch.where(level, enter, torch.maximum(enter, torch.minimum(a, b)))
        leave = torch.where(level, leave, torch.minimum(leave, torch.maximum(a, b)))
        leave = torch.where(outside, enter, leave)
    middle = 0.5 * (size[main] - 1)
    kind = volume.dtype
    slopes = [(along[:, axis] / dm).to(kind) for axis in (u, v)]
    places = [(at[:, axis] + (middle - sm) * along[:, axis] / dm).to(kind) for axis in (u, v)]
    ends = ((enter - middle).to(kind), (leave - middle).to(kind))
    turned = volume.permute(main, u, v)
    count = max(1, SAMPLES_AT_ONCE // len(at))
    needs_gradient = torch.is_grad_enabled() and (volume.requires_grad or at.requires_grad or along.requires_grad)
    total = torch.zeros(len(at), dtype=kind, device=volume.device)
    for first in range(0, size[main], count):
        slabs = turned[first : first + count]
        place = first - middle
        if needs_gradient:  # samples are found again on the way back instead of being kept
            part = checkpoint(_slab_sum, slabs, place, *ends, *places, *slopes, use_reentrant=False)
        else:
            part = _slab_sum(slabs, place, *ends, *places, *slopes)
        total = total + part
    return total * (unit_mm / dm.abs()).to(kind)


def _slab_sum(
    slabs: Tensor,
    first: float,
    enter: Tensor,
    leave: Tensor,
    place_u: Tensor,
    place_v: Tensor,
    slope_u: Tensor,
    slope_v: Tensor,
) -> Tensor:
    """Sum over (slab, u, v) voxels of width times value for each ray; places count from the middle slab."""
    number, nu, nv = slabs.shape
    centre = first + torch.arange(number, device=slabs.device, dtype=slabs.dtype)[:, None]
    bottom, top = torch.maximum(enter, centre - 0.5), torch.minimum(leave, centre + 0.5)
    width = (top - bottom).clamp(min=0)
    x = 0.5 * (bottom + top)
    pu = (place_u + x * slope_u).clamp(0, nu - 1)
    pv = (place_v + x * slope_v).clamp(0, nv - 1)
    iu = pu.detach().to(torch.int64).clamp(max=max(nu - 2, 0))
    iv = pv.detach().to(torch.int64).clamp(max=max(nv - 2, 0))
    fu, fv = pu - iu, pv - iv
    cell = (torch.arange(number, device=slabs.device)[:, None] * nu + iu) * nv + iv
    beside_u, beside_v = nv if nu > 1 else 0, 1 if nv > 1 else 0
    flat = slabs.reshape(-1)
    a, b = flat[cell], flat[cell + beside_v]
    c, d = flat[cell + beside_u], flat[cell + beside_u + beside_v]
    near, far = a + fv * (b - a), c + fv * (d - c)
    return (width * (near + fu * (far - near))).sum(0)
