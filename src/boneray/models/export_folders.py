"""A checkpoint as a folder for others: a MONAI bundle, or the files of a model hub. Card and licence go along.

MONAI bundle: configs/metadata.json, configs/inference.json (`network_def` gives the network, whose inputs are images,
projections and depths as in `Batch`), models/, docs/README.md, LICENSE. Weights are safetensors, never a pickle, so
boneray is a required package of the bundle; the ONNX file beside them needs none.

Model hub: README.md (model card), config.json, model.safetensors with its JSON, model.onnx with its JSON, LICENSE.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boneray import __version__
from boneray.core.errors import ConfigError
from boneray.core.purpose import DEMONSTRATION, RESEARCH_USE
from boneray.io.files import prepare_output, require_free, write_json, write_text
from boneray.models.card import CheckpointCard, card_file, find_checkpoint
from boneray.models.checkpoint import load_checkpoint
from boneray.models.checkpoint_names import is_demonstration
from boneray.models.cost import sample_batch
from boneray.models.export import INPUTS, Plain, export_onnx

HOLDS = ("config.json", "configs", "README.md")
OPEN_LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "Apache-2.0", "MIT")


def export_bundle(checkpoint: str | Path, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write a MONAI bundle to the folder `out`; returns its metadata with the `difference` found.

    Raises:
        InputError: `out` holds an export already and `force` is not given.
        ConfigError: the network that the bundle gives is not that of the checkpoint.
    """
    return _exported(checkpoint, out, _bundle, force=force)


def export_hub(checkpoint: str | Path, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write a folder for a model hub to `out`; returns its config with the `difference` found. Errors as above."""
    return _exported(checkpoint, out, _hub, force=force)


def bundle_network(checkpoint: str) -> Plain:
    """What `network_def` of a bundle calls: images, projections, depths in, scores out."""
    return Plain(load_checkpoint(Path(checkpoint))[0]).eval()


def _exported(
    checkpoint: str | Path,
    out: Path,
    fill: Callable[[Path, Path, CheckpointCard], tuple[dict[str, Any], Plain]],
    *,
    force: bool,
) -> dict[str, Any]:
    """Fill a folder, compare the network in it, and only then put it at `out`."""
    require_free(out, force=force, holds=HOLDS)
    file = find_checkpoint(checkpoint)
    network, card = load_checkpoint(file)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        facts, again = fill(made, file, card)
        batch = sample_batch(card.task)
        with torch.inference_mode():
            scores = again(*(getattr(batch, name) for name in INPUTS))
            difference = float(np.abs((scores - network(batch).output).numpy()).max())
        if difference != 0.0:
            raise ConfigError(f"the exported {card.model} differs by {difference:.1e}; it is not written")
        prepare_output(out, force=force, holds=HOLDS)
        shutil.copytree(made, out, dirs_exist_ok=True)
    return {**facts, "difference": difference}


def _bundle(folder: Path, file: Path, card: CheckpointCard) -> tuple[dict[str, Any], Plain]:
    from monai.bundle import ConfigParser

    _weights(folder / "models", file)
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": __version__,
        "changelog": {__version__: "exported by boneray"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"boneray": __version__, "safetensors": version("safetensors")},
        "name": f"{card.model}-{card.anatomy}",
        "task": f"reconstruction of {card.anatomy} from {len(card.views)} radiographs",
        "description": f"Labels on a grid from radiographs with known geometry. {RESEARCH_USE}",
        "authors": "boneray maintainers",
        "copyright": "see LICENSE",
        "data_type": "radiographs",
        "intended_use": RESEARCH_USE,
        "network_data_format": {"inputs": _inputs(card), "outputs": _outputs(card)},
    }
    inference = {
        "imports": [],
        "bundle_root": ".",
        "network_def": {
            "_target_": "boneray.models.export_folders.bundle_network",
            "checkpoint": "$@bundle_root + '/models/model.safetensors'",
        },
    }
    write_json(folder / "configs" / "metadata.json", metadata)
    write_json(folder / "configs" / "inference.json", inference)
    write_text(folder / "docs" / "README.md", model_card(card, file))
    write_text(folder / "LICENSE", licence(card))
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser["bundle_root"] = str(folder)
    return metadata, parser.get_parsed_content("network_def")


def _hub(folder: Path, file: Path, card: CheckpointCard) -> tuple[dict[str, Any], Plain]:
    _weights(folder, file)
    config = {"library_name": "boneray", "boneray_version": __version__, "purpose": RESEARCH_USE, **vars(card)}
    write_json(folder / "config.json", config)
    head = "\n".join(
        [
            "---",
            f"license: {'apache-2.0' if card.data_licence in OPEN_LICENCES else 'other'}",
            "library_name: boneray",
            "pipeline_tag: image-to-3d",
            f"tags: [x-ray, bone, 3d-reconstruction, {card.anatomy}]",
            "---",
            "",
        ]
    )
    write_text(folder / "README.md", head + model_card(card, file))
    write_text(folder / "LICENSE", licence(card))
    return config, bundle_network(str(folder / "model.safetensors"))


def _weights(folder: Path, file: Path) -> None:
    """The checkpoint under the name model, and its ONNX file, which is compared as it is made."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "model.safetensors"
    shutil.copy(file, target)
    shutil.copy(card_file(file), card_file(target))
    export_onnx(target, folder / "model.onnx")


def model_card(card: CheckpointCard, file: Path) -> str:
    """What it is, what it was trained on, what it must not be used for; Markdown."""
    score = {name: value for name, value in card.training.items() if name.startswith("validation")}
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in score.items()) or "none stated"
    size = " x ".join(f"{edge:g}" for edge in card.grid_size_mm)
    demonstration = f"\n**{DEMONSTRATION}**\n" if is_demonstration(file) else ""
    return f"""# {card.model}-{card.anatomy}

**{RESEARCH_USE}** It must not be used for diagnosis or treatment.
{demonstration}
Reconstructs {card.anatomy} from radiographs whose geometry is known.

| | |
| --- | --- |
| model | {card.model} |
| classes | {", ".join(card.classes)} |
| working grid | {"x".join(map(str, card.grid_shape))} voxels, {size} mm |
| pictures | {card.image_shape[0]} x {card.image_shape[1]} pixels, standardised |
| views in training | {", ".join(card.views)} |
| training data | {card.training.get("data", "not stated")} |
| licence of the training data | {card.data_licence or "not stated"} |
| steps, seed | {card.training.get("steps", "not stated")}, {card.training.get("seed", "not stated")} |
| score | {shown} |

Inputs, as numbers of 32 bits: `images` (1, views, 1, rows, columns), each with mean 0 and SD 1; `projections`
(1, views, 3, 4) from coordinates of the grid (-1 to 1 between its outer faces) to coordinates of the picture (-1 to 1);
`depths` (1, views, 4). Output: `logits`, scores per voxel; with one class a voxel is bone above 0.

With boneray: `boneray reconstruct --ap ap.dcm --lat lat.dcm --checkpoint model.safetensors --out out`.
"""


