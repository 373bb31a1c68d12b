"""UNet on replicated views (Kasten et al. 2020), as run in the XrayTo3D benchmark.

Kasten, Doktofsky, Kovler, "End-to-end convolutional neural network for 3D reconstruction of knee
bones from bi-planar X-ray images", 2020; architecture arguments of the XrayTo3D benchmark paper
(arXiv 2309.13587): MONAI's UNet, channels 8-16-32-64-128, strides 2, two residual units, batch
norm, ReLU, dropout 0.1: 1.204 M parameters with one output channel and two views.

Deliberate deviations: the last layer starts biased to background (without it the published network
stays empty for hundreds of steps where bone is 2 % of the voxels; `start_bias=0` is the paper's);
views are replicated along the grid axis nearest to their central ray with their true orientation and
centre magnification, instead of assuming a fixed order of array axes; pictures are standardised
instead of scaled to 0..1. Kasten's own five classes, re-projection loss and style transfer are not
part of the benchmark and not here.
"""

from __future__ import annotations

from torch import nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import replicated_views
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import comparisons
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple


class UNetSettings(Settings):
    """Channels per level; each level halves the grid."""

    channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    residual_units: int = 2
    dropout: float = 0.1
    start_bias: float = START_BIAS


class UNet(nn.Module):
    """(B, V, 1, H, W) pictures, replicated into V channels of the working grid, through a 3D U-Net."""

    def __init__(self, settings: UNetSettings, task: Task) -> None:
        from monai.networks.nets import UNet as MonaiUNet

        super().__init__()
        levels = len(settings.channels)
        require_multiple("unet", task.grid_shape, 2 ** (levels - 1))
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
            dropout=settings.dropout,
        )
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.network(replicated_views(batch, self.task)) + self.offset)


MODELS.register(
    "unet",
    "1.2 M parameters, published baseline",
    source="Kasten et al. 2020; XrayTo3D benchmark",
    views="any number, fixed at training",
    aliases=("UNet", "Kasten"),
)(
    ModelSpec(
        UNetSettings(),
        UNet,
        Recipe(learning_rate=2e-3, ema=0.0),
        recipes=comparisons(rate=2e-3, batch_size=8),
        published="1.2 M (XrayTo3D), 1.31 M with 55 classes (Swin-X2S)",
        channels_last=True,
    )
)
