"""Depth of bones predicted from one radiograph: the picture with its camera in, depth maps in the picture out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from boneray.core.bones import bone
from boneray.core.camera import Camera
from boneray.core.errors import ConfigError, DataError
from boneray.core.radiograph import Radiograph
from boneray.models.batch import Batch, camera_matrices, standardised
from boneray.models.checkpoint import TARGET, load_checkpoint
from boneray.models.depth_prediction import DepthPrediction, MaskPrediction
from boneray.projection.depth import DepthMaps
from boneray.projection.resize import resized
from boneray.reconstruction.radiographs import load_radiographs


@dataclass(frozen=True)
class PredictedDepth:
    """Depth maps, the camera of their pixels, and the names of the bones in their order."""

    maps: DepthMaps
    camera: Camera
    names: tuple[str, ...]


def read_radiograph(
    file: Path, *, camera: Path | None = None, view: str = "", sdd_mm: float | None = None, sod_mm: float | None = None
) -> tuple[Radiograph, tuple[str, ...]]:
    """A film with its camera, and what had to be assumed; arguments and errors as `load_radiographs`."""
    name = view or (camera.stem if camera is not None and camera.suffix.lower() != ".json" else "ap")
    loaded = load_radiographs({name: file}, cameras=[camera] if camera else [], sdd_mm=sdd_mm, sod_mm=sod_mm)
    return loaded.views[name].radiograph, loaded.notes


def predict_depth(
    radiograph: Radiograph,
    checkpoint: Path | str,
    *,
    masks: Path | str | None = None,
    target: str = "",
    centre_depth_mm: float | None = None,
) -> PredictedDepth:
    """Front and back depth of each bone of a checkpoint.

    Args:
        masks: checkpoint of a mask network for the same bones; without it every pixel counts as bone.
        target: which bone a one-bone checkpoint shows; it is only a name here.
        centre_depth_mm: mean depth that all maps together are moved to.
    Raises:
        ConfigError: a checkpoint of another kind, or one that needs several views.
        GeometryError: a parallel beam.
        DataError: no pixel was taken for bone.
    """
    prediction, camera, names = _answer(radiograph, checkpoint)
    if not isinstance(prediction, DepthPrediction):
        raise ConfigError(f"checkpoint {checkpoint} predicts no depth; use one of depth_3ddx")
    if masks is not None:
        found, seen_by, mask_names = _answer(radiograph, masks)
        if not isinstance(found, MaskPrediction):
            raise ConfigError(f"checkpoint {masks} predicts no masks; use one of mask_3ddx")
        if mask_names != names or seen_by.detector_shape != camera.detector_shape:
            raise ConfigError(
                f"checkpoint {masks} is for {', '.join(mask_names)} at {seen_by.detector_shape} pixels, "
                f"{checkpoint} for {', '.join(names)} at {camera.detector_shape}; take two of the same"
            )
        prediction = prediction.masked(found)
    shown = tuple(target or name if name == TARGET else name for name in names)
    ids = tuple(n + 1 if name == TARGET else bone(name).bone_id for n, name in enumerate(shown))
    maps = prediction.to_depth_maps(ids)[0]
    if not maps.valid.any():
        raise DataError("no pixel of the radiograph was taken for bone; check that bone is bright and what it shows")
    if centre_depth_mm is not None:
        maps = maps.centred(centre_depth_mm)
    return PredictedDepth(maps, camera, shown)


@torch.inference_mode()
def _answer(
    radiograph: Radiograph, checkpoint: Path | str
) -> tuple[DepthPrediction | MaskPrediction, Camera, tuple[str, ...]]:
    network, card = load_checkpoint(checkpoint)
    if len(card.views) != 1:
        raise ConfigError(f"checkpoint {checkpoint} needs {len(card.views)} views; depth is predicted from one")
    picture = resized(radiograph, card.image_shape)
    # depth lies in the picture and along its rays: where the grid is does not matter to the network
    ahead = picture.camera.source_mm + 0.7 * picture.camera.source_detector_mm * picture.camera.central_ray
    projection, depth = camera_matrices(picture.camera, card.grid_at(np.asarray(ahead)))
    batch = Batch(
        torch.from_numpy(standardised(picture.line_integrals))[None, None, None],
        torch.from_numpy(projection)[None, None],
        torch.from_numpy(depth)[None, None],
    )
    return network.eval()(batch), picture.camera, card.classes
