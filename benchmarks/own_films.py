"""How strange pictures of other things look to a checkpoint: photographs, real films, phantoms of another bone.

    python -m benchmarks.own_films raylift_tiny_femur

Photographs are those that come with scikit-image; real films are read where BONERAY_TEST_DATA names their folder. Each
is given for both views about the middle of its field, and what `reconstruct` would do is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from boneray.core.camera import orbit_camera
from boneray.core.errors import BonerayError
from boneray.core.radiograph import Radiograph
from boneray.datasets.phantom import phantom_case
from boneray.reconstruction.agreement import agreements
from boneray.reconstruction.answer import Wishes, answered
from boneray.reconstruction.calibration import calibration_of
from boneray.reconstruction.familiarity import kind_of, readings, thumbnail
from boneray.reconstruction.radiographs import LoadedRadiographs, LoadedView, load_radiographs
from boneray.reconstruction.reconstruct import Reconstructor

PHOTOGRAPHS = (
    "camera",
    "coins",
    "moon",
    "page",
    "text",
    "brick",
    "grass",
    "gravel",
    "astronaut",
    "cat",
    "coffee",
    "rocket",
)
FIELD_MM = 240.0


def pair(grey: np.ndarray) -> dict[str, Radiograph]:
    views = {}
    for view, angle in (("ap", 0.0), ("lat", 90.0)):
        values = np.ascontiguousarray(grey if view == "ap" else grey[:, ::-1].T, dtype=np.float32)
        camera = orbit_camera(angle, detector_shape=values.shape, detector_mm=(FIELD_MM, FIELD_MM))
        views[view] = Radiograph(values, camera, scaled=False)
    return views


def pictures() -> Iterator[tuple[str, dict[str, Radiograph]]]:
    import skimage.data

    for name in PHOTOGRAPHS:
        try:
            grey = np.asarray(getattr(skimage.data, name)(), dtype=np.float32)
        except (OSError, ModuleNotFoundError):
            continue
        yield f"photograph: {name}", pair(grey if grey.ndim == 2 else grey.mean(axis=2))
    for anatomy in ("femur", "pelvis", "spine", "vertebra", "ribs"):
        case = phantom_case(anatomy, seed=77, number=0, pixels=128)
        yield f"phantom: {anatomy}", dict(case.radiographs)
    root = os.environ.get("BONERAY_TEST_DATA")
    if root:
        films = Path(root) / "xray_dicom"
        for name, file, more in (
            ("film: chest", "RG1_J2KI.dcm", {"pixel_mm": 0.2}),
            ("film: hip", "RG2_J2KR.dcm", {"sdd_mm": 1150.0}),
        ):
            yield name, load_radiographs({"ap": films / file}, **more).radiographs


def main(checkpoint: str) -> None:
    reconstructor, calibration = Reconstructor.load(checkpoint), calibration_of(checkpoint)
    assert calibration is not None
    grid = reconstructor.card.grid_at((0.0, 0.0, 0.0))
    target = "femur_left" if reconstructor.card.anatomy == "femur" else "L3"
    side = "left" if target.endswith("left") else "none"
    print(f"flagged from {calibration.flag}, refused from {calibration.refuse}")
    for name, views in pictures():
        shown = [(kind_of(r.camera), thumbnail(r, grid, side)) for r in views.values()]
        strangeness = readings(shown, calibration.descriptions)["as given"]
        labels = reconstructor.labels(views, target=target, centre_mm=(0.0, 0.0, 0.0))
        fit = [one.score for one in agreements(labels, views).values()] if labels.ids else []
        loaded = LoadedRadiographs({v: LoadedView(r, v, "picture", "display") for v, r in views.items()})
        wishes = Wishes((0.0, 0.0, 0.0), confidence=False)
        try:
            checks = answered(reconstructor, loaded, target=target, calibration=calibration, wishes=wishes).findings
            outcome = "flagged" if checks else "answered"
        except BonerayError:
            outcome = "refused"
        print(f"{name:28s} strangeness {strangeness:5.2f}   agreement {np.mean(fit or [0]):5.2f}   {outcome}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
