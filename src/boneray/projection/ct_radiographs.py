"""Radiographs of a CT from a description: which views, which geometry, which physics, which files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boneray.core.camera import Camera, jittered, orbit_camera
from boneray.core.errors import ConfigError, GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.views import view_angles
from boneray.core.volume import LabelMap, Volume
from boneray.io.cameras import read_cameras, write_cameras
from boneray.io.case_folder import read_case
from boneray.io.dicom_writing import write_dicom
from boneray.io.files import prepare_output, safe_name, write_atomic
from boneray.io.images import write_picture
from boneray.io.mayacam import read_mayacam
from boneray.io.nifti import read_labels, read_volume
from boneray.projection.detector import Scatter
from boneray.projection.joseph import line_integrals
from boneray.projection.presets import GREYS, PRESETS
from boneray.projection.preview import preview_picture
from boneray.projection.render import Exposure, attenuation_per_mm, bone_mask, expose
from boneray.projection.siddon import siddon_line_integrals
from boneray.projection.spectrum import BEAMS, Beam
from boneray.projection.view_checks import picture_warnings, require_numbers, require_view, shadow, volume_warnings

MARGIN = 1.02  # a detector of unstated pitch covers the shadow of the volume and a little more
BODY_FROM_HU = -500.0  # what is denser is body rather than air, bedding or lung
PROJECTORS = {"joseph": line_integrals, "siddon": siddon_line_integrals}


@dataclass(frozen=True)
class ProjectionSettings:
    """How radiographs of a CT are taken; a None or empty value is the default stated.

    Attributes:
        views: names of views; default: the preset's, or ap and lat.
        preset: a published geometry and weight; it fixes distances and detector.
        sdd_mm, sod_mm: source to detector (1500) and to the centre (1000).
        pixel_mm: detector pitch; default: the whole volume fits in.
        size: (rows, columns) of the detector (512, 512).
        parallel: a parallel beam; `pixel_mm` is then its own pitch.
        kvp, al_mm: tube voltage and filtration of a polychromatic beam; default: one energy, 60 keV.
        beam: a named beam, instead of kvp and al_mm.
        photons: per pixel in the open beam, for noise; it needs a beam.
        blur_px: detector blur; scatter_ratio: scatter to primary behind 20 cm of water. Both need a beam.
        bone_only: leave everything but bone out.
        intensity_zero: subtracted first, for volumes whose zero is not water.
        method: joseph or siddon.
        jitter_deg, jitter_mm: random turn and shift of every camera, from the seed.
        centre_mm: what the cameras look at; default: the middle of the volume.
    """

    views: tuple[str, ...] = ()
    preset: str = ""
    sdd_mm: float | None = None
    sod_mm: float | None = None
    pixel_mm: float | None = None
    size: tuple[int, int] | None = None
    parallel: bool = False
    kvp: float | None = None
    al_mm: float | None = None
    beam: str = ""
    photons: float | None = None
    blur_px: float = 0.0
    scatter_ratio: float = 0.0
    bone_only: bool = False
    intensity_zero: float = 0.0
    method: Literal["joseph", "siddon"] = "joseph"
    jitter_deg: float = 0.0
    jitter_mm: float = 0.0
    centre_mm: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in PROJECTORS:
            raise ConfigError(f"method '{self.method}' is unknown; use {' or '.join(PROJECTORS)}")
        for name in ("sdd_mm", "sod_mm", "pixel_mm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e6:
                raise ConfigError(f"{name.replace('_', '-')} {value:g} must be a positive number of mm")
        if self.size is not None and not all(8 <= n <= 8192 for n in self.size):
            raise ConfigError(f"detector size {self.size} must lie in 8..8192 pixels")
        if min(self.jitter_deg, self.jitter_mm) < 0 or not np.isfinite([self.jitter_deg, self.jitter_mm]).all():
            raise ConfigError(f"jitter of {self.jitter_deg:g} degrees and {self.jitter_mm:g} mm must not be negative")
        if not np.isfinite(self.intensity_zero):
            raise ConfigError(f"intensity zero {self.intensity_zero} must be a number")
        geometry = [n for n in ("sdd_mm", "sod_mm", "pixel_mm", "size") if getattr(self, n) is not None]
        if self.preset and (geometry or self.parallel):
            named = (geometry + ["parallel"] * self.parallel)[0].replace("_", "-")
            raise ConfigError(f"preset '{self.preset}' fixes the geometry; leave out --{named}, or the preset")
        if self.beam and (self.kvp is not None or self.al_mm is not None):
            raise ConfigError(f"beam '{self.beam}' states voltage and filtration; leave out kvp and al-mm, or the beam")
        if self.exposure is None and (self.photons is not None or self.blur_px or self.scatter_ratio):
            raise ConfigError("noise, blur and scatter need a beam; give --kvp, such as --kvp 80")
        if self.exposure is not None and (self.preset or self.method != "joseph"):
            what = f"preset '{self.preset}'" if self.preset else "method siddon"
            raise ConfigError(f"{what} knows no beam; leave out kvp and beam, or it")

    @property
    def exposure(self) -> Exposure | None:
        """The physics asked for; None for line integrals at one energy."""
        if self.beam:
            beam = BEAMS.get(self.beam).value
        elif self.kvp is not None or self.al_mm is not None:
            beam = Beam(80.0 if self.kvp is None else self.kvp, 2.5 if self.al_mm is None else self.al_mm)
        else:
            return None
        scatter = Scatter(self.scatter_ratio) if self.scatter_ratio else None
        return Exposure(beam, self.photons, self.blur_px, scatter)


def read_ct(path: Path, labels: Path | None = None) -> tuple[Volume, LabelMap | None]:
    """The CT in a NIfTI file or a case folder, and the label map asked for.

    Raises:
        InputError: not there, unreadable, or a case without CT.
    """
    if path.is_dir():
        ct = read_case(path).ct
        if ct is None:
            raise InputError(f"case {path} holds no ct.nii.gz; a CT is needed to take radiographs of")
    else:
        ct = read_volume(path, "CT")
    return ct, read_labels(labels, "label map") if labels is not None else None


def read_any_cameras(path: Path) -> dict[str, Camera]:
    """Cameras by view of a cameras.json, a case.json, or one MayaCam file (its name is the view)."""
    if path.suffix.lower() == ".json":
        return read_cameras(path)
    return {path.stem: read_mayacam(path)}


def cameras_for(grid: Grid, settings: ProjectionSettings) -> dict[str, Camera]:
    """The cameras of all views about a volume, by view.

    Raises:
        InputError: a view is named twice; GeometryError: a view or a distance makes no sense.
    """
    twice = sorted({view for view in settings.views if settings.views.count(view) > 1})
    if twice:
        raise InputError(f"view '{twice[0]}' is named twice")
    if settings.preset:
        preset = PRESETS.get(settings.preset).value
        cameras = preset.cameras(grid, settings.views)
    else:
        cameras = {view: _camera(grid, settings, view) for view in settings.views or ("ap", "lat")}
    if not (settings.jitter_deg or settings.jitter_mm):
        return cameras
    centre = grid.centre_mm if settings.centre_mm is None else settings.centre_mm
    limits = {"rotation_deg": settings.jitter_deg, "shift_mm": settings.jitter_mm}
    return {
        view: jittered(camera, generator(settings.seed, "pose", view), centre_mm=centre, **limits)
        for view, camera in cameras.items()
    }


def radiographs_of(
    ct: Volume,
    cameras: dict[str, Camera],
    settings: ProjectionSettings,
    labels: LabelMap | None = None,
    progress: Callable[[Iterator[str]], Iterator[str]] = iter,
) -> tuple[dict[str, Radiograph], list[str]]:
    """The radiographs by view, and what is to be said about them.

    Raises:
        DataError: voxels that are not numbers; no bone where only bone is wanted.
        GeometryError: a source inside the volume, a detector that misses it, other labels' grid.
    """
    require_numbers(ct)
    for view, camera in cameras.items():
        require_view(camera, ct.grid, view)
    if settings.intensity_zero:
        ct = replace(ct, data=np.asarray(ct.data, dtype=np.float32) - np.float32(settings.intensity_zero))
    bone = bone_mask(ct, labels) if settings.bone_only or labels is not None else None
    matter = ct.data > BODY_FROM_HU if bone is None or not settings.bone_only else bone
    notes = volume_warnings(matter, ct.grid)
    for view, camera in cameras.items():
        notes += picture_warnings(camera, matter, ct.grid, view)
    weights = _weights(ct, settings, bone) if settings.exposure is None else None
    made = {}
    for view in progress(iter(cameras)):
        camera = cameras[view]
        if settings.exposure is None and weights is not None:
            made[view] = Radiograph(PROJECTORS[settings.method](weights, ct.grid, camera), camera)
        elif settings.exposure is not None:
            noise = generator(settings.seed, "noise", view)
            bone_only = settings.bone_only
            made[view] = expose(ct, [camera], settings.exposure, noise, bone=bone, bone_only=bone_only)[0]
    return made, notes


def write_radiographs(
    out: Path,
    radiographs: dict[str, Radiograph],
    settings: ProjectionSettings,
    *,
    source: str,
    grey: str = "",
    dicom: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write pictures, preview.png and, last, cameras.json.

    Args:
        grey: also write 8-bit copies in this published scaling, `<view>_<grey>.png`.
        dicom: DICOM DX instead of PNG.
        source: what they were made from, for the record.
    Returns:
        what was written: the content of cameras.json.
    """
    scaling = GREYS.get(grey).value if grey else None
    names = {view: _file_name(view) for view in radiographs}
    prepare_output(out, force=force, holds=("cameras.json",))
    files, scales = {}, {}
    for number, (view, radiograph) in enumerate(radiographs.items(), start=1):
        if dicom:
            files[view] = f"{names[view]}.dcm"
            write_dicom(out / files[view], radiograph, patient_id=source, patient_name=source, number=number)
        else:
            files[view] = f"{names[view]}.png"
            scales[view] = write_picture(out / files[view], radiograph.line_integrals)
        if scaling is not None:
            copy = Image.fromarray(scaling(radiograph.line_integrals))
            write_atomic(out / f"{names[view]}_{grey}.png", partial(copy.save, format="PNG"))
    write_atomic(out / "preview.png", partial(preview_picture(radiographs).save, format="PNG"))
    hu_sums = bool(settings.preset) and PRESETS.get(settings.preset).value.weight == "hu_above_zero"
    return write_cameras(
        out / "cameras.json",
        {view: radiograph.camera for view, radiograph in radiographs.items()},
        files=files,
        line_integral_per_grey=scales,
        extra={
            "unit": "HU mm" if hu_sums else "1",
            "made_from": source,
            "settings": {k: v for k, v in asdict(settings).items() if v not in (None, "", (), False, 0.0)},
            "boneray": version("boneray"),
        },
    )


