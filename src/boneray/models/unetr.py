"""UNETR on replicated views (Hatamizadeh et al. 2022), as run in the XrayTo3D benchmark.

Hatamizadeh et al., "UNETR: Transformers for 3D medical image segmentation", WACV 2022; architecture
arguments of the XrayTo3D benchmark (arXiv 2309.13587): MONAI's UNETR with its defaults (ViT-B on
patches of 16^3: 12 layers, width 768, 12 heads; instance norm, residual blocks of 16 channels and
up), dropout 0.1: 96.176 M parameters at 128^3 with one output channel and two views.

Deliberate deviations: those of `unet.py`. MONAI's transformer holds 18,432 parameters of a cross
attention that is switched off; they are counted, as published, and frozen.
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

PATCH = 16


class UNETRSettings(Settings):
    """`features`: channels of the finest convolutions; `hidden`, `heads`, `mlp`: of the transformer."""

    features: int = 16
    hidden: int = 768
    mlp: int = 3072
    heads: int = 12
    dropout: float = 0.1
    start_bias: float = START_BIAS


class UNETR(nn.Module):
    """(B, V, 1, H, W) pictures, replicated into V channels of the working grid, through UNETR."""

    def __init__(self, settings: UNETRSettings, task: Task) -> None:
        from monai.networks.nets import UNETR as MonaiUNETR

        super().__init__()
        require_multiple("unetr", task.grid_shape, PATCH, least=2 * PATCH)
        self.task = task
        self.network = MonaiUNETR(
            in_channels=task.view_count,
            out_channels=channels_for(task.class_count),
            img_size=task.grid_shape,
            feature_size=settings.features,
            hidden_size=settings.hidden,
            mlp_dim=settings.mlp,
            num_heads=settings.heads,
            dropout_rate=settings.dropout,
        )
        for name, parameter in self.network.named_parameters():
            if "norm_cross_attn" in name:
                parameter.requires_grad_(False)
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.network(replicated_views(batch, self.task)) + self.offset)


MODELS.register(
    "unetr",
    "96 M parameters, published baseline with a vision transformer",
    source="Hatamizadeh et al. 2022; XrayTo3D benchmark",
    views="any number, fixed at training",
    aliases=("UNETR",),
)(
    ModelSpec(
        UNETRSettings(),
        UNETR,
        Recipe(learning_rate=2e-4, ema=0.0),
        recipes=comparisons(
            rate=2e-4,
            batch_size=1,
            script={"femur": {"batch_size": 4}, "ribs": {"learning_rate": 2e-3}},
        ),
        published="96.2 M (XrayTo3D), 95.77 M with 55 classes (Swin-X2S)",
        narrow=UNETRSettings(features=4, hidden=24, mlp=48, heads=4),
    )
)
