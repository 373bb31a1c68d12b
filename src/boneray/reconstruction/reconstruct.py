"""One patient: radiographs and a checkpoint in, labels, meshes and a run description out."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone, bone_name, bone_side
from boneray.core.camera import Camera
from boneray.core.case import Case
from boneray.core.errors import ConfigError, DataError, GeometryError
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.purpose import DEMONSTRATION, RESEARCH_USE
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap, Volume
from boneray.geometry.surface import faithful_meshes, fragments
from boneray.io.case_folder import write_case
from boneray.io.files import prepare_output, write_json
from boneray.io.meshes import FORMATS, write_mesh, write_meshes
from boneray.io.nifti import write_volume
from boneray.models.card import TARGET, CheckpointCard, card_file, find_checkpoint, read_card_file
from boneray.models.checkpoint_names import is_demonstration
from boneray.models.network_input import network_input
from boneray.projection.resize import resized
from boneray.reconstruction.film_values import cut_to_grid
from boneray.reconstruction.runtime import Network, load_network, versions
from boneray.reconstruction.sides import (
    as_learnt,
    mirrored_labels,
    mirrored_mesh,
    mirrored_radiograph,
    other_side,
    side_of,
)

if TYPE_CHECKING:
    from torch import nn

TOGETHER = "bones"
ADDED = ("measurements.json", "preview.png", "report.html")  # of an earlier run they would be of other bones
INTENSITIES = "intensities.nii.gz"


@dataclass(frozen=True)
class Reconstruction:
    """What one patient gives.

    Attributes:
        labels: bones on the checkpoint's working grid, RAS.
        meshes: surfaces by bone name, RAS mm; a bone the network did not find has none.
        warnings: sentences a user must see.
        seconds: time for the network and the surfaces.
        intensities: HU on the working grid, of a model that predicts them; None otherwise.
        scale: by name what turned its z-scores into HU, and the threshold of the labels.
    """

    labels: LabelMap
    meshes: dict[str, Mesh]
    warnings: tuple[str, ...]
    seconds: float
    intensities: Volume | None = None
    scale: dict[str, float] = field(default_factory=dict)


class Reconstructor:
    """A loaded checkpoint, ready for many patients."""

    def __init__(self, network: nn.Module | Network, card: CheckpointCard, file: Path | None = None) -> None:
        if hasattr(network, "state_dict"):  # a module of torch, which is then here already
            from boneray.reconstruction.torch_runtime import TorchNetwork

            network = TorchNetwork(network)
        self.runtime: Network = network
        self.network: Any = getattr(network, "network", network)
        self.card = card
        self.file = file

    @classmethod
    def load(cls, checkpoint: str | Path, *, runtime: str = "auto") -> Reconstructor:
        """From a name, a file or a run folder (see `models.card`), run by `runtime` (see `reconstruction.runtime`)."""
        return cls(*load_network(checkpoint, runtime), find_checkpoint(checkpoint))

    @property
    def is_demonstration(self) -> bool:
        """Whether the checkpoint has only seen phantoms."""
        return self.file is not None and is_demonstration(self.file)

    def about(self) -> dict[str, Any]:
        """Checkpoint and runtime for run.json."""
        card: dict[str, Any] = {
            "classes": self.card.classes,
            "training": self.card.training,
            "data_licence": self.card.data_licence,
            "demonstration": self.is_demonstration,
        }
        if self.file is not None:
            card |= {"file": self.file.name, "sha256": read_card_file(card_file(self.file))[1]}
        threads = getattr(self.runtime, "threads", None)
        return {"checkpoint": card, "runtime": {"name": getattr(self.runtime, "name", ""), "threads": threads}}

    def __call__(
        self, radiographs: dict[str, Radiograph], *, target: str = "", centre_mm: ArrayLike | None = None
    ) -> Reconstruction:
        """Labels and meshes of one patient; arguments and errors as for `labels`."""
        start = time.perf_counter()
        if self.must_mirror(target):
            return self._through_the_mirror(radiographs, target, self.centre_mm(radiographs, centre_mm))
        prediction, grid = self.prediction(radiographs, target=target, centre_mm=centre_mm)
        labels = prediction.to_labels(grid, self.bone_ids(target))[0]
        meshes = faithful_meshes(labels)
        warnings = _warnings(labels, self.bone_ids(target), radiographs, self.card)
        if self.is_demonstration:
            warnings.append(DEMONSTRATION)
        volume, scale = None, {}
        if hasattr(prediction, "to_volumes"):
            volume, scale = prediction.to_volumes(grid)[0], prediction.scale()
        return Reconstruction(labels, meshes, tuple(warnings), time.perf_counter() - start, volume, scale)

    def labels(
        self, radiographs: dict[str, Radiograph], *, target: str = "", centre_mm: ArrayLike | None = None
    ) -> LabelMap:
        """The bones of one patient on the working grid; arguments and errors as for `prediction`."""
        if self.must_mirror(target):
            centre = self.centre_mm(radiographs, centre_mm)
            mirrored = {view: mirrored_radiograph(r, centre[0]) for view, r in radiographs.items()}
            return mirrored_labels(self.labels(mirrored, target=other_side(target), centre_mm=centre), centre[0])
        prediction, grid = self.prediction(radiographs, target=target, centre_mm=centre_mm)
        return prediction.to_labels(grid, self.bone_ids(target))[0]

    def prediction(
        self, radiographs: dict[str, Radiograph], *, target: str = "", centre_mm: ArrayLike | None = None
    ) -> tuple[Any, Grid]:
        """What the network answers for one patient (see `Prediction`, `Scores`), and the working grid.

        Args:
            radiographs: by view, in any order the architecture allows.
            target: which bone a one-bone checkpoint shows (`femur_left`, `L3`).
            centre_mm: middle of the working grid; where the central rays pass closest if None.
        Raises:
            ConfigError: the target is missing or of another anatomy, or views do not fit.
            GeometryError: the grid is not in the pictures.
        """
        self.bone_ids(target)
        grid = self.card.grid_at(self.centre_mm(radiographs, centre_mm))
        pictures = [resized(cut_to_grid(r, grid), self.card.image_shape) for r in radiographs.values()]
        for view, picture in zip(radiographs, pictures, strict=True):
            _require_in_picture(view, picture.camera, grid.centre_mm)
        shown = network_input(dict(zip(radiographs, pictures, strict=True)), grid)
        return self.runtime(as_learnt(shown, [picture.camera for picture in pictures], self.card)), grid

    def must_mirror(self, target: str) -> bool:
        """Whether the checkpoint knows the other side of the target only and is shown a mirror image."""
        known = side_of(self.card)
        return bool(target and known) and bone_side(target) not in ("none", known)

    @staticmethod
    def centre_mm(radiographs: dict[str, Radiograph], centre_mm: ArrayLike | None = None) -> NDArray[np.float64]:
        """Middle of the working grid: as given, or where the central rays pass closest."""
        if centre_mm is not None:
            return np.asarray(centre_mm, dtype=float)
        return meeting_point([r.camera for r in radiographs.values()])

    def _through_the_mirror(
        self, radiographs: dict[str, Radiograph], target: str, centre_mm: NDArray[np.float64]
    ) -> Reconstruction:
        """What the mirror image of the patient gives, reflected back."""
        x_mm = float(centre_mm[0])
        mirrored = {view: mirrored_radiograph(r, x_mm) for view, r in radiographs.items()}
        seen = self(mirrored, target=other_side(target), centre_mm=centre_mm)
        labels = mirrored_labels(seen.labels, x_mm)
        volume = seen.intensities
        if volume is not None:
            volume = Volume(np.ascontiguousarray(volume.data[::-1]), labels.grid)
        return replace(
            seen,
            labels=labels,
            meshes={other_side(name): mirrored_mesh(mesh, x_mm) for name, mesh in seen.meshes.items()},
            warnings=(
                *_warnings(labels, self.bone_ids(target), radiographs, self.card),
                *([DEMONSTRATION] if self.is_demonstration else []),
            ),
            intensities=volume,
        )

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
    for name, sizes in fragments(labels).items():
        out.append(f"{name} has {len(sizes)} loose fragment(s) of {', '.join(map(str, sizes[:5]))} voxels")
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
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a reconstruction as a case folder (its labels are the prediction) with meshes and run.json.

    `more` are further entries of run.json.

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
    together = formats if len(result.meshes) > 1 else ()
    for kind in together:
        write_meshes(out / "meshes" / f"{TOGETHER}.{kind}", result.meshes)
    for name in (INTENSITIES, *ADDED):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "dicom", ignore_errors=True)
    if result.intensities is not None:
        write_volume(out / INTENSITIES, result.intensities)
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
        "purpose": RESEARCH_USE,
        "command": "reconstruct",
        "case": case_id,
        "anatomy": card.anatomy,
        "model": card.model,
        "checkpoint": {"classes": card.classes, "training": card.training, "data_licence": card.data_licence},
        "bones": {bone_name(i): int((result.labels.data == i).sum()) for i in result.labels.ids},
        "frame": "RAS+ mm",
        "grid": result.labels.grid.to_dict(),
        "meshes": [
            *(f"meshes/{name}.{kind}" for name in result.meshes for kind in formats),
            *(f"meshes/{TOGETHER}.{kind}" for kind in together),
        ],
        "warnings": list(result.warnings),
        "seconds": round(result.seconds, 3),
        "inputs": inputs or {},
        **(more or {}),
        "versions": versions(),
    }
    if result.intensities is not None:
        run["intensities"] = {"file": INTENSITIES, "unit": "HU", **result.scale}
    write_json(out / "run.json", run)
    return run
