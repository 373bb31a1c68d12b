"""Shape models: the real femora left out one by one, thirty phantom femora, completion from one face and from two."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from boneray.core.camera import orbit_camera
from boneray.core.mesh import Mesh
from boneray.core.seeds import generator
from boneray.geometry.mesh_distance import mesh_assd_mm, vertex_areas_mm2
from boneray.io.meshes import read_mesh
from boneray.projection.mesh_depth import mesh_depth_maps
from boneray.shape.correspondence import aligned
from boneray.shape.files import gias2_members, read_shape_model
from boneray.shape.fit import FitSettings, fit_shape
from boneray.shape.model import shape_model
from boneray.shape.quality import compactness, generalisation_mm, specificity_mm

sys.path.insert(0, str(Path(__file__).parents[1]))

SHARE = 0.1


def real_femora(folder: Path) -> None:
    """Ten members, each left out, from a tenth of its surface."""
    model = read_shape_model(folder / "femur.pc.npz", surface=folder / "femur_mean.ply")
    members = gias2_members(folder / "femur.pc.npz")
    known = read_mesh(folder / "2008_0010_l_corresponded.ply").vertices_mm
    error = np.linalg.norm(model.reconstructed(known) - known, axis=1)
    print(f"2008_0010: {error.mean():.3f} mm mean, {error.max():.1e} mm at most")
    rows: dict[str, list[float]] = {}
    for number, member in enumerate(members):
        left = shape_model(np.delete(members, number, axis=0), model.faces)
        bone = Mesh(member, model.faces)
        some = member[generator(0, "scattered", number).choice(len(member), len(member) // 10, replace=False)]
        order = np.argsort(-member[:, 2])
        area = vertex_areas_mm2(bone)[order]
        upper = member[order[np.cumsum(area) <= SHARE * area.sum()]]
        fits = {
            "mean shape": left.mesh(),
            "best of the model": Mesh(left.reconstructed(member), model.faces),
            "scattered 10 %": fit_shape(left, some).mesh,
            "proximal 10 %, pose known": fit_shape(left, upper, FitSettings(pose=False)).mesh,
            "proximal 10 %, pose fitted": fit_shape(left, upper).mesh,
        }
        for name, mesh in fits.items():
            rows.setdefault(name, []).append(mesh_assd_mm(bone, mesh))
    for name, values in rows.items():
        print(f"{name:27} median {np.median(values):.2f} mm: " + " ".join(f"{v:.2f}" for v in values))


def phantom_femora() -> None:
    """Curves of thirty phantom femora, and their completion from an AP view."""
    from tests.shape.phantom_femora import femora

    meshes, _ = femora(30, voxel_mm=6.0)
    members, faces = aligned(np.stack([m.vertices_mm for m in meshes])), meshes[0].faces
    model = shape_model(members, faces)
    counts = (1, 2, 3, 5, 8, 12, 20)
    share, left_out = compactness(model), generalisation_mm(members, faces)
    specific = specificity_mm(model, members, samples=100)
    print("modes             " + "  ".join(f"{n:5d}" for n in counts))
    print("compactness       " + "  ".join(f"{share[n - 1]:5.3f}" for n in counts))
    print(
        "generalisation mm " + "  ".join(f"{left_out[n]:5.2f}" for n in counts) + f"   (mean shape {left_out[0]:.2f})"
    )
    print("specificity mm    " + "  ".join(f"{specific[n - 1]:5.2f}" for n in counts))
    camera = orbit_camera(0.0, centre_mm=members.mean((0, 1)), detector_shape=(96, 96), detector_mm=(340.0, 340.0))
    for noise_mm in (0.0, 2.0):
        rows = []
        for out in range(0, 30, 3):
            left, bone = shape_model(np.delete(members, out, axis=0), faces), Mesh(members[out], faces)
            cloud = mesh_depth_maps({54: bone}, camera).points(camera)[0]
            noise = generator(0, "noise", out).standard_normal((len(cloud), 1))
            cloud = cloud + noise_mm * noise * camera.central_ray
            halves = ((cloud, "both"), (cloud[: len(cloud) // 2], "front"))
            rows.append(
                [mesh_assd_mm(bone, fit_shape(left, points, FitSettings(faces=seen)).mesh) for points, seen in halves]
            )
        dual, single = np.array(rows).T
        print(
            f"depth noise {noise_mm:.0f} mm: dual-face {dual.mean():.2f} mm, single-face {single.mean():.2f} mm, "
            f"dual-face closer in {(dual < single).sum()} of {len(rows)}"
        )


if __name__ == "__main__":
    phantom_femora()
    data = os.environ.get("BONERAY_TEST_DATA")
    if data:
        real_femora(Path(data) / "ssm_femur_gias2")
    else:
        print("set BONERAY_TEST_DATA for the real femora")
