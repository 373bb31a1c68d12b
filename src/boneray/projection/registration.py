"""2D/3D registration: the pose of a camera about a CT, found from a radiograph.

The picture rendered from the CT is compared with the radiograph by normalised cross-correlation,
which does not mind how bright either is, from coarse to fine, and the pose is turned and shifted
by its gradient. Grupp et al., "Automatic annotation of hip anatomy in fluoroscopy", IJCARS 2020,
and Gopalakrishnan and Golland, "Fast auto-differentiable DRR", 2022, describe such schemes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize
from torch import Tensor

from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.projection.differentiable import moved_pose, project
from boneray.projection.joseph import line_integrals
from boneray.projection.resize import resized

# A turn by one unit moves the bone about as far as a shift by one unit: this long a lever, in mm.
LEVER_MM = 100.0
# A motion is found when a step changes the correlation by less.
ENOUGH = 1e-6


@dataclass(frozen=True)
class Registration:
    """A pose that was found.

    Attributes:
        camera: the camera with the new pose.
        correlation: normalised cross-correlation of its picture with the radiograph at full
            resolution, 1 is best.
        steps: evaluations at each level, coarse to fine.
    """

    camera: Camera
    correlation: float
    steps: tuple[int, ...]


def register(
    volume: NDArray,
    grid: Grid,
    radiograph: Radiograph,
    *,
    start: Camera | None = None,
    centre_mm: Sequence[float] | None = None,
    factors: Sequence[int] = (8, 4, 2),
    blur_px: float = 1.0,
    steps: int = 60,
    watch: Callable[[int, float], None] = lambda factor, correlation: None,
) -> Registration:
    """Find where the camera stood when it took `radiograph` of `volume`.

    Args:
        volume: (i, j, k) attenuation per mm; other bones and soft tissue taken out, it registers
            one bone.
        grid: where the volume lies.
        radiograph: bone bright, any grey scale; its camera gives the detector.
        start: first guess of the camera; default: the radiograph's own.
        centre_mm: RAS point about which the pose is turned; default: the middle of the grid.
        factors: how much smaller pictures and volume are made at each level, coarse to fine.
        blur_px: Gaussian blur of both pictures at every level, which widens the basin.
        steps: evaluations at most per level.
        watch: told the level's factor and correlation when a level is done.
    Raises:
        DataError: the radiograph or the first picture has no contrast.
    """
    camera = start or radiograph.camera
    centre = torch.tensor(np.asarray(grid.centre_mm if centre_mm is None else centre_mm, dtype=float))
    counts = []
    correlation = 0.0
    for factor in factors:
        level = _Level.of(volume, grid, radiograph, camera, centre, factor, blur_px)
        found = optimize.minimize(level.loss, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxfun": steps})
        moved = level.pose(torch.from_numpy(found.x)).numpy()
        camera = replace(camera, world_from_camera=tuple(_rigid(moved).ravel()))
        correlation = 1.0 - float(found.fun)
        counts.append(int(found.nfev))
        watch(factor, correlation)
    return Registration(camera, correlation, tuple(counts))


@dataclass(frozen=True)
class _Level:
    """One resolution: what is rendered, from where, and what it is compared with."""

    body: Tensor
    grid: Grid
    camera: Camera
    wanted: Tensor
    smooth: Callable[[Tensor], Tensor]
    centre_mm: Tensor

    @classmethod
    def of(
        cls,
        volume: NDArray,
        grid: Grid,
        radiograph: Radiograph,
        camera: Camera,
        centre_mm: Tensor,
        factor: int,
        blur_px: float,
    ) -> _Level:
        rows, columns = (max(8, n // factor) for n in camera.detector_shape)
        small, small_grid = pooled(volume, grid, factor)
        target = np.array(resized(radiograph, (rows, columns)).line_integrals, dtype=np.float32)
        smooth = _blur(blur_px)
        wanted = _standardised(smooth(torch.from_numpy(target)))
        return cls(torch.from_numpy(small), small_grid, camera.resized((rows, columns)), wanted, smooth, centre_mm)

    def pose(self, values: Tensor) -> Tensor:
        """The pose after a turn (in units of mm at the lever) and a shift (mm), (6,)."""
        return moved_pose(torch.from_numpy(self.camera.pose), _twist(values), self.centre_mm)

    def loss(self, values: NDArray) -> tuple[float, NDArray]:
        """One minus the correlation, and its gradient."""
        variables = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        picture = project(self.body, self.grid, self.camera, self.pose(variables))
        value = 1.0 - (_standardised(self.smooth(picture)) * self.wanted).mean()
        value.backward()
        return float(value.detach()), np.asarray(variables.grad)


@dataclass(frozen=True)
class Motion:
    """How a body has moved between its CT and the radiographs.

    Attributes:
        world_from_ct: 4x4 rigid motion (row-major tuple of 16), RAS mm.
        correlation: mean over the radiographs at the finest level, 1 is best.
        steps: evaluations at each level, coarse to fine.
    """

    world_from_ct: tuple[float, ...]
    correlation: float
    steps: tuple[int, ...]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """world_from_ct as a 4x4 array."""
        return np.array(self.world_from_ct).reshape(4, 4)


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch works with one thread: on pictures so small several mostly wait, and on a busy machine cost ten times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def register_motion(
    volume: NDArray,
    grid: Grid,
    radiographs: Sequence[Radiograph],
    *,
    rest: Sequence[NDArray] | None = None,
    start: NDArray | None = None,
    centre_mm: Sequence[float] | None = None,
    edges: bool = True,
    near_mm: float | None = None,
    factors: Sequence[int] = (8, 4, 2),
    blur_px: float = 1.0,
    steps: int = 60,
) -> Motion:
    """Find the rigid motion of a body that explains all its radiographs, whose cameras are known.

    One bone of an articulated patient is registered by letting it move in front of everything else:
    `volume` is what the bone adds to the soft tissue in its place, `rest` the pictures of all that
    stays. Without the rest, neighbouring bones draw the bone away (measured in docs/projection.md).

    Args:
        volume: (i, j, k) attenuation per mm of what moves.
        grid: where it lies in the CT.
        radiographs: of one moment; bone bright, any grey scale.
        rest: line integrals of what does not move, one picture for each radiograph.
        start: first guess of the motion, 4x4; default: none.
        centre_mm: point of the CT about which it is turned; default: the middle of the grid.
        edges: compare the gradients of the pictures instead of their grey values: soft tissue,
            which changes slowly, then counts little.
        near_mm: compare only pixels that lie within this distance (on the detector) of the body's
            shadow at the start of each level; default: all.
        factors, blur_px, steps: as for `register`.
    Raises:
        DataError: a radiograph or a first picture has no contrast where it is compared.
    """
    at = np.asarray(grid.centre_mm if centre_mm is None else centre_mm, dtype=float)
    motion = np.eye(4) if start is None else np.asarray(start, dtype=float)
    counts, correlation = [], 0.0
    for factor in factors:
        small, small_grid = pooled(volume, grid, factor)
        views = [
            _View.of(small, small_grid, radiograph, None if rest is None else rest[n], motion, factor, blur_px,
                     edges=edges, near_mm=near_mm)
            for n, radiograph in enumerate(radiographs)
        ]  # fmt: skip
        level = _Together(torch.from_numpy(small), small_grid, views, torch.from_numpy(at))
        level.loss(np.zeros(6))  # a start from which nothing is seen is an error, a step there is not
        stop = {"maxfun": steps, "ftol": ENOUGH}
        found = optimize.minimize(level.tried, np.zeros(6), jac=True, method="L-BFGS-B", options=stop)
        step = moved_pose(torch.eye(4, dtype=torch.float64), _twist(torch.from_numpy(found.x)), level.centre_mm)
        motion = motion @ np.linalg.inv(_rigid(step.numpy()))  # the cameras' step, undone, is the body's
        correlation = 1.0 - float(found.fun)
        counts.append(int(found.nfev))
    return Motion(tuple(_rigid(motion).ravel()), correlation, tuple(counts))


@dataclass(frozen=True)
class _View:
    """One radiograph at one resolution, its camera carried back to where the body was in the CT."""

    camera: Camera
    rest: Tensor
    features: Callable[[Tensor], Tensor]
    wanted: Tensor

    @classmethod
    def of(
        cls,
        small: NDArray,
        grid: Grid,
        radiograph: Radiograph,
        rest: NDArray | None,
        motion: NDArray,
        factor: int,
        blur_px: float,
        *,
        edges: bool,
        near_mm: float | None,
    ) -> _View:
        rows, columns = (max(8, n // factor) for n in radiograph.camera.detector_shape)
        shape = (rows, columns)
        camera = radiograph.camera.resized(shape).moved(np.linalg.inv(motion))
        weight = np.ones(shape)
        if near_mm is not None:
            shadow = line_integrals((small > 0).astype(np.float32), grid, camera) > 0
            if not shadow.any():
                raise DataError("the body lies outside of a radiograph and cannot be registered")
            weight = (ndimage.distance_transform_edt(~shadow, camera.pixel_mm) <= near_mm).astype(float)
        behind = np.zeros(shape, np.float32)
        if rest is not None:
            behind = np.array(resized(replace(radiograph, line_integrals=rest), shape).line_integrals, np.float32)
        target = np.array(resized(radiograph, shape).line_integrals, dtype=np.float32)
        features = _features(_blur(blur_px), torch.from_numpy(weight), edges)
        return cls(camera, torch.from_numpy(behind), features, features(torch.from_numpy(target)))


@dataclass(frozen=True)
class _Together:
    """All radiographs of one moment at one resolution."""

    body: Tensor
    grid: Grid
    views: Sequence[_View]
    centre_mm: Tensor

    def loss(self, values: NDArray) -> tuple[float, NDArray]:
        """One minus the mean correlation after a step of the cameras, and its gradient."""
        variables = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        twist = _twist(variables)
        total = torch.zeros((), dtype=torch.float64)
        for view in self.views:
            pose = moved_pose(torch.from_numpy(view.camera.pose), twist, self.centre_mm)
            picture = project(self.body, self.grid, view.camera, pose) + view.rest
            total = total + 1.0 - (view.features(picture) * view.wanted).sum()
        total = total / len(self.views)
        total.backward()
        return float(total.detach()), np.asarray(variables.grad)

    def tried(self, values: NDArray) -> tuple[float, NDArray]:
        """The loss of a trial step; one that leaves the pictures is as bad as can be."""
        try:
            return self.loss(values)
        except DataError:
            return 2.0, np.zeros(6)


def _twist(values: Tensor) -> Tensor:
    """Turn (rad) and shift (mm) of values in mm at the lever and mm, (6,)."""
    return torch.cat([values[:3] / LEVER_MM, values[3:]])


def _features(smooth: Callable[[Tensor], Tensor], weight: Tensor, edges: bool) -> Callable[[Tensor], Tensor]:
    """Picture -> (n, rows, columns) whose product with another picture's sums up to their weighted correlation.

    With edges the two derivatives are correlated each on their own and averaged.
    """
    inner = weight[1:-1, 1:-1] if edges else weight
    inner = inner / inner.sum()

    def features(picture: Tensor) -> Tensor:
        soft = smooth(picture).double()
        parts = soft[None]
        if edges:
            across, down = soft[1:-1, 2:] - soft[1:-1, :-2], soft[2:, 1:-1] - soft[:-2, 1:-1]
            parts = torch.stack([across, down])
        centred = parts - (parts * inner).sum((-1, -2), keepdim=True)
        spread = (centred.square() * inner).sum((-1, -2), keepdim=True).sqrt()
        if float(spread.detach().min()) < 1e-9:
            raise DataError("a picture without contrast cannot be registered; does the camera see the volume?")
        return centred / spread * inner.sqrt() / len(parts) ** 0.5

    return features


def pose_error(found: Camera, true: Camera, point_mm: Sequence[float]) -> dict[str, float]:
    """How far a pose is off.

    Returns:
        rotation_deg: angle between the two orientations; in_plane_mm and depth_mm: how far
        `point_mm` is displaced across and along the true central ray in the camera's frame.
    """
    turn = found.pose[:3, :3].T @ true.pose[:3, :3]
    cosine = np.clip((np.trace(turn) - 1) / 2, -1, 1)
    point = np.append(np.asarray(point_mm, dtype=float), 1.0)
    offset = (np.linalg.inv(found.pose) @ point - np.linalg.inv(true.pose) @ point)[:3]
    return {
        "rotation_deg": float(np.rad2deg(np.arccos(cosine))),
        "in_plane_mm": float(np.hypot(*offset[:2])),
        "depth_mm": float(abs(offset[2])),
    }


def pooled(volume: NDArray, grid: Grid, factor: int) -> tuple[NDArray[np.float32], Grid]:
    """The volume with `factor`^3 voxels averaged into one; the edge is filled up with the outermost voxels."""
    data = np.asarray(volume, dtype=np.float32)
    if factor == 1:
        return data, grid
    pad = [(0, -n % factor) for n in data.shape]
    data = np.pad(data, pad, mode="edge")
    a, b, c = (n // factor for n in data.shape)
    x, y, z = (spacing * factor for spacing in grid.spacing_mm)
    small = data.reshape(a, factor, b, factor, c, factor).mean(axis=(1, 3, 5))
    origin = grid.to_world(np.full(3, (factor - 1) / 2))
    return np.ascontiguousarray(small), Grid((a, b, c), (x, y, z), tuple(origin), grid.direction)


def _blur(sigma_px: float) -> Callable[[Tensor], Tensor]:
    """A separable Gaussian that torch can differentiate; edges are repeated."""
    if sigma_px <= 0:
        return lambda picture: picture
    reach = int(np.ceil(3 * sigma_px))
    impulse = np.zeros(2 * reach + 1)
    impulse[reach] = 1.0
    kernel = torch.from_numpy(ndimage.gaussian_filter1d(impulse, sigma_px)).float()

    def smooth(picture: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(picture[None, None], (reach,) * 4, mode="replicate")
        rows = torch.nn.functional.conv2d(padded, kernel[None, None, :, None])
        out: Tensor = torch.nn.functional.conv2d(rows, kernel[None, None, None, :])[0, 0]
        return out

    return smooth


def _standardised(picture: Tensor) -> Tensor:
    centred = picture.double() - picture.double().mean()
    spread = centred.square().mean().sqrt()
    if float(spread.detach()) < 1e-9:
        raise DataError("a picture without contrast cannot be registered; does the camera see the volume?")
    return centred / spread


def _rigid(pose: NDArray) -> NDArray[np.float64]:
    """The pose with rounding removed from its rotation."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    out = np.array(pose, dtype=float)
    out[:3, :3] = left @ right
    out[3] = (0, 0, 0, 1)
    return out
