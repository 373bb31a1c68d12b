"""Meshes as STL, PLY, OBJ and GLB files, vertices in RAS mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boneray.core.errors import InputError
from boneray.core.mesh import Mesh
from boneray.io.files import require_file, write_atomic

FORMATS = ("stl", "ply", "obj", "glb")


def write_mesh(path: Path, mesh: Mesh) -> Path:
    """Write a mesh in the format of the file's suffix, atomically."""
    import trimesh

    kind = _format(path)
    surface = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
    data = surface.export(file_type=kind)
    raw = data.encode() if isinstance(data, str) else data
    return write_atomic(path, lambda file: file.write_bytes(raw))


def read_mesh(path: Path) -> Mesh:
    """Read one surface; STL vertices that coincide are joined.

    Raises:
        InputError: not there, unknown suffix, damaged, or no triangle in it.
    """
    import trimesh

    require_file(path, "mesh")
    kind = _format(path)
    try:
        surface = trimesh.load_mesh(path, file_type=kind, process=False)
        surface.merge_vertices()
        faces = np.asarray(surface.faces, dtype=np.int64)
    except Exception as error:  # trimesh's loaders raise whatever a damaged file provokes
        raise InputError(f"mesh {path} cannot be read as {kind.upper()}: {type(error).__name__}") from None
    if len(faces) == 0:
        raise InputError(f"mesh {path} holds no triangle")
    return Mesh(np.asarray(surface.vertices, dtype=float), faces)


def _format(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise InputError(f"mesh format '{path.suffix}' is unknown; use {', '.join(FORMATS)}")
    return kind
