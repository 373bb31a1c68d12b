"""What is asked of radiographs before an answer, and of the answer afterwards.

Each check gives a finding: `refuse` stops the answer with its one line (unless the caller wants it anyway), `flag` goes
into the warnings. Limits that had to be measured come with the checkpoint's calibration (`boneray calibrate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.bones import bone_name, bone_side
from boneray.core.camera import Camera
from boneray.core.errors import DataError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.volume import LabelMap
from boneray.models.card import CheckpointCard
from boneray.reconstruction.agreement import Agreement
from boneray.reconstruction.calibration import Calibration
from boneray.reconstruction.familiarity import PIXELS, kind_of, readings, thumbnail
from boneray.reconstruction.film_values import cut_to_grid, shown_share
from boneray.reconstruction.radiographs import LoadedRadiographs

Verdict = Literal["flag", "refuse"]

# What DICOM's Body Part Examined may say for each anatomy; a word of another anatomy's list is a contradiction.
_TRUNK = ("ABDOMEN", "WHOLEBODY", "TRUNK")
_SPINE = ("SPINE", "CSPINE", "TSPINE", "LSPINE", "TLSPINE", "SSPINE", "LSSPINE", "VERTEBRA", "NECK", *_TRUNK)
BODY_PARTS = {
    "femur": ("HIP", "FEMUR", "THIGH", "UPPERLEG", "PELVIS", "LEG", "LOWERLIMB", "EXTREMITY", "WHOLEBODY"),
    "femora": ("HIP", "FEMUR", "THIGH", "UPPERLEG", "PELVIS", "LEG", "LOWERLIMB", "EXTREMITY", "WHOLEBODY"),
    "pelvis": ("HIP", "PELVIS", "SACRUM", "SSPINE", "LSSPINE", *_TRUNK),
    "vertebra": (*_SPINE, "CHEST", "THORAX"),
    "spine": (*_SPINE, "CHEST", "THORAX"),
    "ribs": ("CHEST", "THORAX", "RIB", "RIBS", *_TRUNK),
    "tibia": ("TIBIA", "KNEE", "LEG", "LOWERLEG", "ANKLE", "LOWERLIMB", "EXTREMITY", "WHOLEBODY"),
    "scapula": ("SCAPULA", "SHOULDER", "CHEST", "THORAX", "WHOLEBODY"),
}
ELSEWHERE = ("SKULL", "HEAD", "BRAIN", "HAND", "WRIST", "ELBOW", "FOREARM", "FOOT", "BREAST", "JAW", "ANKLE", "KNEE")

PITCH_MM = (0.02, 10.0)
SDD_MM = (200.0, 6000.0)
FIELD_MM = (20.0, 1500.0)  # of a film, at the bone
MAGNIFICATION = (1.0, 4.0)
SHOWN_LEAST, SHOWN_WELL = 0.5, 0.9
SAME_PICTURE = 0.995
HEIGHT_SOFT_MM, HEIGHT_BLUR_MM, HEIGHT_STEP_MM, HEIGHT_MOST_MM = 3.0, 25.0, 1.0, 40.0
LEVEL = -0.997  # least cosine of a picture's downward direction with the patient's, 4 degrees
CLEARER = 0.8  # another reading must be less strange by this factor, and not strange itself, to be believed


@dataclass(frozen=True)
class Finding:
    """What a check found: its name, what follows, one sentence."""

    check: str
    verdict: Verdict
    text: str


def checks_of_films(loaded: LoadedRadiographs, card: CheckpointCard, target: str) -> list[Finding]:
    """What the files say of themselves, against each other and against what is wanted."""
    found = []
    views = loaded.views
    people = {view.patient_key for view in views.values() if view.patient_key}
    if len(people) > 1:
        found.append(
            Finding("same patient", "refuse", "the radiographs carry different patient ids; pair them rightly")
        )
    kind = find_anatomy(card.anatomy)
    allowed = BODY_PARTS.get(kind.name, ())
    other = {word for words in BODY_PARTS.values() for word in words} | set(ELSEWHERE)
    for name, view in views.items():
        part = "".join(letter for letter in view.facts.body_part if letter.isalpha())
        if allowed and part in other and part not in allowed:
            text = (
                f"view {name} shows {view.facts.body_part.lower()}, says its file; the checkpoint knows the {kind.name}"
            )
            found.append(Finding("body part", "refuse", text))
    sides = {name: view.facts.laterality for name, view in views.items() if view.facts.laterality in ("left", "right")}
    if len(set(sides.values())) > 1:
        found.append(Finding("same side", "refuse", f"the views show different sides ({_listed(sides)})"))
    wanted = bone_side(target) if target else "none"
    wrong = {name: side for name, side in sides.items() if wanted in ("left", "right") and side != wanted}
    if wrong:
        found.append(Finding("side", "refuse", f"{target} is wanted, but the files say {_listed(wrong)}"))
    return found


def checks_of_geometry(radiographs: Mapping[str, Radiograph], grid: Grid) -> list[Finding]:
    """Distances and sizes that a room can have, and whether the pictures show the working grid."""
    found = []
    for name, radiograph in radiographs.items():
        camera = radiograph.camera
        for what, value, (low, high) in _sizes(camera, grid):
            if not low <= value <= high:
                text = f"view {name}: {what} {value:.3g} is not plausible ({low:g} to {high:g}); check the geometry"
                found.append(Finding("plausible size", "refuse", text))
                break
        else:
            share = shown_share(camera, grid)
            if share < SHOWN_WELL:
                text = (
                    f"view {name} does not show the whole working grid about the bone's centre, {100 * share:.0f} % of "
                    "its field; check its camera or give --centre-mm"
                )
                found.append(Finding("field", "refuse" if share < SHOWN_LEAST else "flag", text))
    return found


def checks_of_pictures(
    radiographs: Mapping[str, Radiograph], grid: Grid, target: str, calibration: Calibration | None
) -> list[Finding]:
    """Whether the pictures look like those the network knows, show the same heights, and are two different ones.

    Raises:
        DataError: a picture is blank.
    """
    side = bone_side(target) if target else "none"
    shown = {n: (kind_of(r.camera), thumbnail(r, grid, side)) for n, r in radiographs.items()}
    names = list(shown)
    found = []
    for i, name in enumerate(names):
        for other in names[:i]:
            alike = _alike(shown[name][1], shown[other][1])
            turned = float(np.abs(radiographs[name].camera.central_ray @ radiographs[other].camera.central_ray)) < 0.95
            if alike > SAME_PICTURE and turned:
                text = f"views {other} and {name} are the same picture, though taken from different sides"
                found.append(Finding("two pictures", "refuse", text))
    if calibration is None:
        return found
    found += _strange(shown, calibration)
    level = heights(list(radiographs.values()), grid)
    if level is not None and abs(level[0]) > calibration.height_lag_mm:
        text = (
            f"the views disagree in height by about {abs(level[0]):.0f} mm; do they belong together, and are their "
            "cameras right?"
        )
        found.append(Finding("heights", "flag", text))
    elif level is not None and level[1] < calibration.height_alike:
        text = (
            f"the views show different bodies at the same heights (correlation {level[1]:.2f}, usual from "
            f"{calibration.height_alike:.2f}); do they belong together?"
        )
        found.append(Finding("heights", "flag", text))
    return found


def _alike(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of two thumbnails, however their columns run."""
    turned = second.reshape(PIXELS, PIXELS)[:, ::-1].ravel()
    return max(float(np.mean(first * second)), float(np.mean(first * turned)))


