"""How far measurements of femur and pelvis are from the truth: phantoms, and one real skeleton with five raters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from boneray.core.measurement import Measurement

SPACINGS_MM = (1.0, 1.5, 2.0, 2.5)
PATIENTS = 12


def femur_accuracy() -> None:
    """Errors on femur phantoms by voxel size: head, neck-shaft angle, offset; sure and doubted shafts apart."""
    from boneray.morphometry.measure import measure
    from boneray.phantom.patient import make_patient

    for spacing in SPACINGS_MM:
        rows: dict[str, list[float]] = {}
        for number in range(PATIENTS):
            case = make_patient("femur", seed=60, number=number, voxels=round(144 / spacing))
            found, truth = _by_name(measure(case.labels, "femur")), _by_name(case.truth)
            centre = next(np.array(mark.point_mm) for mark in case.landmarks if mark.name == "femoral_head_centre")
            head = found["femoral_head_radius_mm"]
            rows.setdefault("head centre mm", []).append(float(np.linalg.norm(head.landmarks[0].point_mm - centre)))
            for name in ("femoral_head_radius_mm", "neck_shaft_angle_deg", "femoral_offset_mm"):
                m = found[name]
                if m.value is not None and truth[name].value is not None:
                    rows.setdefault(f"{name} ({m.status})", []).append(abs(m.value - truth[name].value))
        _show(f"femur, {PATIENTS} phantoms, {spacing} mm", rows)


def pelvis_accuracy() -> None:
    """Errors of landmarks and widths on pelvis phantoms by voxel size."""
    from boneray.morphometry.measure import measure
    from boneray.phantom.patient import make_patient

    for spacing in SPACINGS_MM:
        rows: dict[str, list[float]] = {}
        for number in range(PATIENTS):
            case = make_patient("pelvis", seed=61, number=number, voxels=round(320 / spacing))
            found = measure(case.labels, "pelvis")
            points = _points(found)
            for mark in case.landmarks:
                stem = mark.name.removesuffix("_left").removesuffix("_right")
                rows.setdefault(stem, []).append(float(np.linalg.norm(points[mark.name] - mark.point_mm)))
            for truth in case.truth:
                rows.setdefault("widths", []).append(abs(_by_name(found)[truth.name].value - truth.value))
        _show(f"pelvis, {PATIENTS} phantoms, {spacing} mm", rows)


def real_accuracy() -> None:
    """Femur and pelvis of VSDFullBody z013 against its raters: surface, masks, noise (needs BONERAY_TEST_DATA)."""
    from boneray.geometry.spheres import fit_sphere
    from boneray.morphometry.measure import measure, measure_meshes
    from tests.morphometry.patients import PELVIS, noisy, raters, voxelised, z013
    from tests.morphometry.test_pelvis_real import errors

    folder = os.environ.get("BONERAY_TEST_DATA")
    if not folder:
        print("  set BONERAY_TEST_DATA to the folder with the real test data")
        return
    data = Path(folder)
    femur, pelvis = z013(data, "femur_left"), z013(data, *PELVIS)
    rated, rated_femur = raters(data, "Pelvis"), raters(data, "Femur")
    ball = fit_sphere(np.concatenate([points for name, points in rated_femur.items() if name.endswith("FH)")]))
    reference = measure_meshes(femur, "femur")

    def show_femur(title: str, found: list[Measurement]) -> None:
        centre = np.linalg.norm(_points(found)["femoral_head_centre"] - ball.centre_mm)
        values = ", ".join(
            f"{name} {_by_name(found)[name].value:.2f}"
            for name in ("femoral_head_radius_mm", "neck_shaft_angle_deg", "femoral_offset_mm", "femoral_version_deg")
        )
        print(f"  {title:26} centre {centre:.2f} mm from the raters' ({ball.radius_mm:.2f} mm); {values}")

    def show_pelvis(title: str, found: list[Measurement]) -> None:
        ours = errors(found, rated, aiis=True)
        gated = [error for name, (error, _) in ours.items() if "inferior_iliac" not in name]
        short = {
            name.replace("_left", " L").replace("_right", " R"): round(error, 1) for name, (error, _) in ours.items()
        }
        print(f"  {title:26} median {np.median(gated):.2f} mm  " + ", ".join(f"{k} {v}" for k, v in short.items()))

    show_femur("femur, surface", reference)
    show_pelvis("pelvis, surface", measure_meshes(pelvis, "pelvis"))
    for spacing in SPACINGS_MM:
        show_femur(f"femur, {spacing} mm mask", measure(voxelised(femur, spacing), "femur"))
        show_pelvis(f"pelvis, {spacing} mm mask", measure(voxelised(pelvis, spacing), "pelvis"))
    femur_mask, pelvis_mask = voxelised(femur, 1.5), voxelised(pelvis, 1.5)
    for share in (0.95, 0.90):
        for number in range(6):
            show_femur(
                f"femur, noise {number}, Dice {share}", measure(noisy(femur_mask, share, f"femur {number}"), "femur")
            )
            found = measure(noisy(pelvis_mask, share, f"pelvis {number}"), "pelvis")
            show_pelvis(f"pelvis, noise {number}, Dice {share}", found)


def _by_name(found: list[Measurement] | tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


def _points(found: list[Measurement]) -> dict[str, np.ndarray]:
    return {mark.name: np.array(mark.point_mm) for m in found for mark in m.landmarks}


def _show(title: str, rows: dict[str, list[float]]) -> None:
    print(f"\n{title}")
    for name, values in sorted(rows.items()):
        low, high = np.median(values), np.max(values)
        print(f"  {name:44} n {len(values):3}  median {low:6.2f}  largest {high:6.2f}")
