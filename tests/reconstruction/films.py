"""Phantom patients and their films, made once for the tests that need them."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from boneray.core.case import Case
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.datasets.phantom import phantom_case
from boneray.io.cameras import write_cameras
from boneray.io.dicom_writing import write_dicom
from boneray.projection.render import Exposure, expose
from boneray.projection.spectrum import Beam
from boneray.reconstruction.calibration import calibration_of
from boneray.reconstruction.reconstruct import Reconstructor

FEMUR = "raylift_tiny_femur"
SEED = 90210  # of patients that neither the checkpoint nor its calibration has seen


@cache
def femur(number: int) -> Case:
    return phantom_case("femur", seed=SEED, number=number, voxels=64, pixels=128)


@cache
def reconstructor(name: str = FEMUR) -> Reconstructor:
    return Reconstructor.load(name)


@cache
def calibration(name: str = FEMUR):
    found = calibration_of(name)
    assert found is not None
    return found


def exposed(case: Case, photons: float | None = 20_000.0) -> dict[str, Radiograph]:
    """The case's views with full physics: 80 kV, noise, blur of the detector."""
    assert case.ct is not None
    cameras = [r.camera for r in case.radiographs.values()]
    exposure = Exposure(Beam(80.0, 2.5), photons=photons, blur_px=0.6)
    taken = expose(case.ct, cameras, exposure, generator(SEED, case.case_id, "exposed"))
    return dict(zip(case.radiographs, taken, strict=True))


def dicom_films(folder: Path, radiographs: dict[str, Radiograph], patient: str = "P1") -> dict[str, Path]:
    return {
        view: write_dicom(folder / f"{view}.dcm", r, patient_id=patient, patient_name="Phantom", number=n)
        for n, (view, r) in enumerate(radiographs.items(), start=1)
    }


def png_films(folder: Path, radiographs: dict[str, Radiograph]) -> tuple[dict[str, Path], Path]:
    """16-bit pictures without scale, and their cameras.json."""
    files = {}
    for view, r in radiographs.items():
        grey = r.line_integrals / r.line_integrals.max() * 60000
        files[view] = folder / f"{view}.png"
        Image.fromarray(np.round(np.maximum(grey, 0)).astype(np.uint16)).save(files[view])
    write_cameras(folder / "cameras.json", {view: r.camera for view, r in radiographs.items()})
    return files, folder / "cameras.json"


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    a, b = reference > 0, prediction > 0
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())
