"""The 3D scene of a case as plain values for the viewer: label volumes and simplified surfaces."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone_colour, bone_name
from boneray.core.errors import DataError
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.report.content import REFERENCE_COLOUR, ReportCase

FACES_PER_MESH = 20_000
FACES_PER_PAGE = 300_000
FEWEST_FACES = 600
LONGEST_EDGE_VOXELS = 256
MZ3_MAGIC, MZ3_FACES_AND_VERTICES = 0x5A4D, 3


def faces_per_mesh(mesh_count: int) -> int:
    """Triangles that each mesh may keep so that a page with `mesh_count` meshes stays small."""
    return int(np.clip(FACES_PER_PAGE // max(1, mesh_count), FEWEST_FACES, FACES_PER_MESH))


def simplified_meshes(meshes: dict[str, Mesh], faces: int) -> dict[str, Mesh]:
    """The meshes with at most about `faces` triangles each; empty ones are left out."""
    from boneray.geometry.surface import simplified

    return {name: simplified(mesh, faces) for name, mesh in meshes.items() if len(mesh.faces)}


def reference_meshes(labels: LabelMap | None, faces: int) -> dict[str, Mesh]:
    """Simplified surfaces of the reference, by bone name."""
    from boneray.geometry.surface import bone_mesh

    if labels is None:
        return {}
    return simplified_meshes({bone_name(i): bone_mesh(labels, i) for i in labels.ids}, faces)


def scene(case: ReportCase, meshes: dict[str, Mesh], reference: dict[str, Mesh]) -> dict[str, Any]:
    """What scene.js draws: `labels`, `meshes` and the same of the `reference`, None when there is none."""
    return {
        "labels": _volume(case.prediction, None),
        "meshes": [_surface(name, mesh, bone_colour(name)) for name, mesh in meshes.items()],
        "reference": None
        if case.reference is None
        else {
            "labels": _volume(case.reference, REFERENCE_COLOUR),
            "meshes": [_surface(name, mesh, REFERENCE_COLOUR) for name, mesh in reference.items()],
        },
    }


def mz3(mesh: Mesh) -> bytes:
    """The surface in NiiVue's compact format, gzip without a time stamp; vertices to 0.01 mm.

    Source: format of Surfice, https://github.com/neurolabusc/surf-ice/tree/master/mz3
    """
    header = struct.pack("<HHIII", MZ3_MAGIC, MZ3_FACES_AND_VERTICES, len(mesh.faces), len(mesh.vertices_mm), 0)
    vertices = np.round(mesh.vertices_mm, 2).astype("<f4")
    return _packed(header + mesh.faces.astype("<i4").tobytes() + vertices.tobytes())


def _surface(name: str, mesh: Mesh, colour: tuple[int, int, int]) -> dict[str, Any]:
    return {"bone": name, "colour": list(colour), "mz3": base64.b64encode(mz3(mesh)).decode()}


def _volume(labels: LabelMap, colour: tuple[int, int, int] | None) -> dict[str, Any]:
    ids = labels.ids
    if len(ids) > 255:
        raise DataError(f"the label map holds {len(ids)} labels; a report shows at most 255 bones")
    colours = [colour or bone_colour(bone_name(i)) for i in ids]
    return {
        "nifti": base64.b64encode(_nifti(labels, ids)).decode(),
        "names": [bone_name(i) for i in ids],
        "colours": [list(c) for c in colours],
    }


def _nifti(labels: LabelMap, ids: tuple[int, ...]) -> bytes:
    """Labels numbered 1, 2 ... in the order of `ids`, coarsened to what a browser shows with ease."""
    data: NDArray[np.uint8] = (np.searchsorted(np.array([0, *ids]), labels.data)).astype(np.uint8)
    stride = -(-max(data.shape) // LONGEST_EDGE_VOXELS)
    affine = labels.grid.world_from_voxel @ np.diag([stride, stride, stride, 1.0])
    image = nib.Nifti1Image(data[::stride, ::stride, ::stride], affine)
    image.header.set_xyzt_units("mm")
    return _packed(image.to_bytes())


def _packed(raw: bytes) -> bytes:
    packer = zlib.compressobj(level=9, wbits=31)
    return packer.compress(raw) + packer.flush()
