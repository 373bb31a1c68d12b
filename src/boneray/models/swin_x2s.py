"""Swin-X2S: a 2D Swin transformer per view, expanded into volumes, joined by cross attention, one answer per view.

Liu et al., "Swin-X2S: reconstructing 3D shape from 2D biplanar X-ray with Swin transformers".

    frontal pictures (N, I, K), lateral pictures (N, J, K), through the same networks:
    Swin transformer -> maps at strides 2, 4, 8, 16, 32; the pictures themselves are the map at stride 1
    -> each spread along the missing axis with one learnt weight and bias per slice
    -> 3D convolutions at every stride; at stride 32 each view attends to the other
    -> 3D decoder with skips -> scores, once per view; the answer is their mean

Parameters with 55 channels of scores, as the paper counts (without bare parameters: the positions of
the cross attention and the tables of relative positions) and all of them: tiny 32.51 and 32.54 M at
96x96x128; small 129.97 and 130.07 M, base 313.68 and 313.85 M, large 557.58 and 557.80 M at
128x128x160.

The switches of the paper's ablation. It does not say how they are wired; here
    transformer_skip=False  the Swin maps at strides 2 to 16 go nowhere, and neither do their
                            convolutions and skips; the pictures at stride 1 and the map at 32 remain
    conv_skip=False         nothing goes from encoder to decoder beside the bottleneck, and the
                            convolutions above it, which then have no reader, are left out
    pretrained              a .safetensors file for the Swin, "" for none
`cross_loss` and `augmentation` are parts of the recipe: see `without_cross_loss`, `without_augmentation`.

N pictures per view are N channels, so their number and order are fixed at training: first the frontal
group, from the frontal picture on, then the lateral one.

Deliberate deviations: the scores start near background (`start_bias=0` is the paper's); a frontal and
a lateral picture may come in either order; each picture is read at the true orientation and centre
magnification of its camera; pictures are standardised; windows are not shifted where the map fits
into one. Both views go through the shared networks as one batch, which changes nothing but the time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from boneray.core.config import Settings
from boneray.core.errors import ConfigError
from boneray.models.batch import Batch, ViewLogits, channels_for
from boneray.models.inner_maps import InnerMap
from boneray.models.lifting import face, frontal_and_lateral
from boneray.models.pretrained_swin import Adaptation, load_pretrained_swin
from boneray.models.prior import START_BIAS, foreground_prior
from boneray.models.published_recipes import AS_STORED, PAPER_START
from boneray.models.registry import MODELS, ModelSpec, NamedRecipe, Recipe, StoredPairs, Task
from boneray.models.sizes import require_multiple, require_views
from boneray.models.swin import Swin

COARSEST = 32
FRONTAL, LATERAL = 1, 0  # the grid axis that the view looks along


class SwinX2SSettings(Settings):
    """`width`: channels at stride 2; `depths`, `heads`: of the Swin stages; the switches are in the file's head."""

    width: int = 32
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    path_drop: float = 0.2
    transformer_skip: bool = True
    conv_skip: bool = True
    pretrained: str = ""
    patch_adaptation: Adaptation = "published"
    start_bias: float = START_BIAS


