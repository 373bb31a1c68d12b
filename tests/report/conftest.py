"""One small patient for the report: a left femur and hip from capsules, a reference that also has a sacrum."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from boneray.core.bones import BONES, bone_name
from boneray.core.camera import orbit_camera
from boneray.core.grid import Grid
from boneray.core.measurement import Measurement
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.geometry.surface import bone_mesh
from boneray.projection.joseph import line_integrals
from boneray.report.content import ReportCase

GRID = Grid.cube(64, 160.0)


def capsule(start_mm: tuple[float, ...], end_mm: tuple[float, ...], radius_mm: float) -> NDArray[np.bool_]:
    """Voxels of `GRID` within `radius_mm` of a segment."""
    points = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))
    start, axis = np.array(start_mm), np.array(end_mm) - np.array(start_mm)
    along = np.clip((points - start) @ axis / max(axis @ axis, 1e-9), 0.0, 1.0)
    return np.linalg.norm(points - start - along[..., None] * axis, axis=-1) <= radius_mm


def body(shift_mm: float, *, sacrum: bool) -> LabelMap:
    """The labelled bones, moved to the patient's left by `shift_mm`."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    if sacrum:
        labels[capsule((52 - shift_mm, -18, 45), (48 - shift_mm, -28, 15), 13)] = BONES["sacrum"].bone_id
    labels[capsule((22 - shift_mm, -14, 52), (2 - shift_mm, -4, 12), 17)] = BONES["hip_left"].bone_id
    head, neck = (-2 - shift_mm, 4, 4), (-36 - shift_mm, -2, -22)
    femur = capsule(head, head, 19) | capsule(head, neck, 11) | capsule(neck, (-34 - shift_mm, 0, -90), 12)
    labels[femur] = BONES["femur_left"].bone_id
    return LabelMap(labels, GRID)


def radiograph(labels: LabelMap, angle_deg: float) -> Radiograph:
    """A noisy radiograph of the labelled bones from one side."""
    camera = orbit_camera(angle_deg, detector_shape=(128, 128), detector_mm=(300.0, 300.0))
    thickness = line_integrals(labels.data > 0, labels.grid, camera)
    noise = np.random.default_rng(7).normal(0.0, 0.03, thickness.shape)
    return Radiograph((0.05 * thickness + noise + 0.4).astype(np.float32), camera)


@pytest.fixture(scope="session")
def reference_labels() -> LabelMap:
    """The true bones: femur, hip and sacrum."""
    return body(0.0, sacrum=True)


@pytest.fixture(scope="session")
def plain_case(reference_labels: LabelMap) -> ReportCase:
    """What `reconstruct` has: no reference, no scores."""
    labels = body(3.0, sacrum=False)
    return ReportCase(
        title="hip of Mrs A",
        prediction=labels,
        meshes={bone_name(i): bone_mesh(labels, i) for i in labels.ids},
        radiographs={"ap": radiograph(reference_labels, 0.0), "lat": radiograph(reference_labels, 90.0)},
        measurements=(
            Measurement("neck_shaft_angle_deg", "femur_left", "left", 127.26, "deg"),
            Measurement(
                "volume_mm3", "femur_left", "left", 61234.4, "mm3", "low_confidence", "the shaft leaves the grid"
            ),
            Measurement("offset_mm", "femur_left", "left", None, "mm", "not_measurable", "no shaft axis"),
        ),
        run={"model": "unet", "seed": 7, "versions": {"torch": "2.13.0"}},
    )


@pytest.fixture(scope="session")
def compared_case(plain_case: ReportCase, reference_labels: LabelMap) -> ReportCase:
    """What `evaluate` has: a reference with a bone that was missed, scores with nulls."""
    fine = {"dice": 0.9123, "hd95_mm": 2.345, "assd_mm": 0.81, "nsd_2.0mm": 0.9512, "status": "ok"}
    other = {"dice": 0.871, "hd95_mm": 3.1, "assd_mm": 1.02, "nsd_2.0mm": 0.902, "status": "ok"}
    missed = {"dice": 0.0, "hd95_mm": None, "assd_mm": None, "nsd_2.0mm": 0.0, "status": "missed"}
    return ReportCase(
        title="hip of Mrs A, compared",
        prediction=plain_case.prediction,
        meshes=plain_case.meshes,
        radiographs=plain_case.radiographs,
        reference=reference_labels,
        scores={
            "case": "a",
            "bones": {"femur_left": fine, "hip_left": other, "sacrum": missed},
            "mean": {"dice": 0.594, "hd95_mm": None, "assd_mm": None, "nsd_2.0mm": 0.618},
        },
        measurements=plain_case.measurements,
        reference_measurements=(
            Measurement("neck_shaft_angle_deg", "femur_left", "left", 125.1, "deg"),
            Measurement("volume_mm3", "femur_left", "left", 60011.0, "mm3"),
        ),
        notes=("The lateral view was taken at 90 degrees.",),
        run=plain_case.run,
    )
