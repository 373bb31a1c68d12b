"""TL-embedding: a shape code learnt from shapes, then read off the radiographs.

Girdhar et al., "Learning a predictable and generative vector representation for objects", ECCV
2016; architecture of the XrayTo3D benchmark (arXiv 2309.13587): 4,372,897 parameters of the
autoencoder and 2,170,344 of the X-ray encoder at 128^3 with one output channel and two views.

    autoencoder  reference labels + noise -> 3D encoder -> 64 numbers -> 3D decoder -> clean labels
    encoder      radiographs, replicated -> 3D encoder -> 64 numbers -> the decoder, frozen -> labels

The paper has two other steps after the first, and the scripts of the benchmark leave them out:

    latent       the X-ray encoder learns the 64 numbers of the reference (squared distance)
    joint        both networks together: the decoded radiographs and the squared distance

The Swin-X2S comparison trained something else under this name, without shape codes of references:

    end_to_end   radiographs -> 3D encoder -> 64 numbers -> decoder, learnt in one piece

`Recipe.stages` names the stages in order; without training it stands at `encoder`. In evaluation the
answer always comes from the radiographs.

Deliberate deviations: for several bones the autoencoder sees one channel per class; a frozen decoder
works without dropout, as in the scripts; otherwise those of `unet.py`. How the paper weighs its two
joint terms is not stated here: they are added.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, LabelLogits, channels_for
from boneray.models.lifting import replicated_views
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import comparisons
from boneray.models.registry import MODELS, ModelSpec, Recipe, Task
from boneray.models.sizes import require_multiple, require_views

Stage = Literal["autoencoder", "encoder", "latent", "joint", "end_to_end"]
STAGES: tuple[Stage, ...] = ("autoencoder", "encoder", "latent", "joint", "end_to_end")
SCRIPT_STAGES = ("autoencoder", "encoder")
PAPER_STAGES = ("autoencoder", "latent", "joint")


class TLEmbeddingSettings(Settings):
    """`latent`: numbers of the shape code; `noise`: SD on the labels; `sparsity`: weight of the code's mean size."""

    channels: tuple[int, ...] = (8, 16, 32, 64)
    latent: int = 64
    noise: float = 0.1
    sparsity: float = 0.0
    dropout: float = 0.1
    start_bias: float = START_BIAS