class SwinX2S(nn.Module):
    """(B, 2N, 1, H, W) pictures of two groups to scores per view; see the file's head."""

    def __init__(self, settings: SwinX2SSettings, task: Task) -> None:
        from monai.networks.blocks.dynunet_block import UnetResBlock

        super().__init__()
        _require_sizes(task)
        self.settings = settings
        self.task = task
        side, width = task.grid_shape[0], settings.width
        pictures = task.view_count // 2
        self.swin = Swin(
            channels=pictures,
            width=width,
            depths=settings.depths,
            heads=settings.heads,
            patch=2,
            path_drop=settings.path_drop,
            merged=True,
        )
        self.levels = _levels(settings)
        for n in set(range(1, 6)) - set(self.levels):
            self.swin.norms[n - 1] = nn.Identity()  # of a map that nothing reads
        wide = (pictures, *(width << n for n in range(5)))
        out = (width, *wide[1:])
        self.spread = nn.ModuleDict({str(n): Spread(side >> n) for n in self.levels})
        self.encoders = nn.ModuleDict({str(n): UnetResBlock(3, wide[n], out[n], 3, 1, "instance") for n in self.levels})
        tokens = [n // COARSEST for n in task.grid_shape]
        self.exchange = CrossAttention(wide[5], settings.heads[3], tokens[0] * tokens[1] * tokens[2])
        self.decoders = nn.ModuleList(Up(out[n + 1], out[n], skip=n in self.levels) for n in reversed(range(5)))
        self.head = nn.Conv3d(width, channels_for(task.class_count), 1)
        self.register_buffer("offset", foreground_prior(task.class_count, settings.start_bias))

    def initialise(self) -> list[str]:
        """Start the Swin from the file of `pretrained`, if one is named; says what was done."""
        if not self.settings.pretrained:
            return []
        file = Path(self.settings.pretrained)
        done = load_pretrained_swin(self.swin, file, adaptation=self.settings.patch_adaptation)
        return [f"{file.name}: {line}" for line in done.lines()]

    def forward(self, batch: Batch) -> ViewLogits:
        return self.answered(batch)

    def inner_maps(self, batch: Batch) -> tuple[InnerMap, ...]:
        """Of each view and stage what the 2D Swin, the 3D encoder and the 3D decoder give, as in the paper's figure 8.

        A 2D map is as thick as the grid along the rays of its view. Level 1 are the pictures themselves.
        """
        found: list[InnerMap] = []
        self.answered(batch, found)
        return tuple(found)

    def answered(self, batch: Batch, kept: list[InnerMap] | None = None) -> ViewLogits:
        """The prediction; inner maps on the way are added to `kept`."""
        frontal, lateral = self.pictures(batch)
        maps = self.maps(torch.cat([frontal, lateral]))
        frontal_volumes, lateral_volumes = {}, {}
        for n, both in maps.items():
            front, side = both.chunk(2)
            if kept is not None:
                kept += _by_view("2D Swin", n, front.unsqueeze(2 + FRONTAL), side.unsqueeze(2 + LATERAL))
            frontal_volumes[n] = self.spread[str(n)](front, FRONTAL)
            lateral_volumes[n] = self.spread[str(n)](side, LATERAL)
        return ViewLogits.of(torch.stack(self.decode(frontal_volumes, lateral_volumes, kept), dim=1))

    def pictures(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, N, I, K) frontal and (B, N, J, K) lateral pictures, as the grid's middle planes see them."""
        require_views(batch, self.task.view_count)
        n = self.task.view_count // 2
        if n == 1:
            groups = frontal_and_lateral(batch, "swin_x2s")
        else:
            split = [(v[:, :n], v[:, n:]) for v in (batch.images, batch.projections, batch.depths)]
            groups = Batch(*(v[0] for v in split)), Batch(*(v[1] for v in split))
            leaders = torch.stack([g.depths[:, 0] for g in groups], dim=1)
            frontal_and_lateral(Batch(batch.images[:, [0, n]], batch.projections[:, [0, n]], leaders), "swin_x2s")
        return self._seen(groups[0], FRONTAL), self._seen(groups[1], LATERAL)

    def maps(self, pictures: Tensor) -> dict[int, Tensor]:
        """Level -> (B, C, a, b): the pictures themselves at 0, the Swin's maps at 1 to 5; only those that are read."""
        found = [pictures, *self.swin(pictures)]
        return {n: found[n] for n in self.levels}

    def decode(
        self, first: dict[int, Tensor], second: dict[int, Tensor], kept: list[InnerMap] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores of two views from their volumes by level; exchanging the views exchanges the answers."""
        both = {n: self.encoders[str(n)](torch.cat([first[n], second[n]])) for n in self.levels}
        x = self.exchange(both[5])
        for level, up in zip(reversed(range(5)), self.decoders, strict=True):
            x = up(x, both.get(level))
            if kept is not None:
                kept += _by_view("3D decoder", level, *x.chunk(2))
        if kept is not None:
            kept += [found for n, volumes in both.items() for found in _by_view("3D encoder", n, *volumes.chunk(2))]
        one, two = (self.head(x) + self.offset).chunk(2)
        return one, two

    def _seen(self, group: Batch, axis: int) -> Tensor:
        count, pictures = group.images.shape[:2]
        planes, _ = face(
            group.images.flatten(0, 1),
            group.projections.flatten(0, 1),
            axis,
            self.task.grid_shape,
            depths=group.depths.flatten(0, 1),
        )
        return planes.reshape(count, pictures, *planes.shape[2:])


class Spread(nn.Module):
    """A map (B, C, a, b) into a volume along `axis`: slice n is weight[n] * map + bias[n]."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(slices))
        self.bias = nn.Parameter(torch.zeros(slices))

    def forward(self, features: Tensor, axis: int) -> Tensor:
        shape = [1] * 5
        shape[2 + axis] = -1
        return features.unsqueeze(2 + axis) * self.weight.reshape(shape) + self.bias.reshape(shape)


class CrossAttention(nn.Module):
    """(2B, C, i, j, k), one view after the other -> same; each view asks the other."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Conv3d(width, width, 1)
        self.position = nn.Parameter(torch.zeros(1, tokens, width))
        self.norm_in = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm_in(self.embed(x).flatten(2).transpose(1, 2) + self.position)
        other = torch.cat(tokens.chunk(2)[::-1])
        q, k, v = (self._split(f(t)) for f, t in ((self.query, tokens), (self.key, other), (self.value, other)))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.norm_out(self.out(mixed)).transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Tensor) -> Tensor:
        count, n, width = tokens.shape
        return tokens.reshape(count, n, self.heads, width // self.heads).transpose(1, 2)


class Up(nn.Module):
    """Twice the resolution, joined with a skip where there is one, two convolutions with a residual."""

    def __init__(self, coarse: int, fine: int, *, skip: bool) -> None:
        from monai.networks.blocks.dynunet_block import UnetResBlock

        super().__init__()
        self.enlarge = nn.ConvTranspose3d(coarse, fine, 2, 2, bias=False)
        self.block = UnetResBlock(3, 2 * fine if skip else fine, fine, 3, 1, "instance")

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.enlarge(x)
        return self.block(x if skip is None else torch.cat([x, skip], dim=1))


def _by_view(name: str, level: int, frontal: Tensor, lateral: Tensor) -> list[InnerMap]:
    views = (("frontal", frontal), ("lateral", lateral))
    return [InnerMap(f"{name}, {view}", level + 1, "features", values) for view, values in views]


def _levels(settings: SwinX2SSettings) -> tuple[int, ...]:
    """The levels whose volumes are read: see the switches in the file's head."""
    if not settings.conv_skip:
        return (5,)
    return (0, 1, 2, 3, 4, 5) if settings.transformer_skip else (0, 5)


def _require_sizes(task: Task) -> None:
    require_multiple("swin_x2s", task.grid_shape, COARSEST, least=2 * COARSEST)
    i, j, _ = task.grid_shape
    if i != j:
        raise ConfigError(
            f"grid {'x'.join(map(str, task.grid_shape))}: swin_x2s shares its layers between the views and needs the "
            f"first two sizes equal; it takes {max(i, j)}x{max(i, j)}x{task.grid_shape[2]}"
        )
    if task.view_count < 2 or task.view_count % 2:
        raise ConfigError(
            f"swin_x2s takes as many frontal as lateral views, {task.view_count} view(s) are asked for; "
            f"it takes {max(2, task.view_count + 1)}"
        )


AUGMENTED = StoredPairs(copies=1, zoom=0.5, tilt_deg=5.0, shift=(1 / 20, 1 / 20, 1 / 50), intensity=0.1, half_turn=0.5)
"""Zoom 0.5 to 1.5 (TotalSegmentator: 0.75 to 1.25). The released scripts make 1 to 5 copies, by data set."""

_published: dict[str, Any] = {
    **AS_STORED,
    "epochs": 250,
    "batch_size": 1,
    "learning_rate": 3e-5,
    "weight_decay": 0.5,
    "undecayed": ("relative_position_bias_table",),
    "warmup_fraction": 20 / 250,
    "gradient_clip": 1.0,
    "validations": 50,
    "stored_pairs": AUGMENTED,
}
PAPER = Recipe(**_published, loss="dice_ce_kl_sum")
CODE = Recipe(**{**_published, "precision": "16-mixed"}, loss="dice_ce_kl_mean")


def _recipes(code_changes: dict[str, Any], code_source: str) -> dict[str, NamedRecipe]:
    code = CODE.model_copy(update=code_changes)
    plain = code.model_copy(update={"stored_pairs": StoredPairs()})
    ablation = "Swin-X2S paper, table of the ablation, with the values of the scripts"
    return {
        "paper": NamedRecipe(PAPER, "Swin-X2S paper; the cross-view term is a sum over voxels", PAPER_START),
        "code": NamedRecipe(code, code_source, PAPER_START),
        "without_cross_loss": NamedRecipe(code.model_copy(update={"loss": "dice_ce_published"}), ablation, PAPER_START),
        "without_augmentation": NamedRecipe(plain, ablation, PAPER_START),
        "without_transformer_skip": NamedRecipe(code, ablation, {**PAPER_START, "transformer_skip": False}),
        "without_conv_skip": NamedRecipe(code, ablation, {**PAPER_START, "conv_skip": False}),
    }


SCRIPTS = "Swin-X2S scripts; the cross-view term is a mean over voxels and classes, 16-bit"
OWN = Recipe(steps=8000, batch_size=1, learning_rate=3e-4, loss="dice_ce_kl_mean", gradient_clip=1.0, ema=0.0)
_two_six, _two_eighteen = (2, 2, 6, 2), (2, 2, 18, 2)
SIZES: dict[str, tuple[SwinX2SSettings, str, dict[str, Any], str]] = {
    "tiny": (
        SwinX2SSettings(width=32, depths=_two_six, heads=(1, 2, 4, 8)),
        "32.51 M at 96x96x128",
        {},
        f"{SCRIPTS}; tiny runs at 128x128x160 for spines, and for 100 epochs with 10 of warm-up for pelvises",
    ),
    "small": (SwinX2SSettings(width=64, depths=_two_six, heads=(2, 4, 8, 16)), "129.97 M at 128x128x160", {}, SCRIPTS),
    "base": (
        SwinX2SSettings(width=96, depths=_two_eighteen, heads=(3, 6, 12, 24)),
        "313.68 M at 128x128x160",
        {},
        f"{SCRIPTS}; set model.pretrained to a Swin-S trained on ImageNet-22k, as the paper did",
    ),
    "large": (
        SwinX2SSettings(width=128, depths=_two_eighteen, heads=(4, 8, 16, 32)),
        "557.58 M at 128x128x160",
        {"epochs": 1500, "warmup_fraction": 20 / 1500},
        f"{SCRIPTS}; no number of epochs is given, so the scripts' default of 1500 holds",
    ),
}
NARROW = SwinX2SSettings(width=4, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2))

for _size, (_settings, _stated, _changes, _source) in SIZES.items():
    MODELS.register(
        f"swin_x2s_{_size}",
        f"{_stated.split(' at ')[0]} parameters, published: 2D Swin per view, cross attention, an answer per view",
        source="Liu et al., Swin-X2S",
        views="as many frontal as lateral, fixed at training",
        aliases=(f"Swin-X2S-{_size.capitalize()}",),
    )(
        ModelSpec(
            _settings,
            SwinX2S,
            OWN,
            recipes=_recipes(_changes, _source),
            published=f"{_stated} (without bare parameters, 55 channels)",
            narrow=NARROW,
            smallest=2 * COARSEST,
        )
    )
