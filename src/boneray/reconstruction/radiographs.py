"""A person's own films: DICOM, PNG, JPEG or TIFF files with whatever geometry there is, to radiographs with cameras."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from boneray.core.camera import Camera, orbit_angles, orbit_camera
from boneray.core.errors import GeometryError, InputError
from boneray.core.radiograph import Radiograph
from boneray.core.registry import unknown_name
from boneray.core.views import view_angles
from boneray.io.cameras import fitted, read_camera, read_cameras
from boneray.io.dicom import BODY_BEFORE_DETECTOR_MM, DicomFacts, Given, is_dicom, read_dicom
from boneray.io.files import require_file
from boneray.io.images import read_picture, require_greys
from boneray.reconstruction.film_values import cropped, exposed_field, line_integrals_of_counts, pooled

Values = Literal["auto", "bright", "dark", "counts"]
VALUES = ("auto", "bright", "dark", "counts")
MOST_PX = 2048
# A film and the view it is given as may differ by this much before it counts as another view.
VIEW_APART_DEG = 45.0


@dataclass(frozen=True)
class LoadedView:
    """One film.

    Attributes:
        radiograph: bone bright, cut to the exposed field, with its camera.
        file: name of the file, without its folder.
        kind: dicom or picture.
        values: "line integrals", "counts" (their logarithm was taken) or "display" (an unknown curve).
        patient_key: hash of the patient's id, only to compare two films; empty where unknown.
        facts: what a DICOM file says of body part, side and view.
        notes: what had to be assumed, one sentence each.
    """

    radiograph: Radiograph
    file: str
    kind: str
    values: str
    patient_key: str = ""
    facts: DicomFacts = field(default_factory=DicomFacts)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedRadiographs:
    """The films of one patient by view, and what was assumed of them."""

    views: dict[str, LoadedView]
    shared_notes: tuple[str, ...] = ()

    @property
    def radiographs(self) -> dict[str, Radiograph]:
        """The radiographs alone, as `Reconstructor` takes them."""
        return {name: view.radiograph for name, view in self.views.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that was assumed, the view named first."""
        return (
            *(f"view {name}: {note}" for name, view in self.views.items() for note in view.notes),
            *self.shared_notes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for run.json; no name or id of the patient is in them."""
        return {
            name: {
                "file": view.file,
                "kind": view.kind,
                "values": view.values,
                "camera": view.radiograph.camera.to_dict(),
                "assumed": list(view.notes),
            }
            for name, view in self.views.items()
        }


def load_radiographs(
    files: Mapping[str, str | Path],
    *,
    cameras: Sequence[str | Path] = (),
    sdd_mm: float | None = None,
    sod_mm: float | None = None,
    pixel_mm: float | None = None,
    values: Values = "auto",
    whole: bool = False,
) -> LoadedRadiographs:
    """The films of one patient.

    Args:
        files: by view, the name of `boneray.core.views` or of the camera file; DICOM (CR, DX, RF, XA), PNG, JPEG, TIFF.
        cameras: one cameras.json with all views, or one file per view in the same order: JSON or MayaCam 2.0.
        sdd_mm: source to detector, along the central beam; where neither file nor camera say it.
        sod_mm: source to the bone; by default BODY_BEFORE_DETECTOR_MM less than to the detector, which is said.
        pixel_mm: pitch on the detector.
        values: of PNG, JPEG and TIFF: "bright" (bone is bright; what auto takes), "dark", or "counts", linear in the
            beam's intensity. DICOM says it itself.
        whole: keep the film as it is, with its own pixels, for regions that are given in them.
    Raises:
        InputError: a file that is no radiograph, or geometry that is missing and must be given.
        GeometryError: geometry that contradicts itself or the view.
    """
    if not files:
        raise InputError("nothing to reconstruct: give a case folder, or radiographs with --ap, --lat or --view")
    if values not in VALUES:
        raise InputError(unknown_name("meaning of the values", values, list(VALUES)))
    for name, given in (("--sdd-mm", sdd_mm), ("--sod-mm", sod_mm), ("--pixel-mm", pixel_mm)):
        if given is not None and not (np.isfinite(given) and given > 0):
            raise InputError(f"{name} {given:g} must be a positive number of millimetres")
    known = _cameras(files, [Path(camera) for camera in cameras])
    pitch = None if pixel_mm is None else (pixel_mm, pixel_mm)
    views = {}
    for name, file in files.items():
        path = require_file(Path(file), f"{name} radiograph")
        geometry = Given(
            source_detector_mm=sdd_mm, source_object_mm=sod_mm, pixel_mm=pitch, fallback_view=name, assume=True
        )
        view = _dicom(name, path, geometry, known) if is_dicom(path) else _picture(name, path, geometry, known, values)
        views[name] = view if whole else _exposed(view)
    shared = []
    if not known and len(views) > 1 and not all(view.facts.exact_camera for view in views.values()):
        shared.append("the central beams of all views are taken to meet in one point, which is the world's origin")
    return LoadedRadiographs(views, tuple(shared))


def _cameras(files: Mapping[str, str | Path], given: list[Path]) -> dict[str, Camera]:
    """Cameras by view, from one file with all or one file each; empty where none is given."""
    if not given:
        return {}
    try:
        if len(given) == len(files) and (len(files) > 1 or given[0].suffix.lower() != ".json"):
            return dict(zip(files, map(read_camera, given), strict=True))
        if len(given) == 1:
            found = read_cameras(given[0])
            missing = [view for view in files if view not in found]
            if missing:
                raise InputError(f"camera file {given[0]} has no view {', '.join(missing)}; it has {', '.join(found)}")
            return {view: found[view] for view in files}
    except RecursionError:
        raise InputError(f"camera file {given[0]} is nested too deeply to be a camera") from None
    raise InputError(f"{len(given)} camera files for {len(files)} views; give one cameras.json, or one file per view")


def _dicom(name: str, path: Path, geometry: Given, known: dict[str, Camera]) -> LoadedView:
    """A DICOM file; a camera file or what the caller gives goes before what it says itself."""
    read = read_dicom(path, Given(camera=known[name]) if name in known else geometry)
    radiograph, notes = read.radiograph, list(read.notes)
    if name not in known and read.facts.states_angle:
        _require_view(name, path, radiograph.camera)
    kind = "line integrals" if radiograph.scaled else "display"
    if read.dark_value is not None:
        counts = read.dark_value - radiograph.line_integrals
        radiograph, note = _logarithm(counts, radiograph.camera)
        notes, kind = [*notes, note], "counts"
    elif not radiograph.scaled:
        notes.append("its values rise with the line integral by an unknown curve; they are only standardised")
    key = hashlib.sha256(read.patient_id.strip().encode()).hexdigest()[:16] if read.patient_id.strip() else ""
    return LoadedView(radiograph, path.name, "dicom", kind, key, read.facts, tuple(notes))


def _picture(name: str, path: Path, geometry: Given, known: dict[str, Camera], values: Values) -> LoadedView:
    """A PNG, JPEG or TIFF with a camera file, or with distances that the caller gives."""
    grey = read_picture(path, f"{name} radiograph", strict=True)
    require_greys(grey, path, f"{name} radiograph")
    notes: list[str] = []
    if name in known:
        camera = fitted(known[name], grey.shape, path)
    else:
        camera = _orbit(name, path, grey.shape, geometry, notes)
    if values == "counts":
        radiograph, note = _logarithm(grey, camera)
        return LoadedView(radiograph, path.name, "picture", "counts", notes=(*notes, note))
    if values == "auto":
        notes.append("bone is taken to be bright; give --values dark or counts if it is not")
    notes.append("its values rise with the line integral by an unknown curve; they are only standardised")
    bright = float(grey.max()) - grey if values == "dark" else grey
    return LoadedView(Radiograph(bright, camera, scaled=False), path.name, "picture", "display", notes=tuple(notes))


def _orbit(name: str, path: Path, shape: tuple[int, ...], geometry: Given, notes: list[str]) -> Camera:
    """The camera of a view's name and the distances given; the central beam meets the picture's middle."""
    detector_mm, pitch = geometry.source_detector_mm, geometry.pixel_mm
    if detector_mm is None or pitch is None:
        lacks = [word for word, value in (("--sdd-mm", detector_mm), ("--pixel-mm", pitch)) if value is None]
        raise InputError(
            f"{name} radiograph {path} brings no geometry: give {' and '.join(lacks)} (source to detector and pitch of "
            "the pixels, mm), or a camera file with --camera"
        )
    object_mm = geometry.source_object_mm
    if object_mm is None:
        object_mm = detector_mm - BODY_BEFORE_DETECTOR_MM
        notes.append(
            f"the bone is taken to lie {BODY_BEFORE_DETECTOR_MM:g} mm in front of the detector, {object_mm:g} mm from "
            f"the source: 10 mm there change its size by {1000 / max(object_mm, 1):.1f} %"
        )
    if not 0 < object_mm < detector_mm:
        raise GeometryError(
            f"{name} radiograph: the bone, {object_mm:g} mm from the source, is not in front of the detector at "
            f"{detector_mm:g} mm; correct --sod-mm or --sdd-mm"
        )
    angle, cranial = view_angles(name)
    notes.append(f"it is taken as {name}, upright, as the source sees it, the central beam through its middle")
    return orbit_camera(
        angle,
        cranial_deg=cranial,
        detector_shape=(shape[0], shape[1]),
        detector_mm=(shape[0] * pitch[0], shape[1] * pitch[1]),
        source_object_mm=object_mm,
        source_detector_mm=detector_mm,
    )


def _require_view(name: str, path: Path, camera: Camera) -> None:
    """Raise GeometryError if the file was taken from elsewhere than it is given as; front and back count as one."""
    try:
        angle, cranial = view_angles(name)
    except GeometryError:
        return
    wanted = orbit_camera(angle, cranial_deg=cranial).central_ray
    apart = float(np.rad2deg(np.arccos(np.clip(abs(camera.central_ray @ wanted), 0.0, 1.0))))
    if apart > VIEW_APART_DEG:
        stands, tilt = orbit_angles(camera.central_ray)
        raise GeometryError(
            f"radiograph {path} is given as {name} but was taken {apart:.0f} degrees away from it (its file says "
            f"{stands % 360:.0f} on the orbit, tilted by {tilt:.0f}); are AP and LAT swapped? Else give it with --view "
            f"FILE:{stands % 360:.0f}"
        )


def _logarithm(counts: np.ndarray, camera: Camera) -> tuple[Radiograph, str]:
    values, is_open = line_integrals_of_counts(counts)
    note = "detector counts: their negative logarithm is taken"
    note += ", with the open beam that it shows" if is_open else "; no open beam is in it, so an offset is unknown"
    return Radiograph(values, camera, scaled=is_open), note


def _exposed(view: LoadedView) -> LoadedView:
    """The view cut to its exposed field, with at most MOST_PX pixels along an edge."""
    whole = view.radiograph
    rows, columns = exposed_field(whole.line_integrals)
    inner = cropped(whole, rows, columns)
    notes = view.notes
    if inner.line_integrals.shape != whole.line_integrals.shape:
        shape, before = inner.line_integrals.shape, whole.line_integrals.shape
        notes += (f"cut to the exposed field, {shape[1]} x {shape[0]} of {before[1]} x {before[0]} pixels",)
    return replace(view, radiograph=pooled(inner, MOST_PX), notes=notes)