def fitting_pitch_mm(grid: Grid, settings: ProjectionSettings) -> float:
    """The pixel pitch at which every view shows the whole volume, with a margin."""
    rows, columns = settings.size or (512, 512)
    coarse = replace(settings, pixel_mm=1.0)
    reach = 0.0
    for view in settings.views or ("ap", "lat"):
        camera = _camera(grid, coarse, view)
        low, high = shadow(camera, grid, np.array([[-0.5, n - 0.5] for n in grid.shape]))
        middle = np.array([columns - 1, rows - 1]) / 2
        reach = max(reach, float((2 * np.maximum(high - middle, middle - low) / (columns, rows)).max()))
    if not np.isfinite(reach):
        raise GeometryError(
            f"the source lies within or beside the volume of {max(grid.size_mm):.0f} mm; "
            "give a larger --sod-mm, or --pixel-mm"
        )
    return MARGIN * reach


def _camera(grid: Grid, settings: ProjectionSettings, view: str) -> Camera:
    angle, cranial = view_angles(view)
    sdd = settings.sdd_mm or 1500.0
    sod = settings.sod_mm or 1000.0
    if sod >= sdd and not settings.parallel:
        raise ConfigError(
            f"source-object distance {sod:g} mm must be less than the source-detector distance {sdd:g} mm"
        )
    rows, columns = settings.size or (512, 512)
    pitch = settings.pixel_mm or fitting_pitch_mm(grid, settings)
    return orbit_camera(
        angle,
        cranial_deg=cranial,
        centre_mm=grid.centre_mm if settings.centre_mm is None else settings.centre_mm,
        detector_shape=(rows, columns),
        detector_mm=(rows * pitch, columns * pitch),
        source_object_mm=sod,
        source_detector_mm=sdd,
        kind="parallel" if settings.parallel else "perspective",
    )


def _weights(ct: Volume, settings: ProjectionSettings, bone: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """What is integrated per mm."""
    per_mm = PRESETS.get(settings.preset).value.per_mm if settings.preset else attenuation_per_mm
    weights = per_mm(ct.data)
    if settings.bone_only and bone is not None:
        weights[~bone] = 0.0
    return weights


def _file_name(view: str) -> str:
    """The view as a file's name without suffix: as it is, but for a leading sign."""
    return safe_name(("minus" if view.startswith("-") else "") + view.lstrip("+-"), "view")