def _strange(shown: Mapping[str, tuple[str, NDArray]], calibration: Calibration) -> list[Finding]:
    """Findings from the strangeness of the pictures and of other readings of them."""
    read = readings(list(shown.values()), calibration.descriptions)
    if not read:
        return []
    found = []
    given = read.pop("as given")
    best = min(read, key=lambda name: read[name])
    if read[best] < CLEARER * given and read[best] <= calibration.flag:
        text = f"the radiographs look like {_reading(best)}; check which is which and how they are turned"
        found.append(Finding("orientation", "flag", text))
    if given > calibration.flag:
        verdict: Verdict = "refuse" if given > calibration.refuse and not found else "flag"
        text = (
            f"the radiographs look unlike those the network knows (strangeness {given:.1f}, usual up to "
            f"{calibration.flag:.1f}, refused from {calibration.refuse:.1f}): another region, a photograph, another "
            "side, or a wrong centre"
        )
        found.append(Finding("familiarity", verdict, text))
    return found


def _reading(name: str) -> str:
    return {
        "frontal picture mirrored": "the other side, or the AP picture is mirrored",
        "side picture mirrored": "those with the LAT picture mirrored",
    }.get(name, f"those with {name}" if "swapped" in name else f"those {name}")


def checks_of_result(
    labels: LabelMap, agreement: Mapping[str, Agreement], calibration: Calibration | None, *, strange: bool = False
) -> list[Finding]:
    """Whether the bones explain the pictures and have a size that bones have.

    `strange` pictures whose bones do not even explain them are refused: two signs that do not depend on each other.
    """
    if calibration is None or not labels.ids:
        return []
    found = []
    scores = {view: one.score for view, one in agreement.items()}
    if scores and float(np.mean(list(scores.values()))) < calibration.agreement_low:
        text = (
            f"the bones, projected back, agree poorly with the radiographs ({_listed(scores)}; usual from "
            f"{calibration.agreement_low:.2f})"
        )
        found.append(Finding("reprojection", "refuse" if strange else "flag", text))
    for bone_id in labels.ids:
        volume = float((labels.data == bone_id).sum()) * labels.grid.voxel_volume_mm3 / 1000.0
        low, high = calibration.volume_cm3
        if not low <= volume <= high:
            text = f"{bone_name(bone_id)} has {volume:.0f} cm3, usual are {low:.0f} to {high:.0f}; check the distances"
            found.append(Finding("bone size", "flag", text))
    return found


