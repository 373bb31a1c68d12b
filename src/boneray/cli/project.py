"""The command that takes radiographs of a CT: project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.data import Force, Json, Out
from boneray.cli.output import progress, say, show_json

Mm = float | None


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(project)


def project(
    ct: Annotated[Path, typer.Argument(help="CT as NIfTI, in HU; or a case folder that has one.")],
    out: Out,
    views: Annotated[str, typer.Option(help="ap, pa, lat, rlat, lat+5, lao30cra20 ... separated by commas.")] = "",
    angles: Annotated[str, typer.Option(help="Orbit angles in degrees (0 = AP, 90 = lateral), by commas.")] = "",
    spread: Annotated[int | None, typer.Option(min=1, help="This many views, evenly over --span-deg.")] = None,
    span_deg: Annotated[float, typer.Option(help="Range of --spread, from AP on; the far end is left out.")] = 180.0,
    preset: Annotated[str, typer.Option(help="Published geometry: xrayto3d, swin-x2s, swin-x2s-code, x2ct.")] = "",
    camera: Annotated[Path | None, typer.Option(help="Take the cameras of this cameras.json or MayaCam file.")] = None,
    sdd_mm: Annotated[Mm, typer.Option(help="Source-detector distance [1500].")] = None,
    sod_mm: Annotated[Mm, typer.Option(help="Source-object distance [1000].")] = None,
    pixel_mm: Annotated[Mm, typer.Option(help="Pixel pitch on the detector [the volume fits in].")] = None,
    size: Annotated[str, typer.Option(help="Detector pixels: one number, or rows,columns [512].")] = "",
    parallel: Annotated[bool, typer.Option("--parallel", help="Parallel beam.")] = False,
    centre_mm: Annotated[str, typer.Option(help="What the cameras look at, x,y,z RAS mm [the volume's middle].")] = "",
    kvp: Annotated[float | None, typer.Option(help="Tube voltage, 60 to 140; default: one energy, 60 keV.")] = None,
    al_mm: Annotated[Mm, typer.Option(help="Filtration in mm aluminium [2.5].")] = None,
    beam: Annotated[str, typer.Option(help="Named beam, such as 60KV_AL35 (`boneray list beams`).")] = "",
    noise_photons: Annotated[float | None, typer.Option(help="Photons per pixel in the open beam, for noise.")] = None,
    blur_px: Annotated[float, typer.Option(help="Detector blur, standard deviation in pixels.")] = 0.0,
    scatter_ratio: Annotated[float, typer.Option(help="Scatter to primary behind 20 cm of water.")] = 0.0,
    bone_only: Annotated[bool, typer.Option("--bone-only", help="Leave all but bone out.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Label map that says where bone is [above 350 HU].")] = None,
    intensity_zero: Annotated[float, typer.Option(help="Subtracted first, where water is not 0.")] = 0.0,
    grey: Annotated[str, typer.Option(help="Also write 8-bit copies in a paper's scaling: xrayto3d ...")] = "",
    method: Annotated[str, typer.Option(help="joseph or siddon.")] = "joseph",
    jitter_deg: Annotated[float, typer.Option(help="Turn every camera by up to this much, from the seed.")] = 0.0,
    jitter_mm: Annotated[float, typer.Option(help="Shift every camera by up to this much, from the seed.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same noise and jitter.")] = 0,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write DICOM DX instead of PNG.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Take radiographs of a CT: a 16-bit picture per view, cameras.json and preview.png.

    Example: boneray project ct.nii.gz --views ap,lat --kvp 80 --noise-photons 10000 --out xrays
    """
    from boneray.core.errors import ConfigError
    from boneray.core.views import spread_angles
    from boneray.io.files import require_free
    from boneray.projection.ct_radiographs import (
        ProjectionSettings,
        cameras_for,
        radiographs_of,
        read_any_cameras,
        read_ct,
        write_radiographs,
    )

    if sum(map(bool, (views, angles, spread, camera))) > 1:
        raise ConfigError("give only one of --views, --angles, --spread and --camera")
    names = tuple(part.strip() for part in (views or angles).split(",") if part.strip())
    if spread:
        names = tuple(f"{angle:g}" for angle in spread_angles(spread, span_deg))
    geometry = (preset, sdd_mm, sod_mm, pixel_mm, size, parallel)
    if camera is not None and any(geometry):
        raise ConfigError("--camera states the whole geometry; leave out the preset, distances, pixels and --parallel")
    settings = ProjectionSettings(
        views=names,
        preset=preset,
        sdd_mm=sdd_mm,
        sod_mm=sod_mm,
        pixel_mm=pixel_mm,
        size=_size(size),
        parallel=parallel,
        kvp=kvp,
        al_mm=al_mm,
        beam=beam,
        photons=noise_photons,
        blur_px=blur_px,
        scatter_ratio=scatter_ratio,
        bone_only=bone_only,
        intensity_zero=intensity_zero,
        method=method,  # type: ignore[arg-type]  # checked there
        jitter_deg=jitter_deg,
        jitter_mm=jitter_mm,
        centre_mm=_point(centre_mm),
        seed=seed,
    )
    require_free(out, force=force, holds=("cameras.json",))
    volume, bones = read_ct(ct, labels)
    cameras = read_any_cameras(camera) if camera is not None else cameras_for(volume.grid, settings)
    made, notes = radiographs_of(volume, cameras, settings, bones, progress("views", len(cameras)))
    written = write_radiographs(out, made, settings, source=ct.name, grey=grey, dicom=dicom, force=force)
    if as_json:
        show_json({"folder": str(out), "warnings": notes, **written})
        return
    for note in notes:
        say(f"warning: {note}")
    for entry in written["views"]:
        say(str(out / entry["file"]))
    say(f"{out / 'cameras.json'}, {out / 'preview.png'}")


def _size(text: str) -> tuple[int, int] | None:
    from boneray.core.errors import ConfigError

    if not text:
        return None
    try:
        parts = [int(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise ConfigError(f"--size '{text}' must be one whole number, or rows,columns")
    return parts[0], parts[-1]


def _point(text: str) -> tuple[float, float, float] | None:
    from boneray.cli.output import numbers

    if not text:
        return None
    x, y, z = numbers(text, 3, "--centre-mm")
    return x, y, z
