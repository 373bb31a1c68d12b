"""What the tests of all networks share: batches of made-up pictures, and networks small enough for a test."""

import numpy as np
import torch

from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.models.batch import Batch, camera_matrices
from boneray.models.cpu_convolution import quicken
from boneray.models.registry import MODELS, Task

MANY_PARAMETERS = 50_000_000


def make_batch(grid, *, views=(0.0, 90.0), cases=2, classes=1, seed=0, image_shape=None):
    """Noise as pictures, random classes and intensities, and the cameras of an orbit at these angles."""
    rng = torch.Generator().manual_seed(seed)
    rows, columns = image_shape or (2 * max(grid.shape),) * 2
    size_mm = 1.7 * max(grid.size_mm)
    cameras = [
        orbit_camera(a, centre_mm=grid.centre_mm, detector_shape=(rows, columns), detector_mm=(size_mm, size_mm))
        for a in views
    ]
    projections, depths = (np.stack(m) for m in zip(*(camera_matrices(c, grid) for c in cameras), strict=True))
    return Batch(
        torch.randn(cases, len(views), 1, rows, columns, generator=rng),
        torch.from_numpy(projections).expand(cases, -1, -1, -1),
        torch.from_numpy(depths).expand(cases, -1, -1),
        torch.randint(0, classes + 1, (cases, *grid.shape), generator=rng),
        intensities=torch.randn(cases, *grid.shape, generator=rng),
        depth_maps=950.0 + 100.0 * torch.rand(cases, 2 * classes, rows, columns, generator=rng),
    )


def meta(batch):
    """The batch without its values."""
    return batch.to("meta")


def smallest_grid(name):
    return Grid.cube(MODELS.get(name).value.smallest, 128.0)


def task_of(grid, classes=1, views=2):
    return Task(grid.shape, (2 * max(grid.shape),) * 2, classes, views)


def small_settings(name):
    """The model's own settings, or the narrow ones of a model that is too large for a test."""
    spec = MODELS.get(name).value
    return spec.narrow or spec.settings


def build(name, grid=None, *, classes=1, views=2, **changes):
    torch.manual_seed(0)
    spec = MODELS.get(name).value
    settings = small_settings(name).model_copy(update=changes)
    network = spec.build(settings, task_of(grid or smallest_grid(name), classes, views))
    return quicken(network, channels_last=spec.channels_last)


def full_size_on_meta(name, shape, *, classes=1, views=2):
    """The published size without memory for its weights."""
    spec = MODELS.get(name).value
    task = Task(tuple(shape), (2 * max(shape),) * 2, classes, views)
    if name == "swin_unetr":  # its library reads numbers off tensors while it is built
        return spec.build(spec.settings, task).to("meta")
    with torch.device("meta"):
        return spec.build(spec.settings, task)


def parameter_count(network):
    return sum(p.numel() for p in network.parameters())
