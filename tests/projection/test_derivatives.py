"""Gradients of line integrals: the adjoint, the pose, and the torch path as an independent second way."""

import numpy as np
import pytest
import torch

from boneray.core.camera import Camera, jittered, orbit_camera
from boneray.core.errors import GeometryError
from boneray.core.grid import Grid
from boneray.projection.differentiable import moved_pose, project
from boneray.projection.joseph import line_integrals
from boneray.projection.joseph_gradient import back_project

GRID = Grid((40, 50, 60), (2.0, 1.5, 1.2), (-40.0, -37.0, -35.0))
SIZE = {"detector_shape": (30, 24), "detector_mm": (170.0, 150.0)}


def cameras() -> dict[str, Camera]:
    return {
        "level": orbit_camera(20.0, **SIZE),
        "tilted": jittered(orbit_camera(60.0, **SIZE), np.random.default_rng(1), centre_mm=(0, 0, 0)),
        "parallel": orbit_camera(25.0, cranial_deg=10.0, kind="parallel", **SIZE),
        "close": orbit_camera(10.0, source_object_mm=120.0, source_detector_mm=300.0, **SIZE),
    }


def smooth_volume() -> np.ndarray:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in GRID.shape], indexing="ij")
    return np.exp(-4 * (x**2 + y**2 + z**2)) * (1 + 0.3 * np.sin(5 * x) * z + 0.2 * y)


@pytest.mark.parametrize("name", cameras())
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_back_projection_is_the_exact_adjoint(name, kind):
    rng = np.random.default_rng(2)
    x, y = rng.random(GRID.shape).astype(kind), rng.random((30, 24)).astype(kind)
    forward = float((line_integrals(x, GRID, cameras()[name]).astype(float) * y).sum())
    backward = float((x.astype(float) * back_project(y, GRID, cameras()[name])).sum())
    assert abs(forward - backward) / forward <= (1e-6 if kind == np.float32 else 1e-13)


def weighted(volume: torch.Tensor, camera: Camera, twist: torch.Tensor, backend: str = "auto") -> torch.Tensor:
    """A smooth weighted sum of the picture after a motion of the camera about a point off the middle."""
    row, column = torch.meshgrid(torch.linspace(-1, 1, 30), torch.linspace(-1, 1, 24), indexing="ij")
    weight = (torch.cos(2 * row + 0.3) * torch.sin(1.5 * column + 0.7)).double()
    pose = moved_pose(torch.from_numpy(camera.pose), twist, torch.tensor([3.0, -5.0, 8.0], dtype=torch.float64))
    return (project(volume, GRID, camera, pose, backend=backend) * weight).sum()


@pytest.mark.parametrize("name", cameras())
def test_pose_gradient_is_that_of_central_differences(name):
    volume, camera = torch.from_numpy(smooth_volume()), cameras()[name]
    # a little off the given pose: exactly level rays lie on the kinks of the interpolation
    at = torch.tensor([0.011, -0.007, 0.013, 0.31, -0.23, 0.17], dtype=torch.float64)
    twist = at.clone().requires_grad_()
    weighted(volume, camera, twist).backward()
    got = twist.grad.numpy()
    want = np.empty(6)
    # the interpolation has a kink at every voxel centre; small steps cross few of them
    for k, step in enumerate([4e-7] * 3 + [4e-5] * 3):
        ends = [float(weighted(volume, camera, at + sign * step * torch.eye(6).double()[k])) for sign in (1, -1)]
        want[k] = (ends[0] - ends[1]) / (2 * step)
    for part in (slice(0, 3), slice(3, 6)):
        assert np.abs(got - want)[part].max() <= 1e-4 * np.abs(want[part]).max()


@pytest.mark.parametrize("name", cameras())
@pytest.mark.parametrize("smooth", [True, False])
def test_torch_and_compiled_paths_agree_in_value_and_gradients(name, smooth):
    data = smooth_volume() if smooth else np.random.default_rng(3).random(GRID.shape)
    camera = cameras()[name]
    results = []
    for backend in ("numba", "torch"):
        volume = torch.from_numpy(data).requires_grad_()
        twist = torch.full((6,), 0.01, dtype=torch.float64, requires_grad=True)
        value = weighted(volume, camera, twist, backend)
        value.backward()
        results.append((value.detach(), volume.grad, twist.grad))
    for compiled, plain in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=1e-9 * float(plain.abs().max()))


def test_single_precision_agrees_too():
    data = np.random.default_rng(4).random(GRID.shape).astype(np.float32)
    for camera in cameras().values():
        plain = project(torch.from_numpy(data), GRID, camera, backend="torch").numpy()
        np.testing.assert_allclose(line_integrals(data, GRID, camera), plain, atol=1e-5 * plain.max())


def test_several_poses_are_a_batch():
    volume = torch.from_numpy(smooth_volume())
    camera = cameras()["level"]
    poses = torch.stack([torch.from_numpy(c.pose) for c in (camera, cameras()["close"])]).requires_grad_()
    pictures = project(volume, GRID, camera, poses)
    assert pictures.shape == (2, 30, 24)
    torch.testing.assert_close(pictures[0], project(volume, GRID, camera))
    pictures.sum().backward()
    assert torch.isfinite(poses.grad).all() and (poses.grad.abs().amax(dim=(1, 2)) > 0).all()


def test_what_does_not_fit_is_said():
    volume, camera = torch.zeros(GRID.shape), cameras()["level"]
    with pytest.raises(GeometryError, match="does not fit a grid"):
        project(volume[1:], GRID, camera)
    with pytest.raises(GeometryError, match=r"\(4, 4\) or"):
        project(volume, GRID, camera, torch.eye(3))


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    data = np.random.default_rng(5).random(GRID.shape).astype(np.float32)
    for camera in cameras().values():
        got = project(torch.from_numpy(data).cuda(), GRID, camera).cpu().numpy()
        want = line_integrals(data, GRID, camera)
        np.testing.assert_allclose(got, want, atol=1e-5 * want.max())
