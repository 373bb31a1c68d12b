"""Measuring what a checkpoint is used to, on phantoms of a seed of its own: the file that `calibration` reads.

Every phantom is taken as training takes it and worse: cameras moved by up to 10 degrees and 5 mm (known), beams of 60
to 120 kV, 5,000 to a million photons per pixel; every fourth from level cameras, for the heights. Two thirds of them
describe the usual pictures, the rest says how strange a usual one may be. For the confidence, half of all patients are
answered from pictures that are spoilt (few photons, or cameras that lie by some degrees), because a scale that has only
seen good answers cannot tell bad ones; such patients describe nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneray.core.bones import bone_side
from boneray.core.camera import jittered
from boneray.core.case import Case
from boneray.core.errors import InputError
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.volume import LabelMap
from boneray.datasets.views import standard_cameras
from boneray.phantom.patient import make_patient
from boneray.projection.render import Exposure, expose
from boneray.projection.spectrum import Beam
from boneray.reconstruction.agreement import agreements
from boneray.reconstruction.calibration import Calibration
from boneray.reconstruction.checks import CLEARER, heights
from boneray.reconstruction.confidence import overlaps
from boneray.reconstruction.familiarity import PIXELS, Description, kind_of, readings, thumbnail
from boneray.reconstruction.reconstruct import Reconstructor

COMPONENTS = 16
FEWEST_PATIENTS = 40
ROTATION_DEG, SHIFT_MM = 10.0, 5.0
KVP, PHOTONS = (60.0, 120.0), (5e3, 1e6)
SPOILT_PHOTONS, LYING_DEG, LYING_MM = (60.0, 3000.0), 14.0, 12.0
# Flagged from the strangest phantom in a hundred and a quarter more. Refused from REFUSED times the strangest one:
# photographs and films of other regions lie beyond (docs/own-xrays.md has the table), a hip film in its place does not.
FLAGGED, REFUSED = 1.25, 2.3
BINS, KNOTS = 5, 8


@dataclass(frozen=True)
class _Patient:
    """What one phantom adds."""

    pictures: list[tuple[str, NDArray]]
    heights: tuple[float, float] | None
    agreement: float
    volume_cm3: float
    overlap: float
    dice: float
    spoilt: bool


def calibrated(
    reconstructor: Reconstructor,
    name: str,
    *,
    patients: int,
    seed: int,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> Calibration:
    """The calibration of a checkpoint whose anatomy has a phantom.

    Raises:
        InputError: fewer than FEWEST_PATIENTS; ConfigError: no phantom of the anatomy.
    """
    if patients < FEWEST_PATIENTS:
        raise InputError(f"{patients} patients are too few for a calibration; give at least {FEWEST_PATIENTS}")
    found = [_patient(reconstructor, seed, number) for number in progress(iter(range(patients)))]
    good = [one for one in found if not one.spoilt]
    descriptions, held_out = _descriptions(good)
    flag, refuse = FLAGGED, REFUSED
    curve, reliability = _reliability(found)
    level = np.array([one.heights for one in good if one.heights is not None]).reshape(-1, 2)
    volumes = np.array([one.volume_cm3 for one in good])
    return Calibration(
        checkpoint=name,
        descriptions=descriptions,
        flag=flag,
        refuse=refuse,
        height_lag_mm=float(np.ceil(1.5 * np.percentile(np.abs(level[:, 0]), 99))) if len(level) else np.inf,
        height_alike=round(float(np.percentile(level[:, 1], 1)) - 0.05, 3) if len(level) else -1.0,
        agreement_low=round(float(np.percentile([one.agreement for one in good], 1)) * 0.8, 3),
        volume_cm3=(round(float(volumes.min()) / 1.5, 1), round(float(volumes.max()) * 1.5, 1)),
        confidence=curve,
        tables={"reliability": reliability, "orientation": _orientation(held_out, descriptions, flag, refuse)},
        made={"patients": patients, "seed": seed, "phantom": reconstructor.card.anatomy},
    )


def _patient(reconstructor: Reconstructor, seed: int, number: int) -> _Patient:
    card = reconstructor.card
    case = make_patient(card.anatomy, seed=seed, number=number, voxels=card.grid_shape[0])
    rng = generator(seed, "calibration", number)
    spoilt = number % 2 == 1
    radiographs = exposed(case, card.views, card.image_shape[0], rng, spoilt=spoilt, level=number % 4 == 0)
    assert case.labels is not None
    grid, side = case.labels.grid, bone_side(case.target) if case.target else "none"
    labels = reconstructor.labels(radiographs, target=case.target, centre_mm=grid.centre_mm)

    def ask(pictures: dict[str, Radiograph], bone: str) -> LabelMap:
        return reconstructor.labels(pictures, target=bone, centre_mm=grid.centre_mm)

    sure = overlaps(labels, ask, radiographs, case.target)
    bones = labels.ids
    return _Patient(
        [(kind_of(r.camera), thumbnail(r, grid, side)) for r in radiographs.values()],
        heights(list(radiographs.values()), grid),
        float(np.mean([one.score for one in agreements(labels, radiographs).values()])) if bones else 0.0,
        float((labels.data > 0).sum()) * grid.voxel_volume_mm3 / 1000.0 / max(len(bones), 1),
        float(np.mean(list(sure.values()))) if sure else 0.0,
        _dice(case.labels, labels),
        spoilt,
    )


def exposed(
    case: Case,
    views: tuple[str, ...],
    pixels: int,
    rng: np.random.Generator,
    *,
    spoilt: bool = False,
    level: bool = False,
) -> dict[str, Radiograph]:
    """Radiographs of a phantom with full physics.

    `spoilt` ones have few photons or cameras that lie; `level` ones are taken by the standard cameras.
    """
    assert case.ct is not None and case.labels is not None
    centre = case.labels.grid.centre_mm
    out = {}
    low, high = np.log(SPOILT_PHOTONS if spoilt else PHOTONS)
    lying = spoilt and rng.random() < 0.7
    for view, camera in standard_cameras(case.labels.grid, views, pixels=pixels).items():
        true = camera
        if not level:
            true = jittered(camera, rng, centre_mm=centre, rotation_deg=ROTATION_DEG, shift_mm=SHIFT_MM)
        exposure = Exposure(Beam(float(rng.uniform(*KVP)), 2.5), photons=float(np.exp(rng.uniform(low, high))))
        (taken,) = expose(case.ct, [true], exposure, rng)
        said = true
        if lying:
            said = jittered(
                true, rng, centre_mm=centre, rotation_deg=LYING_DEG * rng.random(), shift_mm=LYING_MM * rng.random()
            )
        out[view] = Radiograph(taken.line_integrals, said)
    return out


def _dice(reference: LabelMap, prediction: LabelMap) -> float:
    """Mean Dice over the bones of the reference."""
    found = []
    for bone_id in reference.ids:
        a, b = reference.data == bone_id, prediction.data == bone_id
        found.append(2.0 * int((a & b).sum()) / (int(a.sum()) + int(b.sum())))
    return float(np.mean(found))


def _descriptions(good: list[_Patient]) -> tuple[dict[str, Description], list[_Patient]]:
    """Descriptions by kind from two thirds of the patients; the rest sets what is usual."""
    cut = 2 * len(good) // 3
    kinds = sorted({kind for one in good for kind, _ in one.pictures})
    out = {}
    for kind in kinds:
        used, kept = (
            np.array([values for one in part for k, values in one.pictures if k == kind])
            for part in (good[:cut], good[cut:])
        )
        out[kind] = Description.of(used, kept, min(COMPONENTS, len(used) - 2))
    return out, good[cut:]


def _orientation(
    held_out: list[_Patient], known: dict[str, Description], flag: float, refuse: float
) -> dict[str, dict[str, float]]:
    """By what was done to the pictures: the median strangeness, and the shares that are
    named as something else, flagged as strange, and refused."""
    out = {}

    def row(change: Callable[[str, NDArray], tuple[str, NDArray]]) -> dict[str, float]:
        found = []
        for one in held_out:
            read = readings([change(kind, values) for kind, values in one.pictures], known)
            given = read.pop("as given")
            named = min(read.values()) < CLEARER * given and min(read.values()) <= flag
            found.append((given, named, given > flag, given > refuse and not named))
        values = np.array(found, dtype=float)
        return {
            "strangeness": round(float(np.median(values[:, 0])), 2),
            "named": round(float(values[:, 1].mean()), 3),
            "strange": round(float(values[:, 2].mean()), 3),
            "refused": round(float(values[:, 3].mean()), 3),
        }

    def square(values: NDArray) -> NDArray:
        return values.reshape(PIXELS, PIXELS)

    other = {"frontal": "side", "side": "frontal"}
    out["as it should be"] = row(lambda kind, values: (kind, values))
    out["AP and LAT swapped"] = row(lambda kind, values: (other[kind], values))
    out["AP mirrored"] = row(lambda k, v: (k, square(v)[:, ::-1].ravel() if k == "frontal" else v))
    out["LAT mirrored"] = row(lambda k, v: (k, square(v)[:, ::-1].ravel() if k == "side" else v))
    out["both upside down"] = row(lambda k, v: (k, square(v)[::-1].ravel()))
    return out


def _reliability(found: list[_Patient]) -> tuple[tuple[tuple[float, float], ...], list[dict[str, float]]]:
    """Curve from overlap to Dice through every other pair of patients, and how well it foretells the rest.

    The curve goes through the means of KNOTS groups of about equal overlap; where Dice would fall, groups are joined.
    """
    points = np.array([(one.overlap, one.dice) for one in found])
    pair = np.arange(len(points)) // 2 % 2 == 0
    used = points[pair][np.argsort(points[pair, 0])]
    groups = list(np.array_split(used, KNOTS))
    i = 0
    while i + 1 < len(groups):
        if groups[i][:, 1].mean() > groups[i + 1][:, 1].mean():
            groups[i : i + 2] = [np.concatenate(groups[i : i + 2])]
            i = max(0, i - 1)
        else:
            i += 1
    curve = tuple((round(float(g[:, 0].mean()), 4), round(float(g[:, 1].mean()), 4)) for g in groups)
    told = points[~pair]
    expected = np.interp(told[:, 0], *np.array(curve).T)
    order = np.argsort(expected)
    table = [
        {
            "patients": len(part),
            "expected_dice": round(float(expected[part].mean()), 3),
            "dice": round(float(told[part, 1].mean()), 3),
            "least_dice": round(float(told[part, 1].min()), 3),
        }
        for part in np.array_split(order, BINS)
    ]
    return curve, table
