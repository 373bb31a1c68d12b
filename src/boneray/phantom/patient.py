"""One synthetic patient as a `Case`: labels, CT, landmarks and true measurements."""

from __future__ import annotations

import math
from dataclasses import replace

from boneray.anatomy.registry import anatomy as anatomy_named
from boneray.core.case import Case
from boneray.core.errors import ConfigError
from boneray.core.grid import Grid
from boneray.core.measurement import Landmark, Measurement
from boneray.core.registry import unknown_name
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap, Volume
from boneray.phantom.raster import rasterise
from boneray.phantom.registry import PHANTOMS
from boneray.phantom.scene import rounded


def make_patient(anatomy: str, *, seed: int, number: int, voxels: int | None = None, deformity: str = "none") -> Case:
    """Patient `number` of the phantom population `seed`; the same arguments give the same bytes.

    Args:
        anatomy: name of an anatomy that has a phantom.
        voxels: edge of the label grid; the anatomy's own by default. The patient stays the same.
        deformity: none, or one that the anatomy's phantom lists in its facts.
    Returns:
        A case without radiographs. The CT (int16 HU) has the spacing of the labels and reaches an
        eighth of their grid further on every side, so that rays cross tissue outside of it.
    Raises:
        ConfigError: no phantom or no deformity of that name.
    """
    kind = anatomy_named(anatomy)
    check_deformity(anatomy, deformity)
    entry = PHANTOMS.get(anatomy)
    case_id = f"{anatomy}-{seed}-{number:04d}"
    scene = entry.value(generator(seed, case_id), deformity)

    n = kind.grid_voxels if voxels is None else voxels
    margin = math.ceil(n / 8)
    wide = n + 2 * margin
    ct_grid = Grid.cube(wide, kind.grid_size_mm * wide / n)
    hu, ids = rasterise(scene, ct_grid)
    inner = slice(margin, margin + n)
    labels = ids[inner, inner, inner].copy()

    truth, landmarks = scene.truth, scene.landmarks
    if scene.mirrored:
        truth = tuple(_mirrored_measurement(m) for m in truth)
        landmarks = tuple(_mirrored_landmark(mark) for mark in landmarks)
    return Case(
        case_id=case_id,
        patient_id=case_id,
        anatomy=anatomy,
        target=scene.target,
        labels=LabelMap(labels, Grid.cube(n, kind.grid_size_mm)),
        ct=Volume(hu, ct_grid),
        radiographs={},
        provenance={
            "source": "boneray phantom",
            "seed": seed,
            "deformity": deformity,
            "parameters": rounded(scene.parameters),
        },
        licence="CC0-1.0",
        labels_from="phantom",
        truth=truth,
        landmarks=landmarks,
    )


def check_deformity(anatomy: str, deformity: str) -> None:
    """Raise ConfigError for an anatomy without phantom, or a deformity its phantom does not have."""
    choices = ["none", *map(str, PHANTOMS.get(anatomy).facts["deformities"])]  # type: ignore[call-overload]
    if deformity not in choices:
        raise ConfigError(unknown_name(f"deformity of the {anatomy} phantom", deformity, choices))


def _mirrored_landmark(mark: Landmark) -> Landmark:
    x, y, z = mark.point_mm
    return Landmark(mark.name, (-x, y, z))


def _mirrored_measurement(measurement: Measurement) -> Measurement:
    return replace(measurement, landmarks=tuple(_mirrored_landmark(mark) for mark in measurement.landmarks))
