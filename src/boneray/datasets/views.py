"""The radiographs of a prepared case: standard cameras about the working grid."""

from __future__ import annotations

import numpy as np

from boneray.core.camera import Camera, orbit_camera
from boneray.core.errors import InputError
from boneray.core.grid import Grid
from boneray.core.radiograph import Radiograph
from boneray.core.seeds import generator
from boneray.core.views import same_view, view_angles
from boneray.core.volume import Volume
from boneray.projection.joseph import line_integrals
from boneray.projection.presets import PRESETS
from boneray.projection.render import WATER_PER_MM, Exposure, expose, render
from boneray.projection.spectrum import BEAMS

SOURCE_OBJECT_MM = 1000.0
SOURCE_DETECTOR_MM = 1500.0
MARGIN = 1.1
PHOTONS = 1e6


def check_rendering(views: tuple[str, ...], *, pixels: int, voxels: int | None) -> None:
    """Raise InputError or GeometryError for sizes and views that cannot be rendered or learnt from."""
    if not 16 <= pixels <= 4096:
        raise InputError(f"pixels {pixels} must lie in 16..4096")
    if voxels is not None and not (16 <= voxels <= 512 and voxels % 8 == 0):
        raise InputError(f"voxels {voxels} must be a multiple of 8 in 16..512")
    angles = [view_angles(view) for view in views]
    if any(same_view(angle, other) for i, angle in enumerate(angles) for other in angles[:i]):
        raise InputError(f"views {', '.join(views)} name the same angle twice")


def standard_cameras(grid: Grid, views: tuple[str, ...], *, pixels: int) -> dict[str, Camera]:
    """Perspective cameras by view name that look at the grid's centre and just hold the grid.

    The square detector covers the grid's largest edge, magnified, with a margin of a tenth.
    """
    edge = float(max(grid.size_mm)) * MARGIN * SOURCE_DETECTOR_MM / SOURCE_OBJECT_MM
    cameras = {}
    for view in views:
        angle, cranial = view_angles(view)
        cameras[view] = orbit_camera(
            angle,
            cranial_deg=cranial,
            centre_mm=grid.centre_mm,
            detector_shape=(pixels, pixels),
            detector_mm=(edge, edge),
            source_object_mm=SOURCE_OBJECT_MM,
            source_detector_mm=SOURCE_DETECTOR_MM,
        )
    return cameras


def standard_radiographs(ct: Volume, grid: Grid, views: tuple[str, ...], *, pixels: int) -> dict[str, Radiograph]:
    """The standard views of a CT."""
    cameras = standard_cameras(grid, views, pixels=pixels)
    return {view: render(ct, camera) for view, camera in cameras.items()}


def preset_radiographs(
    ct: Volume, grid: Grid, views: tuple[str, ...], *, pixels: int, preset: str, beam: str, seed_name: str
) -> tuple[dict[str, Radiograph], dict[str, object]]:
    """The views of a CT as a published system takes them, and how they were made.

    Args:
        preset: a geometry and weight by name; sums of HU above 0 are brought to the scale of
            attenuation (water at 60 keV), so that every stored radiograph is in one unit.
        beam: a beam by name, a million photons per pixel, standard cameras; instead of a preset.
        seed_name: of the case, for its noise.
    """
    if beam:
        exposure = Exposure(BEAMS.get(beam).value, photons=PHOTONS)
        cameras = standard_cameras(grid, views, pixels=pixels)
        made = {
            view: expose(ct, [camera], exposure, generator(0, "prepare", seed_name, view))[0]
            for view, camera in cameras.items()
        }
        return made, {"beam": beam, "photons_per_pixel": PHOTONS}
    known = PRESETS.get(preset).value
    per_mm = known.per_mm(ct.data)
    if known.weight == "hu_above_zero":
        per_mm = per_mm * np.float32(WATER_PER_MM / 1000.0)
    cameras = known.cameras(grid, views)
    made = {view: Radiograph(line_integrals(per_mm, ct.grid, camera), camera) for view, camera in cameras.items()}
    return made, {"preset": preset, "weight": known.weight}
