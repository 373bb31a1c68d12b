"""One patient: radiographs and a checkpoint in, labels, meshes and a run description out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from boneray import __version__
from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone, bone_name
from boneray.core.camera import Camera
from boneray.core.case import Case
from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.mesh import Mesh
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.geometry.surface import bone_mesh
from boneray.io.case_folder import write_case
from boneray.io.files import prepare_output, write_json
from boneray.io.meshes import FORMATS, write_mesh
from boneray.models.batch import Batch, camera_matrices, standardised
from boneray.models.checkpoint import TARGET, CheckpointCard, load_checkpoint
from boneray.projection.resize import resized


@dataclass(frozen=True)
class Reconstruction:
    """What one patient gives.

    Attributes:
        labels: bones on the checkpoint's working grid, RAS.
        meshes: surfaces by bone name, RAS mm; a bone the network did not find has none.
        warnings: sentences a user must see.
        seconds: time for the network and the surfaces.
    """

    labels: LabelMap
    meshes: dict[str, Mesh]
    warnings: tuple[str, ...]
    seconds: float


class Reconstructor:
    """A loaded checkpoint, ready for many patients."""

    def __init__(self, network: nn.Module, card: CheckpointCard) -> None:
        self.network = network.eval()
        self.card = card

    @classmethod
    def load(cls, checkpoint: str | Path) -> Reconstructor:
        """From a packaged name, a file or a run folder (see `models.checkpoint`)."""
        return cls(*load_checkpoint(checkpoint))

    def __call__(
        self, radiographs: dict[str, Radiograph], *, target: str = "", centre_mm: ArrayLike | None = None
    ) -> Reconstruction:
        """Labels and meshes of one patient; arguments and errors as for `labels`."""
        start = time.perf_counter()
        labels = self.labels(radiographs, target=target, centre_mm=centre_mm)
        meshes = {bone_name(i): bone_mesh(labels, i) for i in labels.ids}
        warnings = _warnings(labels, self.bone_ids(target), radiographs, self.card)
        return Reconstruction(labels, meshes, tuple(warnings), time.perf_counter() - start)

    @torch.inference_mode()
    def labels(
        self, radiographs: dict[str, Radiograph], *, target: str = "", centre_mm: ArrayLike | None = None
    ) -> LabelMap:
        """The bones of one patient on the working grid.

        Args:
            radiographs: by view, in any order the architecture allows.
            target: which bone a one-bone checkpoint shows (`femur_left`, `L3`).
            centre_mm: middle of the working grid; where the central rays pass closest if None.
        Raises:
            ConfigError: the target is missing or of another anatomy, or views do not fit.
            GeometryError: the grid is not in the pictures.
        """
        ids = self.bone_ids(target)
        centre = meeting_point([r.camera for r in radiographs.values()]) if centre_mm is None else np.asarray(centre_mm)
        grid = self.card.grid_at(centre)
        pictures = [resized(r, self.card.image_shape) for r in radiographs.values()]
        for view, picture in zip(radiographs, pictures, strict=True):
            _require_in_picture(view, picture.camera, grid.centre_mm)
        matrices = [camera_matrices(p.camera, grid) for p in pictures]
        batch = Batch(
            images=torch.from_numpy(np.stack([standardised(p.line_integrals) for p in pictures]))[None, :, None],
            projections=torch.from_numpy(np.stack([p for p, _ in matrices]))[None],
            depths=torch.from_numpy(np.stack([d for _, d in matrices]))[None],
        )
        return self.network(batch).to_labels(grid, ids)[0]

    def bone_ids(self, target: str) -> tuple[int, ...]:
        """Label ids in class order."""
        kind = find_anatomy(self.card.anatomy)
        if self.card.classes != (TARGET,):
            return tuple(bone(name).bone_id for name in self.card.classes)
        if not target:
            raise ConfigError(
                f"this checkpoint shows one {kind.name}; say which bone with --bone ({', '.join(kind.bones[:3])} ...)"
            )
        if bone(target).name not in kind.bones:
            raise ConfigError(f"bone {target} does not belong to this checkpoint's anatomy {kind.name}")
        return (bone(target).bone_id,)

    def require_anatomy(self, anatomy: str) -> None:
        """Raise ConfigError if a case of `anatomy` is given to a checkpoint of another."""
        if anatomy and anatomy != self.card.anatomy:
            raise ConfigError(
                f"the case shows {anatomy}, the checkpoint was trained on {self.card.anatomy}; "
                f"use a checkpoint for {anatomy}"
            )


def meeting_point(cameras: list[Camera]) -> NDArray[np.float64]:
    """The point nearest to all central rays, RAS mm (least squares).

    Raises:
        GeometryError: all central rays are parallel, so there is no such point.
    """
    normal = np.zeros((3, 3))
    right = np.zeros(3)
    for camera in cameras:
        across = np.eye(3) - np.outer(camera.central_ray, camera.central_ray)
        normal += across
        right += across @ camera.source_mm
    if np.linalg.cond(normal) > 1e6:
        raise GeometryError("the central rays of the views are parallel; give the bone's centre with --centre-mm x,y,z")
    return np.asarray(np.linalg.solve(normal, right), dtype=float)


def _require_in_picture(view: str, camera: Camera, centre_mm: NDArray[np.float64]) -> None:
    column, row = camera.project(centre_mm)
    rows, columns = camera.detector_shape
    if not (-0.5 <= column <= columns - 0.5 and -0.5 <= row <= rows - 0.5):
        raise GeometryError(
            f"view {view} does not show the grid's centre {np.round(centre_mm, 1).tolist()} mm; "
            "check its camera or give --centre-mm"
        )


def _warnings(
    labels: LabelMap, ids: tuple[int, ...], radiographs: dict[str, Radiograph], card: CheckpointCard
) -> list[str]:
    out = []
    missing = [bone_name(i) for i in ids if i not in labels.ids]
    if missing:
        out.append(f"not found: {', '.join(missing)}")
    faces = {
        "right": labels.data[-1],
        "left": labels.data[0],
        "anterior": labels.data[:, -1],
        "posterior": labels.data[:, 0],
        "upper": labels.data[:, :, -1],
        "lower": labels.data[:, :, 0],
    }
    for i in labels.ids:
        cut = [side for side, face in faces.items() if (face == i).any()]
        if cut:
            out.append(f"{bone_name(i)} is cut by the grid ({', '.join(cut)})")
    angles = _angles_between(radiographs)
    if angles and min(angles) < 20:
        out.append(f"views are only {min(angles):.0f} degrees apart; depth is poorly determined")
    if len(radiographs) != len(card.views):
        out.append(f"{len(radiographs)} view(s) given, the checkpoint was trained with {len(card.views)}")
    return out


def _angles_between(radiographs: dict[str, Radiograph]) -> list[float]:
    rays = [r.camera.central_ray for r in radiographs.values()]
    return [float(np.rad2deg(np.arccos(np.clip(abs(a @ b), 0, 1)))) for n, a in enumerate(rays) for b in rays[:n]]


def write_reconstruction(
    out: Path,
    result: Reconstruction,
    card: CheckpointCard,
    *,
    case_id: str,
    radiographs: dict[str, Radiograph],
    target: str,
    formats: tuple[str, ...] = ("stl",),
    force: bool = False,
    inputs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a reconstruction as a case folder (its labels are the prediction) with meshes and run.json.

    Raises:
        InputError: the folder holds a run already and `force` is not given.
    """
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise ConfigError(f"mesh format '{unknown[0]}' is unknown; choose of {', '.join(FORMATS)}")
    prepare_output(out, force=force)
    if not result.labels.ids:
        raise DataError("nothing was reconstructed: the network found no bone; check the cameras and the bone's centre")
    for old in (out / "meshes").glob("*"):
        old.unlink()
    for name, mesh in result.meshes.items():
        for kind in formats:
            write_mesh(out / "meshes" / f"{name}.{kind}", mesh)
    provenance = {"made_by": "boneray reconstruct", "labels_are": "prediction", "model": card.model}
    write_case(
        out,
        Case(
            case_id=case_id,
            patient_id=case_id,
            anatomy=card.anatomy,
            target=target,
            labels=result.labels,
            ct=None,
            radiographs=radiographs,
            provenance=provenance,
            licence=card.data_licence,
        ),
    )
    run = {
        "schema": "boneray/run/1",
        "command": "reconstruct",
        "case": case_id,
        "anatomy": card.anatomy,
        "model": card.model,
        "checkpoint": {"classes": card.classes, "training": card.training, "data_licence": card.data_licence},
        "bones": {bone_name(i): int((result.labels.data == i).sum()) for i in result.labels.ids},
        "frame": "RAS+ mm",
        "grid": result.labels.grid.to_dict(),
        "meshes": [f"meshes/{name}.{kind}" for name in result.meshes for kind in formats],
        "warnings": list(result.warnings),
        "seconds": round(result.seconds, 3),
        "inputs": inputs or {},
        "versions": {"boneray": __version__, "torch": torch.__version__},
    }
    write_json(out / "run.json", run)
    return run
