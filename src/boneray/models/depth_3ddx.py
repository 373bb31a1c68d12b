"""3DDX: front and back depth of every bone from one radiograph.

Gu, Otake, Uemura, Takao, Soufi, Okada, Sugano, Talbot, Sato, "3DDX: bone surface reconstruction from a
single standard-geometry radiograph via dual-face depth estimation", MICCAI 2024. Only its losses were
published as code; the decoder is that of BMD-GAN as the paper says.

    encoder   NFNet-F0 (`nfnet.py`), features at 1/4, 1/8, 1/16, 1/32
    fusion    all resized to 1/4 (bilinear, corners aligned), joined; 7x7 in groups to 512, norm, ReLU; 1x1 to 256
    decoder   twice: 3x3 transposed convolution with stride 2, group norm, ReLU; 256 -> 128 -> 64
    head      7x7 with mirrored borders -> one map per bone and face; softplus makes it a positive depth

Decided here, because the paper is silent: the 7x7 has 32 groups; the norms are group norms of 32; depths
are counted along the ray from the source; at the start every pixel has `start_mm`, the usual distance
from source to body, and `sensitivity` scales the numbers of the head. `faces` front is the single-face
network (4 maps of two hips and two femora instead of 8). With several views all pictures are channels
and the depths are those of the first one.

Recipe: CASI map by map (the paper's best), AdamW 2e-4, warm restarts after 10, 20, 40 ... epochs, 630
epochs, RandAugment on intensities and in the plane of the picture.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.models.batch import Batch
from boneray.models.depth_prediction import DepthPrediction, first_view, positive_depth
from boneray.models.nfnet import NFNet, NFNetSettings, load_timm
from boneray.models.registry import MODELS, CameraMixture, ModelSpec, NamedRecipe, Recipe, Task
from boneray.models.sizes import require_multiple
from boneray.projection.in_plane import RandAugment

SHRINK = 32


class Depth3DDXSettings(Settings):
    """See the top of the file. `pretrained`: .safetensors of timm's dm_nfnet_f0, or of `boneray pretrain`."""

    encoder: NFNetSettings = NFNetSettings()
    faces: Literal["both", "front"] = "both"
    fused: int = Field(512, ge=4)
    decoder: tuple[int, int, int] = (256, 128, 64)
    groups: int = Field(32, ge=1)
    start_mm: float = Field(1000.0, gt=0)
    sensitivity: float = Field(0.1, gt=0)
    pretrained: Path | None = None


class Depth3DDX(nn.Module):
    """(B, V, 1, H, W) -> (B, bones x faces, H, W) mm along the rays of the first view."""

    def __init__(self, settings: Depth3DDXSettings, task: Task) -> None:
        super().__init__()
        require_multiple("depth_3ddx", task.image_shape, SHRINK, what="picture")
        self.settings, self.task = settings, task
        self.encoder = NFNet(task.view_count, settings.encoder)
        before, (wide, middle, narrow) = sum(settings.encoder.widths), settings.decoder
        fused = settings.fused
        self.fusion = nn.Sequential(
            nn.Conv2d(before, fused, 7, padding=3, groups=math.gcd(settings.groups, before, fused)),
            group_norm(fused),
            nn.ReLU(),
            nn.Conv2d(fused, wide, 1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(wide, middle, 3, 2, 1, output_padding=1),
            group_norm(middle),
            nn.ReLU(),
            nn.ConvTranspose2d(middle, narrow, 3, 2, 1, output_padding=1),
            group_norm(narrow),
            nn.ReLU(),
        )
        maps = task.class_count * (2 if settings.faces == "both" else 1)
        self.head = nn.Conv2d(narrow, maps, 7, padding=3, padding_mode="reflect")

    def initialise(self) -> list[str]:
        """Start the encoder from published weights, if any are named; says what became of them."""
        if self.settings.pretrained is None:
            return []
        return [f"encoder: {line}" for line in load_timm(self.encoder, self.settings.pretrained).lines()]

    def forward(self, batch: Batch) -> DepthPrediction:
        pictures = first_view(batch, self.task.view_count)
        require_multiple("depth_3ddx", pictures.shape[-2:], SHRINK, what="picture")
        levels = self.encoder.features(pictures)
        size = levels[0].shape[-2:]
        joined = [functional.interpolate(level, size=size, mode="bilinear", align_corners=True) for level in levels[1:]]
        raw = self.head(self.decoder(self.fusion(torch.cat([levels[0], *joined], dim=1))))
        depths = positive_depth(raw, self.settings.start_mm, self.settings.sensitivity)
        return DepthPrediction(depths, self.task.class_count, batch.projections[:, 0])


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups, or as many as fit."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


NARROW = Depth3DDXSettings(
    encoder=NFNetSettings(stem=16, widths=(16, 24, 32, 32), depths=(1, 1, 1, 1), group=8),
    fused=32,
    decoder=(32, 24, 16),
    groups=8,
)
TRAINING = {
    "epochs": 630,
    "batch_size": 8,
    "learning_rate": 2e-4,
    "schedule": "sgdr",
    "restarts": 6,  # of 10, 20, 40 ... epochs
    "warmup_fraction": 0.0,
    "ema": 0.0,
    "mirror": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
    "randaugment": RandAugment(operations=2),
    "cameras": CameraMixture(jittered=0.0, turned=0.0),
}


def as_published(loss: str) -> NamedRecipe:
    """The paper's training with one of its losses; the batch size is not stated there, 8 is taken."""
    return NamedRecipe(Recipe(**TRAINING, loss=loss), "3DDX, implementation details; batch size and decay not stated")


MODELS.register(
    "depth_3ddx",
    "front and back depth of bones from one radiograph",
    source="Gu et al. 2024, 3DDX",
    views="one",
    aliases=("3DDX",),
)(
    ModelSpec(
        Depth3DDXSettings(),
        Depth3DDX,
        Recipe(
            steps=2000,
            learning_rate=1e-3,
            loss="casi_indep",
            ema=0.0,
            mirror=0.5,
            cameras=CameraMixture(jittered=0.0, turned=0.0),
        ),
        learns="depth_maps",
        recipes={
            "paper": as_published("casi_indep"),
            "paper_si": as_published("si_indep"),
            "paper_casi_dep": as_published("casi_dep"),
        },
        narrow=NARROW,
        published="encoder NFNet-F0, 71.5 million with its classifier",
    )
)
