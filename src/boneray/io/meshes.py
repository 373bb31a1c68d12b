"""Meshes as STL, PLY, OBJ and GLB files, vertices in RAS mm; each file says what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from boneray.core.bones import bone_colour
from boneray.core.errors import InputError
from boneray.core.mesh import Mesh
from boneray.core.purpose import RESEARCH_USE
from boneray.io.files import require_file, write_atomic

FORMATS = ("stl", "ply", "obj", "glb")
HEADER = f"boneray, RAS mm. {RESEARCH_USE}"


def write_mesh(path: Path, mesh: Mesh) -> Path:
    """Write a mesh in the format of the file's suffix, atomically."""
    return write_meshes(path, {path.stem: mesh})


def write_meshes(path: Path, meshes: Mapping[str, Mesh]) -> Path:
    """Write several bones into one file: named parts in OBJ, coloured too in GLB, one surface in STL and PLY."""
    kind = _format(path)
    if not meshes:
        raise InputError(f"mesh file {path} would be empty; there is no bone to write")
    if kind == "glb":
        raw = _glb(meshes)
    elif kind == "obj":
        raw = _obj(meshes)
    else:
        raw = (stl_bytes if kind == "stl" else _ply)(_joined(meshes))
    return write_atomic(path, lambda file: file.write_bytes(raw))


def stl_bytes(mesh: Mesh, header: str = HEADER) -> bytes:
    """The mesh as a binary STL file: 80 bytes of words, then 50 bytes per triangle."""
    rows = np.zeros(len(mesh.faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    rows["normal"] = mesh.face_normals
    rows["corners"] = mesh.vertices_mm[mesh.faces]
    return header.encode()[:80].ljust(80) + np.uint32(len(rows)).astype("<u4").tobytes() + rows.tobytes()


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


def _joined(meshes: Mapping[str, Mesh]) -> Mesh:
    """All surfaces as one, each with vertices of its own."""
    first = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes.values())])
    faces = [mesh.faces + offset for mesh, offset in zip(meshes.values(), first, strict=False)]
    return Mesh(np.concatenate([mesh.vertices_mm for mesh in meshes.values()]), np.concatenate(faces))


def _ply(mesh: Mesh) -> bytes:
    """Binary PLY: vertices in 32-bit numbers, triangles."""
    head = ["ply", "format binary_little_endian 1.0", f"comment {HEADER}", f"element vertex {len(mesh.vertices_mm)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    head += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header", ""]
    rows = np.zeros(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, mesh.faces
    return "\n".join(head).encode() + mesh.vertices_mm.astype("<f4").tobytes() + rows.tobytes()


def _obj(meshes: Mapping[str, Mesh]) -> bytes:
    lines, first = [f"# {HEADER}"], 1
    for name, mesh in meshes.items():
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices_mm]
        lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + first]
        first += len(mesh.vertices_mm)
    return ("\n".join(lines) + "\n").encode()


def _glb(meshes: Mapping[str, Mesh]) -> bytes:
    """One node per bone in its colour; the asset says unit, frame and purpose."""
    import trimesh
    from trimesh.exchange.gltf import export_glb

    scene = trimesh.Scene()
    for name, mesh in meshes.items():
        body = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
        red, green, blue = bone_colour(name)
        body.visual = trimesh.visual.TextureVisuals(
            material=trimesh.visual.material.PBRMaterial(name=name, baseColorFactor=(red, green, blue, 255))
        )
        scene.add_geometry(body, node_name=name, geom_name=name)

    def describe(tree: dict[str, Any]) -> None:
        tree["asset"]["extras"] = {"unit": "mm", "frame": "RAS+", "purpose": RESEARCH_USE}

    return bytes(export_glb(scene, tree_postprocessor=describe))


def _format(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise InputError(f"mesh format '{path.suffix}' is unknown; use {', '.join(FORMATS)}")
    return kind