def licence(card: CheckpointCard) -> str:
    """Under which terms weights and code stand."""
    data = card.data_licence or "not stated"
    terms = (
        "The weights are licensed under the Apache License, Version 2.0"
        if card.data_licence in OPEN_LICENCES
        else "The weights may be used only as far as the licence of the training data allows"
    )
    return (
        f"{terms}.\nLicence of the training data: {data}.\nThe code that runs them, boneray, is licensed under the "
        f"Apache License, Version 2.0:\nhttps://www.apache.org/licenses/LICENSE-2.0\n\n{RESEARCH_USE}\n"
    )


def _inputs(card: CheckpointCard) -> dict[str, Any]:
    views = len(card.views)

    def one(kind: str, channels: int, shape: list[int]) -> dict[str, Any]:
        return {
            "type": "image" if kind == "image" else "tuples",
            "format": kind,
            "num_channels": channels,
            "spatial_shape": shape,
            "dtype": "float32",
            "value_range": [],
            "is_patch_data": False,
            "channel_def": {str(n): f"view {name}" for n, name in enumerate(card.views)},
        }

    return {
        "images": one("image", views, list(card.image_shape)),
        "projections": one("matrix", views, [3, 4]),
        "depths": one("row", views, [4]),
    }


def _outputs(card: CheckpointCard) -> dict[str, Any]:
    names = card.classes if len(card.classes) == 1 else ("background", *card.classes)
    return {
        "pred": {
            "type": "image",
            "format": "logits",
            "num_channels": len(names),
            "spatial_shape": list(card.grid_shape),
            "dtype": "float32",
            "value_range": [],
            "is_patch_data": False,
            "channel_def": {str(n): name for n, name in enumerate(names)},
        }
    }
