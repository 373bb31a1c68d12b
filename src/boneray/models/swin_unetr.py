"""SwinUNETR on replicated views (Hatamizadeh et al. 2022), as run in the XrayTo3D benchmark.

Hatamizadeh et al., "Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI
images", BrainLes 2021 (2022); architecture arguments of the XrayTo3D benchmark (arXiv 2309.13587):
MONAI's SwinUNETR, 48 features, depths 2-2-2-2, heads 3-6-12-24, windows of 7^3, instance norm,
dropout 0.1: 62.188 M parameters with one output channel and two views, at any grid.

Deliberate deviations: those of `unet.py`.
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

COARSEST = 32


class SwinUNETRSettings(Settings):
    """`features`: channels at half resolution, a multiple of 12; `window`: edge of the attention windows."""

    features: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window: int = 7
    dropout: float = 0.1
    start_bias: float = START_BIAS


class SwinUNETR(nn.Module):
    """(B, V, 1, H, W) pictures, replicated into V channels of the working grid, through SwinUNETR."""

    def __init__(self, settings: SwinUNETRSettings, task: Task) -> None:
        from monai.networks.nets import SwinUNETR as MonaiSwinUNETR

        super().__init__()
        require_multiple("swin_unetr", task.grid_shape, COARSEST, least=2 * COARSEST)
        self.task = task
        self.network = MonaiSwinUNETR(
            in_channels=task.view_count,
            out_channels=channels_for(task.class_count),
            feature_size=settings.features,
            depths=settings.depths,
            num_heads=settings.heads,
            window_size=settings.window,
            drop_rate=settings.dropout,
        )
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.network(replicated_views(batch, self.task)) + self.offset)


MODELS.register(
    "swin_unetr",
    "62 M parameters, published baseline with windowed attention",
    source="Hatamizadeh et al. 2022; XrayTo3D benchmark",
    views="any number, fixed at training",
    aliases=("SwinUNETR", "Swin-UNETR"),
)(
    ModelSpec(
        SwinUNETRSettings(),
        SwinUNETR,
        Recipe(learning_rate=2e-4, ema=0.0),
        recipes=comparisons(
            rate=2e-4,
            batch_size=1,
            script_iterations={"femur": 15000, "ribs": 5000, "pelvis": 5000, "vertebra": 15000},
        ),
        published="62.2 M (XrayTo3D), 61.99 M with 55 classes (Swin-X2S)",
        narrow=SwinUNETRSettings(features=12, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
        smallest=2 * COARSEST,
    )
)
