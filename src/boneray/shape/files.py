"""Shape models on disk: boneray's own .npz, and the .pc.npz of gias2. No pickle is ever loaded."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import DataError, InputError
from boneray.io.files import require_file, write_atomic
from boneray.io.meshes import read_mesh
from boneray.shape.model import SMALLEST_SHARE, ShapeModel

SCHEMA = "boneray/shape-model/1"


def write_shape_model(path: Path, model: ShapeModel) -> Path:
    """Write a model as .npz: schema, name, mean_mm, faces, modes, variances_mm2."""
    if path.suffix != ".npz":
        raise InputError(f"shape model {path} must end in .npz")

    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.savez_compressed(
                stream,
                schema=np.array(SCHEMA),
                name=np.array(model.name),
                mean_mm=model.mean_mm,
                faces=model.faces,
                modes=model.modes,
                variances_mm2=model.variances_mm2,
            )

    return write_atomic(path, write)


def read_shape_model(path: Path, *, surface: Path | None = None) -> ShapeModel:
    """A model from boneray's .npz or gias2's .pc.npz.

    Args:
        surface: a mesh whose faces are those of the model; gias2 keeps none.
    Raises:
        InputError: no such file, damaged, or of another kind; DataError: it contradicts itself.
    """
    require_file(path, "shape model")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2
            with np.load(path, allow_pickle=False) as stored:
                held = {key: stored[key] for key in ARRAYS if key in stored.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"shape model {path} cannot be read: {str(error).splitlines()[0]}") from None
    if "schema" in held:
        if str(held["schema"]) != SCHEMA:
            raise InputError(f"shape model {path} has schema {str(held['schema'])!r}; {SCHEMA!r} is read")
        if missing := {"mean_mm", "faces", "modes", "variances_mm2"} - set(held):
            raise InputError(f"shape model {path} lacks {', '.join(sorted(missing))}")
        return ShapeModel(held["mean_mm"], held["faces"], held["modes"], held["variances_mm2"], str(held["name"]))
    if not {"mean", "modes", "weights"} <= set(held):
        raise InputError(
            f"shape model {path} is neither boneray's nor gias2's: it holds {', '.join(held) or 'nothing'}"
        )
    return _gias2(held, path, surface)


def gias2_members(path: Path) -> NDArray[np.float64]:
    """The training shapes that a gias2 model keeps as projections, (members, n, 3) mm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.load(require_file(path, "shape model"), allow_pickle=False) as stored:
            if "projectedWeights" not in stored.files:
                raise InputError(f"shape model {path} keeps no members (projectedWeights is missing)")
            mean, modes, projected = stored["mean"], stored["modes"], stored["projectedWeights"]
    return np.asarray(mean[:, None] + modes @ projected).T.reshape(projected.shape[1], -1, 3)


ARRAYS = ("schema", "name", "mean_mm", "faces", "modes", "variances_mm2", "mean", "weights", "projectedWeights")


def _gias2(held: dict[str, Any], path: Path, surface: Path | None) -> ShapeModel:
    """mean (3n,), modes (3n, k) and weights (k,): variances of the modes; those of rounding are dropped."""
    mean, modes, variances = (np.asarray(held[key], dtype=float) for key in ("mean", "modes", "weights"))
    if mean.ndim != 1 or modes.shape != (len(mean), len(variances)) or len(mean) % 3:
        raise DataError(f"shape model {path}: mean {mean.shape}, modes {modes.shape}, weights {variances.shape}")
    points = mean.reshape(-1, 3)
    faces = np.empty((0, 3), np.int64)
    if surface is not None:
        mesh = read_mesh(surface)
        if len(mesh.vertices_mm) != len(points):
            raise DataError(f"mesh {surface} has {len(mesh.vertices_mm)} vertices, shape model {path} {len(points)}")
        faces = mesh.faces
    kept = variances > SMALLEST_SHARE * variances.sum()
    return ShapeModel(points, faces, modes.T[kept].reshape(-1, *points.shape), variances[kept], path.name.split(".")[0])
