"""Attention U-Net on replicated views (Oktay et al. 2018), as run in the XrayTo3D benchmark.

Oktay et al., "Attention U-Net: learning where to look for the pancreas", arXiv 1804.03999;
architecture arguments of the XrayTo3D benchmark (arXiv 2309.13587): MONAI's AttentionUnet, channels
8-16-32-64-128, strides 2, additive attention gates on every skip, batch norm, ReLU, dropout 0.1:
1.479 M parameters with one output channel and two views.

Deliberate deviations: those of `unet.py` (start near background, true orientation and magnification
of the views, standardised pictures).
"""

from __future__ import annotations

from torch import Tensor, nn

from boneray.core.config import Settings
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.inner_maps import InnerMap
from boneray.models.lifting import replicated_views
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import comparisons
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple


class AttentionUNetSettings(Settings):
    """Channels per level; each level halves the grid."""

    channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    dropout: float = 0.1
    start_bias: float = START_BIAS


class AttentionUNet(nn.Module):
    """(B, V, 1, H, W) pictures, replicated into V channels of the working grid, through a gated 3D U-Net."""

    def __init__(self, settings: AttentionUNetSettings, task: Task) -> None:
        from monai.networks.nets import AttentionUnet

        super().__init__()
        levels = len(settings.channels)
        require_multiple("attention_unet", task.grid_shape, 2 ** (levels - 1))
        self.task = task
        self.network = AttentionUnet(
            spatial_dims=3,
            in_channels=task.view_count,
            out_channels=channels_for(task.class_count),
            channels=settings.channels,
            strides=(2,) * (levels - 1),
            dropout=settings.dropout,
        )
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def forward(self, batch: Batch) -> LabelLogits:
        return LabelLogits(self.network(replicated_views(batch, self.task)) + self.offset)

    def inner_maps(self, batch: Batch) -> tuple[InnerMap, ...]:
        """What the gate of each skip multiplies the skip by; the gates are MONAI's, found by their type."""
        from monai.networks.nets.attentionunet import AttentionBlock

        gates = [module for module in self.network.modules() if isinstance(module, AttentionBlock)]
        seen: dict[int, Tensor] = {}
        hooks = [
            gate.psi.register_forward_hook(lambda _module, _given, weights, n=n: seen.update({n: weights}))
            for n, gate in enumerate(gates)
        ]
        try:
            self(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(InnerMap("attention gates", n + 1, "attention", seen[n]) for n in sorted(seen))


MODELS.register(
    "attention_unet",
    "1.5 M parameters, published baseline with attention gates",
    source="Oktay et al. 2018; XrayTo3D benchmark",
    views="any number, fixed at training",
    aliases=("AttentionUNet", "AttentionNet", "Attention-UNet"),
)(
    ModelSpec(
        AttentionUNetSettings(),
        AttentionUNet,
        Recipe(learning_rate=2e-3, ema=0.0),
        recipes=comparisons(rate=2e-3, batch_size=8),
        published="1.5 M (XrayTo3D), 1.48 M with 55 classes (Swin-X2S)",
        channels_last=True,
    )
)
