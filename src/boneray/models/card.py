"""What is known of a checkpoint besides its weights, and where it lies. Needs no torch.

The card is the JSON beside the weights (see `boneray.models.checkpoint`); an exported ONNX file brings the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.errors import InputError
from boneray.core.grid import Grid
from boneray.io.files import read_json, require_file
from boneray.models.checkpoint_names import named_checkpoint

if TYPE_CHECKING:
    from boneray.models.registry import Task

SCHEMA = "boneray/checkpoint/1"
ONNX_SCHEMA = "boneray/onnx/1"
TARGET = "target"


@dataclass(frozen=True)
class CheckpointCard:
    """All that is known of a checkpoint besides its weights.

    Attributes:
        model: registered name.
        settings: of the model.
        anatomy: what it reconstructs.
        classes: bone names in class order; ("target",) for a one-bone anatomy, where the case
            says which bone it is.
        grid_shape, grid_size_mm: working grid, centred where the case's grid is.
        image_shape: pictures (H, W) as the network sees them.
        views: names of the views it was trained with.
        data_licence: of the training data.
        training: recipe, seed, steps, data name, split hash, validation score.
    """

    model: str
    settings: dict[str, Any]
    anatomy: str
    classes: tuple[str, ...]
    grid_shape: tuple[int, int, int]
    grid_size_mm: tuple[float, float, float]
    image_shape: tuple[int, int]
    views: tuple[str, ...]
    data_licence: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What the network is built for."""
        from boneray.models.registry import Task

        return Task(tuple(self.grid_shape), tuple(self.image_shape), len(self.classes), len(self.views))  # type: ignore[arg-type]

    def grid_at(self, centre_mm: Any) -> Grid:
        """The working grid about a centre, axis-aligned RAS."""
        spacing = [size / n for size, n in zip(self.grid_size_mm, self.grid_shape, strict=True)]
        origin = [c - s * (n - 1) / 2 for c, s, n in zip(centre_mm, spacing, self.grid_shape, strict=True)]
        return Grid(self.grid_shape, tuple(spacing), tuple(origin))  # type: ignore[arg-type]


def find_checkpoint(name_or_file: str | Path) -> Path:
    """The .safetensors file behind a known name, a file or a run folder; a .onnx file is given back itself."""
    path = Path(name_or_file)
    if path.is_dir():
        return require_file(path / "best.safetensors", "checkpoint")
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if path.suffix == ".safetensors" or path.exists():
        file = require_file(path, "checkpoint")
        if file.suffix not in (".safetensors", ".onnx"):
            raise InputError(
                f"checkpoint {file} is not a .safetensors file; other formats can run code and are refused"
            )
        return file
    return named_checkpoint(str(name_or_file))


def read_card(name_or_file: str | Path) -> CheckpointCard:
    """The card alone, without reading the weights."""
    return read_card_file(card_file(find_checkpoint(name_or_file)))[0]


def card_file(file: Path) -> Path:
    """Where the card of a checkpoint lies: NAME.json, of an ONNX file NAME.onnx.json."""
    return file.with_suffix(".onnx.json" if file.suffix == ".onnx" else ".json")


def read_card_file(file: Path) -> tuple[CheckpointCard, str]:
    """The card in a JSON file, and the SHA-256 that it states of what it describes."""
    values = read_json(file, "checkpoint description")
    if values.get("schema") not in (SCHEMA, ONNX_SCHEMA):
        raise InputError(f"checkpoint description {file} has schema {values.get('schema')!r}; {SCHEMA!r} is needed")
    try:
        fields: dict[str, Any] = {k: values[k] for k in CheckpointCard.__dataclass_fields__}
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        card = CheckpointCard(**fields)
        find_anatomy(card.anatomy)
        return card, str(values["sha256"])
    except (KeyError, TypeError) as error:
        raise InputError(f"checkpoint description {file} lacks or misuses {error}") from None
