"""What it costs to measure one bone, on one core (no peer: the bar is a time)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clock import compare, report
from boneray.core.bones import BONES
from boneray.core.grid import Grid
from boneray.core.mesh import Mesh
from boneray.core.volume import LabelMap
from boneray.geometry.interior import inside


def vertebra() -> None:
    """One vertebra, all measurements: from a 1 and a 1.5 mm mask and from a mesh (bar: 1 s each)."""
    from boneray.geometry.surface import bone_mesh
    from boneray.morphometry.measure import measure, measure_mesh
    from boneray.phantom.patient import make_patient

    cases = {voxels: make_patient("vertebra", seed=0, number=1, voxels=voxels) for voxels in (96, 64)}
    fine = cases[96]
    mesh = bone_mesh(fine.labels, BONES[fine.target].bone_id)
    runs = {
        "vertebra, 1 mm mask": lambda: measure(fine.labels, "vertebra"),
        "vertebra, 1.5 mm mask": lambda: measure(cases[64].labels, "vertebra"),
        f"vertebra, mesh of {len(mesh.faces)} faces": lambda: measure_mesh(mesh, fine.target, "vertebra"),
    }
    report("all measurements of a vertebra (bar 1 s)", compare(runs, rounds=5))


def rib() -> None:
    """One rib, all measurements: from a 1, a 1.5 and a 2.5 mm mask and from a mesh (bar: 0.5 s each)."""
    from boneray.geometry.surface import bone_mesh
    from boneray.morphometry.measure import measure, measure_mesh
    from boneray.phantom.patient import make_patient

    case = make_patient("ribs", seed=0, number=1, voxels=180)
    mesh = bone_mesh(case.labels, BONES["rib_left_7"].bone_id)
    masks = {spacing_mm: _voxels(mesh, spacing_mm, BONES["rib_left_7"].bone_id) for spacing_mm in (1.0, 1.5, 2.5)}
    runs = {f"rib, {mm} mm mask": lambda labels=labels: measure(labels, "ribs") for mm, labels in masks.items()}
    runs[f"rib, mesh of {len(mesh.faces)} faces"] = lambda: measure_mesh(mesh, "rib_left_7", "ribs")
    report("all measurements of a rib (bar 0.5 s)", compare(runs, rounds=5))


def femur() -> None:
    """One whole femur, all measurements: from a mesh (bar: 2 s) and from a 1 mm mask (bar: 5 s)."""
    from boneray.geometry.surface import bone_mesh, simplified
    from boneray.morphometry.measure import measure, measure_mesh

    mask = _ball_and_shaft()
    mesh = simplified(bone_mesh(mask, BONES["femur_right"].bone_id), 30_000)
    runs = {
        f"femur, mesh of {len(mesh.faces)} faces": lambda: measure_mesh(mesh, "femur_right", "femur"),
        "femur, 1 mm mask of 420 mm": lambda: measure(mask, "femur"),
    }
    report("all measurements of a femur (bars 2 and 5 s)", compare(runs, rounds=5))
    print(f"  a process that reads and measures the mask: {_peak_mb(mask, 'femur'):.0f} MB (bar 1000 MB)")


def pelvis() -> None:
    """One pelvis, all measurements: from a 1 mm mask (bar: 5 s), and in a pose nobody knows (bar: 15 s)."""
    from boneray.geometry.surface import bone_mesh
    from boneray.morphometry.measure import measure, measure_meshes
    from boneray.phantom.patient import make_patient

    labels = make_patient("pelvis", seed=0, number=1, voxels=320).labels
    names = ("sacrum", "hip_right", "hip_left")
    meshes = {name: bone_mesh(labels, BONES[name].bone_id) for name in names}
    upside_down = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
    lying = {name: Mesh(mesh.vertices_mm @ upside_down.T, mesh.faces) for name, mesh in meshes.items()}
    turned = Grid(labels.grid.shape, (1.0,) * 3, labels.grid.origin_mm, tuple(upside_down.ravel()))
    runs = {
        "pelvis, 1 mm mask": lambda: measure(labels, "pelvis"),
        "pelvis, 1 mm mask, unknown pose": lambda: measure(LabelMap(labels.data, turned), "pelvis"),
        "pelvis, full meshes, unknown pose": lambda: measure_meshes(lying, "pelvis"),
    }
    report("all measurements of a pelvis (bars 5 and 15 s)", compare(runs, rounds=3))
    print(f"  a process that reads and measures the mask: {_peak_mb(labels, 'pelvis'):.0f} MB (bar 1000 MB)")


def _peak_mb(labels: LabelMap, anatomy: str) -> float:
    """Largest resident size (Linux) of a fresh process that reads a label map and measures it."""
    from boneray.io.nifti import write_labels

    code = (
        "import sys; from pathlib import Path; from boneray.io.nifti import read_labels;"
        "from boneray.morphometry.measure import measure; measure(read_labels(Path(sys.argv[1])), sys.argv[2]);"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii.gz"
        write_labels(path, labels)
        done = subprocess.run([sys.executable, "-c", code, str(path), anatomy], capture_output=True, check=True)
    return float(done.stdout) / 1024


def _ball_and_shaft() -> LabelMap:
    """A whole femur of balls and capsules at 1 mm: head, neck, trochanter, shaft and condyles."""
    grid = Grid((130, 110, 430), (1.0,) * 3, (-35.0, -55.0, -395.0))
    points = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)).astype(
        np.float32
    )
    joint = np.array([42.0, 0.0, -30.0])
    along = np.clip(points @ joint / (joint @ joint), 0, 1)[..., None]
    bone = (np.linalg.norm(points, axis=-1) < 23.5) | (np.linalg.norm(points - along * joint, axis=-1) < 14)
    shaft = np.linalg.norm(points[..., :2] - joint[:2], axis=-1) < 15
    bone |= shaft & (points[..., 2] < joint[2]) & (points[..., 2] > -370)
    bone |= np.linalg.norm((points - joint - (10.0, 0.0, 6.0)) / (22.0, 17.0, 30.0), axis=-1) < 1
    for x in (18.0, 66.0):
        bone |= np.linalg.norm(points - (x, -16.0, -355.0), axis=-1) < 20
    bone |= np.linalg.norm((points - (42.0, -6.0, -345.0)) / (38.0, 20.0, 28.0), axis=-1) < 1
    return LabelMap((bone * BONES["femur_right"].bone_id).astype(np.uint8), grid)


def _voxels(mesh: Mesh, spacing_mm: float, bone_id: int) -> LabelMap:
    """The voxels inside a mesh, in its own box."""
    low, high = mesh.vertices_mm.min(axis=0) - 3 * spacing_mm, mesh.vertices_mm.max(axis=0) + 3 * spacing_mm
    grid = Grid(tuple(np.ceil((high - low) / spacing_mm).astype(int)), (spacing_mm,) * 3, tuple(low))
    return LabelMap((inside(mesh, grid) * bone_id).astype(np.uint8), grid)


VERTEBRAL = (
    "anterior_body_height_mm",
    "posterior_body_height_mm",
    "superior_body_length_mm",
    "inferior_body_length_mm",
    "canal_length_mm",
    "wedge_angle_deg",
)


def vertebra_accuracy(patients: int = 200) -> None:
    """Measured minus true over phantom vertebrae: mean, standard deviation, 95th percentile and largest."""
    from boneray.morphometry.measure import measure
    from boneray.phantom.patient import make_patient

    for deformity, voxels in [("none", 96), ("none", 64), ("none", 48), ("none", 39), ("wedge", 96), ("crush", 96)]:
        count = patients if deformity == "none" else patients // 4
        errors, statuses = [], []
        for number in range(count):
            case = make_patient("vertebra", seed=11, number=number, voxels=voxels, deformity=deformity)
            found = {m.name: m for m in measure(case.labels, "vertebra")}
            truth = {m.name: m.value for m in case.truth}
            values = {name: found[name].value for name in VERTEBRAL}
            errors.append([np.nan if values[n] is None else values[n] - truth[n] for n in VERTEBRAL])
            if found["bone_volume_mm3"].status == "ok":
                statuses += [m.status == "ok" for m in found.values()]
        print(
            f"\n{count} vertebrae ({deformity}) at {96 / voxels:.2f} mm; ok {np.mean(statuses):.1%} of complete bones"
        )
        _print_errors(VERTEBRAL, np.array(errors))


def rib_accuracy(patients: int = 20) -> None:
    """Relative error of the arc length over the ribs of phantom patients."""
    from boneray.morphometry.measure import measure
    from boneray.phantom.patient import make_patient

    for voxels in (240, 180, 144):
        errors = []
        for number in range(patients):
            case = make_patient("ribs", seed=11, number=number, voxels=voxels)
            found = {(m.bone, m.name): m.value for m in measure(case.labels, "ribs")}
            errors += [[100 * (found[m.bone, m.name] / m.value - 1)] for m in case.truth]
        print(f"\n{len(errors)} ribs at {360 / voxels:.2f} mm")
        _print_errors(("rib_arc_length, percent",), np.array(errors))


def _print_errors(names: tuple[str, ...], errors: np.ndarray) -> None:
    """A line per name; without a value a measurement counts as missing."""
    for name, column in zip(names, errors.T, strict=True):
        off = np.abs(column[np.isfinite(column)])
        print(
            f"  {name:28} mean {np.nanmean(column):6.2f}  sd {np.nanstd(column):5.2f}  "
            f"p95 {np.quantile(off, 0.95):5.2f}  max {off.max():5.2f}  missing {np.isnan(column).sum()}"
        )
