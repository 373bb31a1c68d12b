"""UNet on replicated views (Kasten et al. 2020), as run in the XrayTo3D benchmark.

Kasten, Doktofsky, Kovler, "End-to-end convolutional neural network for 3D reconstruction of knee
bones from bi-planar X-ray images", 2020; architecture arguments of the XrayTo3D benchmark paper:
MONAI's UNet, channels 8-16-32-64-128, strides 2, two residual units, batch norm, ReLU: 1.204 M
parameters with one output channel.

Deliberate deviations: the last layer starts biased to background (without it the published network
stays empty for hundreds of steps where bone is 2 % of the voxels); views are replicated along the
grid axis nearest to their central ray with their true orientation and centre magnification,
instead of assuming a fixed order of array axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import replicate
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task


class UNetSettings(Settings):
    """Channels per level; each level halves the grid."""

    channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    residual_units: int = 2
    start_bias: float = -2.0


class UNet(nn.Module):
    """(B, V, 1, H, W) pictures, replicated into V channels of the working grid, through a 3D U-Net."""

    def __init__(self, settings: UNetSettings, task: Task) -> None:
        from monai.networks.nets import UNet as MonaiUNet

        super().__init__()
        levels = len(settings.channels)
        multiple = 2 ** (levels - 1)
        wrong = [n for n in task.grid_shape if n % multiple]
        if wrong:
            near = max(multiple, round(wrong[0] / multiple) * multiple)
            raise ConfigError(f"grid size {wrong[0]} is not a multiple of {multiple}; unet takes {near}")
        self.task = task
        self.network = MonaiUNet(
            spatial_dims=3,
            in_channels=task.view_count,
            out_channels=channels_for(task.class_count),
            channels=settings.channels,
            strides=(2,) * (levels - 1),
            num_res_units=settings.residual_units,
            act="RELU",
            norm="BATCH",
        )
        offset = torch.zeros(channels_for(task.class_count))
        offset[-task.class_count :] = settings.start_bias
        self.register_buffer("offset", offset.reshape(1, -1, 1, 1, 1))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.network(self.volume(batch)) + self.offset)

    def volume(self, batch: Batch) -> Tensor:
        """(B, V, I, J, K): each picture spread along its main axis."""
        count, views = batch.images.shape[:2]
        if views != self.task.view_count:
            raise ConfigError(f"this checkpoint takes {self.task.view_count} views and got {views}")
        values, _ = replicate(
            batch.images.flatten(0, 1),
            batch.projections.flatten(0, 1),
            batch.depths.flatten(0, 1),
            self.task.grid_shape,
        )
        return values.reshape(count, views, *self.task.grid_shape)


MODELS.register(
    "unet", "1.2 M parameters, published baseline", source="Kasten et al. 2020; XrayTo3D benchmark", views=2
)(ModelSpec(UNetSettings(), UNet, Recipe(learning_rate=2e-3, ema=0.0)))