def require(findings: Iterable[Finding], *, anyway: bool) -> tuple[str, ...]:
    """The sentences of all findings; DataError for the first that refuses, unless `anyway`."""
    findings = list(findings)
    stops = [finding for finding in findings if finding.verdict == "refuse"]
    if stops and not anyway:
        raise DataError(f"refused: {stops[0].text}; --anyway answers nevertheless")
    return tuple(finding.text for finding in findings)


def heights(radiographs: list[Radiograph], grid: Grid) -> tuple[float, float] | None:
    """How much lower the second of two upright views shows the same body than the first, and how alike it then is.

    Returns:
        (mm at the grid's centre, correlation of the heights' profiles), or None unless there are two level views,
        whose rows run across the body. The sum of the line integrals over a row is the matter at that height, from
        whatever side it is seen.
    """
    if len(radiographs) != 2 or any(r.camera.pose[2, 1] > LEVEL for r in radiographs):
        return None
    profiles = [_height_profile(r, grid) for r in radiographs]
    first, second = ((p - p.mean()) / max(float(p.std()), 1e-9) for p in profiles)
    most = int(HEIGHT_MOST_MM / HEIGHT_STEP_MM)
    scores = []
    for lag in range(-most, most + 1):
        a = first[max(0, lag) : len(first) + min(0, lag)]
        b = second[max(0, -lag) : len(second) + min(0, -lag)]
        scores.append(float(np.corrcoef(a, b)[0, 1]))
    return float((int(np.argmax(scores)) - most) * HEIGHT_STEP_MM), max(scores)


def _height_profile(radiograph: Radiograph, grid: Grid) -> NDArray[np.float64]:
    """Mean over the columns at heights every HEIGHT_STEP_MM through the grid's centre, slow changes taken out."""
    cut = cut_to_grid(radiograph, grid)
    half = grid.size_mm[2] / 2
    points = np.tile(grid.centre_mm, (int(2 * half / HEIGHT_STEP_MM), 1))
    points[:, 2] += np.arange(len(points)) * HEIGHT_STEP_MM - half
    rows = cut.camera.project(points)[:, 1]
    means = cut.line_integrals.mean(axis=1, dtype=np.float64)
    profile = np.interp(rows, np.arange(len(means)), means)
    soft = ndimage.gaussian_filter1d(profile, HEIGHT_SOFT_MM / HEIGHT_STEP_MM, mode="nearest")
    return np.asarray(soft - ndimage.gaussian_filter1d(soft, HEIGHT_BLUR_MM / HEIGHT_STEP_MM, mode="nearest"))


def _sizes(camera: Camera, grid: Grid) -> list[tuple[str, float, tuple[float, float]]]:
    magnification = 1.0
    if camera.kind == "perspective":
        depth = float((grid.centre_mm - camera.source_mm) @ camera.central_ray)
        magnification = camera.source_detector_mm / depth if depth > 0 else -1.0
    edge = max(n * pitch for n, pitch in zip(camera.detector_shape, camera.pixel_mm, strict=True))
    sizes = [
        ("pixel pitch mm", min(camera.pixel_mm), PITCH_MM),
        ("magnification", magnification, MAGNIFICATION),
        ("field at the bone mm", edge / abs(magnification), FIELD_MM),
    ]
    if camera.kind == "perspective":
        sizes.insert(1, ("source-detector distance mm", camera.source_detector_mm, SDD_MM))
    return sizes


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