class TLEmbedding(nn.Module):
    """(B, V, 1, H, W) pictures to labels through a shape code; see the file's head."""

    def __init__(self, settings: TLEmbeddingSettings, task: Task) -> None:
        super().__init__()
        stride = 2 ** len(settings.channels)
        require_multiple("tl_embedding", task.grid_shape, stride, least=2 * stride)
        self.settings = settings
        self.task = task
        i, j, k = (n // stride for n in task.grid_shape)
        self.coarse = (settings.channels[-1], i, j, k)
        flat = settings.channels[-1] * i * j * k
        channels = channels_for(task.class_count)
        self.shape_encoder = encoder(channels, settings, dropout=settings.dropout)
        self.shape_code = nn.Linear(flat, settings.latent)
        self.unfold = nn.Linear(settings.latent, flat)
        self.decoder = decoder(channels, settings)
        self.xray_encoder = encoder(task.view_count, settings, dropout=0.0)
        self.xray_code = nn.Linear(flat, settings.latent)
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))
        self.stage: Stage = "encoder"
        self.enter("encoder")

    def enter(self, stage: str) -> None:
        """Stand at a training stage: what is not learnt in it gets no gradient.

        Raises:
            ConfigError: no stage of that name.
        """
        if stage not in STAGES:
            raise ConfigError(f"tl_embedding has no stage '{stage}'; choose of {', '.join(STAGES)}")
        self.stage = stage  # type: ignore[assignment]
        learns = {
            "autoencoder": (self.shape_encoder, self.shape_code, self.unfold, self.decoder),
            "encoder": (self.xray_encoder, self.xray_code),
            "latent": (self.xray_encoder, self.xray_code),
            "joint": (
                self.xray_encoder,
                self.xray_code,
                self.shape_encoder,
                self.shape_code,
                self.unfold,
                self.decoder,
            ),
            "end_to_end": (self.xray_encoder, self.xray_code, self.unfold, self.decoder),
        }[stage]
        self.requires_grad_(False)
        for part in learns:
            part.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> TLEmbedding:
        """Training mode for what is learnt at this stage; a frozen part stays in evaluation mode."""
        super().train(mode)
        if mode and self.stage in ("encoder", "latent"):
            for part in (self.shape_encoder, self.shape_code, self.unfold, self.decoder):
                part.eval()
        return self

    def forward(self, batch: Batch) -> LabelLogits:
        if not self.training or self.stage in ("encoder", "end_to_end"):
            return LabelLogits(self.decode(self.code_of_radiographs(batch)))
        labels = self._labels(batch)
        if self.stage == "autoencoder":
            code = self.code_of_labels(labels + self.settings.noise * torch.randn_like(labels))
            return LabelLogits(self.decode(code), penalty=self.settings.sparsity * code.abs().mean())
        code = self.code_of_radiographs(batch)
        distance = (code - self.code_of_labels(labels)).square().sum(dim=1).mean()
        if self.stage == "joint":
            return LabelLogits(self.decode(code), penalty=distance)
        with torch.no_grad():  # shown, not learnt from
            logits = self.decode(code)
        return LabelLogits(logits, penalty=distance)

    def code_of_radiographs(self, batch: Batch) -> Tensor:
        """(B, latent) the shape code that the X-ray encoder reads."""
        return self.xray_code(self.xray_encoder(replicated_views(batch, self.task)).flatten(1))

    def code_of_labels(self, labels: Tensor) -> Tensor:
        """(B, latent) the shape code of labels (B, C, I, J, K), one channel per class with background, or one bone."""
        return self.shape_code(self.shape_encoder(labels).flatten(1))

    def decode(self, code: Tensor) -> Tensor:
        """(B, latent) -> (B, C, I, J, K) scores."""
        return self.decoder(self.unfold(code).reshape(-1, *self.coarse)) + self.offset

    def _labels(self, batch: Batch) -> Tensor:
        require_views(batch, self.task.view_count)
        if batch.classes is None:
            raise ConfigError(f"stage {self.stage} of tl_embedding learns from references, and the batch has none")
        if self.task.class_count == 1:
            return batch.classes[:, None].to(batch.images.dtype)
        one_hot = functional.one_hot(batch.classes, self.task.class_count + 1)
        return one_hot.movedim(-1, 1).to(batch.images.dtype)


def encoder(channels: int, settings: TLEmbeddingSettings, *, dropout: float) -> nn.Sequential:
    """3x3x3 convolutions with stride 2, instance norm, ReLU."""
    from monai.networks.blocks import Convolution

    widths = (channels, *settings.channels)
    return nn.Sequential(
        *(Convolution(3, a, b, strides=2, act="RELU", norm="INSTANCE", dropout=dropout) for a, b in pairwise(widths))
    )


def decoder(channels: int, settings: TLEmbeddingSettings) -> nn.Sequential:
    """The encoder's mirror image in transposed convolutions; the last one is bare."""
    from monai.networks.blocks import Convolution

    widths = settings.channels[::-1]
    layers: list[nn.Module] = [
        Convolution(3, a, b, strides=2, is_transposed=True, act="RELU", norm="INSTANCE", dropout=settings.dropout)
        for a, b in pairwise(widths)
    ]
    return nn.Sequential(*layers, Convolution(3, widths[-1], channels, strides=2, is_transposed=True, conv_only=True))


_recipes = comparisons(
    rate=2e-3,
    batch_size=8,
    script_rate=2e-4,
    paper_stages=PAPER_STAGES,
    script_stages=SCRIPT_STAGES,
    steps_per_stage=5000,
)
for _name in ("swin_x2s_paper", "swin_x2s_code"):
    _given = _recipes[_name]
    _recipes[_name] = replace(_given, recipe=_given.recipe.model_copy(update={"stages": ("end_to_end",)}))

MODELS.register(
    "tl_embedding",
    "6.5 M parameters, published baseline: a shape code read off the radiographs",
    source="Girdhar et al. 2016; XrayTo3D benchmark",
    views="any number, fixed at training",
    aliases=("TL-Embedding", "TL", "TLPredictor"),
)(
    ModelSpec(
        TLEmbeddingSettings(),
        TLEmbedding,
        Recipe(steps=4000, learning_rate=2e-3, ema=0.0, stages=SCRIPT_STAGES),
        recipes=_recipes,
        published="6.6 M (XrayTo3D); 53.65 M (Swin-X2S: its columns are swapped, 4.38 M and 53.65 GFLOP)",
    )
)
